"""Runs long-videos.asl.json for real, on one machine: the state machine in moto's interpreter, which others wrote, the bucket in moto's S3, and
each Batch job as a process that does what the container would: infra/docker/long-video.sh with the `halfpipe` that is on the PATH.

    python run_states.py VIDEO WINDOWS RESULTS [--lose K]

RESULTS is a folder that the results are copied to. With --lose the job of window K is killed the first time, as when its machine is taken
away, once the others have ended. Waits between two attempts are left out. Needs moto with its server (infra/local/moto.sh), rclone and jq.
Prints one line of JSON.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import uuid

import boto3
from moto.server import ThreadedMotoServer
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_batch
from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint, CallbackPoolManager

HERE = pathlib.Path(__file__).resolve().parent
BUCKET, PREFIX, REGION = "videos", "halfpipe", "us-east-1"


def lowered(value):
    """The same with names as Batch has them: a state machine writes them with a capital letter."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lowered(inner) for key, inner in value.items()}
    return [lowered(inner) for inner in value] if isinstance(value, list) else value


class Batch:
    """What the interpreter asks AWS Batch for: jobs are processes here."""

    def __init__(self, endpoint: str, lose: str | None):
        self.environment = {
            # rclone does not take a bundle of certificates together with an endpoint of one's own
            **{name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}, "LONG_VIDEO_STORE": f"{BUCKET}/{PREFIX}", "LONG_VIDEO_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": REGION,
        }
        self.lose, self.lost = lose, None
        self.processes: dict[str, subprocess.Popen] = {}
        self.commands: list[str] = []
        self.lock = threading.Lock()

    def submit_job(self, **parameters) -> dict:
        """Starts the container's command with the variables that the state machine gives it."""
        parameters = lowered(parameters)
        container = parameters["containerOverrides"]
        asked = {variable["name"]: variable["value"] for variable in container["environment"]}
        program, *arguments = container["command"]
        if program != "long-video":
            raise ValueError(f"the image has no program {program}")
        command = ["bash", str(HERE.parent / "docker/long-video.sh"), *arguments]
        process = subprocess.Popen(command, env={**self.environment, **asked}, stdout=subprocess.DEVNULL, start_new_session=True)
        with self.lock:
            job = str(uuid.uuid4())
            self.processes[job] = process
            self.commands.append(" ".join([*arguments, asked.get("LONG_VIDEO_WINDOW", "")]).strip())
            if self.lose is not None and asked.get("LONG_VIDEO_WINDOW") == self.lose:
                self.lose, self.lost = None, job
                os.killpg(process.pid, signal.SIGSTOP)
        return {"JobId": job, "JobName": parameters["jobName"]}

    def end(self) -> None:
        """Ends what still runs: without its bucket it would try for minutes."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def describe_jobs(self, jobs: list[str]) -> dict:
        """Whether they have ended, and how. The job to lose stands still until it is the last, so that its next attempt is what all wait for."""
        with self.lock:
            if self.lost in jobs and all(process.poll() is not None for job, process in self.processes.items() if job != self.lost):
                os.killpg(self.processes[self.lost].pid, signal.SIGKILL)
                self.lost = None

        def status(job: str) -> str:
            code = self.processes[job].poll()
            return "RUNNING" if code is None else "SUCCEEDED" if code == 0 else "FAILED"

        return {"jobs": [{"JobId": job, "status": status(job)} for job in jobs]}


def endpoint_of_attempt(pool: CallbackPoolManager, token: str) -> CallbackEndpoint:
    """An endpoint for each attempt at a state. moto has one for all of them, which the end of the first interrupts: the next one, waiting there
    as well, takes that for a time-out of its own, and goes on while its job runs."""
    endpoint = pool._pool[token] = CallbackEndpoint(token)
    return endpoint


def definition() -> str:
    """The state machine as CloudFormation would fill it in."""
    values = {"JobDefinition": "window", "JobQueue": "windows", "Bucket": BUCKET, "Prefix": PREFIX}
    return re.sub(r"\$\{(\w+)\}", lambda found: values[found.group(1)], (HERE / "long-videos.asl.json").read_text())


def main() -> int:
    """0 where the execution succeeded."""
    parser = argparse.ArgumentParser(description="Runs the state machine for long videos on this machine.")
    parser.add_argument("video", type=pathlib.Path)
    parser.add_argument("windows", type=int)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--lose", metavar="K", help="kill the job of window K the first time")
    arguments = parser.parse_args()

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # the interpreter looks for the other services where it is told that moto listens
    os.environ["MOTO_PORT"] = str(port)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    batch = Batch(endpoint, arguments.lose)
    other_clients = state_task_service_batch.boto_client_for
    state_task_service_batch.boto_client_for = lambda *, service, **rest: batch if service == "batch" else other_clients(service=service, **rest)
    CallbackPoolManager.get = endpoint_of_attempt
    retrier_decl.time = types.SimpleNamespace(sleep=lambda _: None)

    def client(service: str):
        return boto3.client(service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any")

    s3, states = client("s3"), client("stepfunctions")
    subprocess.run(["curl", "-fsS", "-H", "Content-Type: application/json", "-d", '{"stepfunctions": {"execute_state_machine": true}}',
                    f"{endpoint}/moto-api/config"], check=True, stdout=subprocess.DEVNULL)
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(arguments.video), BUCKET, f"{PREFIX}/incoming/long.mp4")
    machine = states.create_state_machine(name="long", definition=definition(), roleArn="arn:aws:iam::123456789012:role/states")
    given = json.dumps({"input": "incoming/long.mp4", "windows": arguments.windows})
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], name="one", input=given)["executionArn"]
    try:
        while (told := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.2)
    finally:
        batch.end()
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    arguments.results.mkdir(parents=True, exist_ok=True)
    for key in keys:
        if key.startswith(f"{PREFIX}/results/long/one/"):
            s3.download_file(BUCKET, key, str(arguments.results / pathlib.PurePosixPath(key).name))
    print(json.dumps({"status": told["status"], "error": told.get("error"), "cause": told.get("cause"), "jobs": batch.commands, "keys": keys}))
    server.stop()
    return 0 if told["status"] == "SUCCEEDED" else 1


if __name__ == "__main__":
    sys.exit(main())
