"""Runs the function of target/lambda/halfpipe.zip once, as Lambda would: under AWS's runtime interface emulator, with an environment of
Lambda's variables alone, a bucket in moto, and a queue message that announces an upload. Fails unless the overlay video is there, is
right in number of frames, was drawn by the zip's own SwiftShader, and the process uses no library from outside the zip.

`make lambda-try` gets what it needs and calls it:  python try_zip.py ZIP CLIP EMULATOR MOTO_SERVER
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile

import boto3
from botocore.config import Config

BUCKET, PREFIX = "halfpipe-try", "halfpipe"
PATIENCE = 300  # seconds until something that is waited for counts as failed


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, check):
    """Waits until `check` gives something other than None, and gives that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = check()
        if found is not None:
            return found
        time.sleep(0.2)
    sys.exit(f"[lambda-try] {what} did not happen within {PATIENCE} s")


def listens(port: int):
    """True if somebody listens there, else None."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return None


def function_process(folder: pathlib.Path):
    """The process of the unpacked function, or None."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(folder / "bin/halfpipe-function").encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
            except OSError:
                pass  # it has ended, or belongs to someone else
    return None


def libraries(pid: int) -> set[str]:
    """Libraries that a process has mapped."""
    lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {path for line in lines if ".so" in (path := line.split(maxsplit=5)[-1])}


def main(package: str, clip: str, emulator: str, moto: str) -> None:
    """Unpacks, starts, invokes, checks."""
    with tempfile.TemporaryDirectory(prefix="halfpipe-lambda-") as scratch:
        folder = pathlib.Path(scratch, "task")
        with zipfile.ZipFile(package) as archive:
            for entry in archive.infolist():
                path = pathlib.Path(archive.extract(entry, folder))
                path.chmod(entry.external_attr >> 16)
        s3_port, port, runtime_port = free_port(), free_port(), free_port()
        log = open(pathlib.Path(scratch, "log"), "w+")
        children = [subprocess.Popen([moto, "-H", "127.0.0.1", "-p", str(s3_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
        try:
            until("the start of moto", lambda: listens(s3_port))
            endpoint = f"http://127.0.0.1:{s3_port}"
            keys = {"aws_access_key_id": "try", "aws_secret_access_key": "try", "region_name": "us-east-1"}
            s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}), **keys)
            s3.create_bucket(Bucket=BUCKET)
            s3.upload_file(clip, BUCKET, f"{PREFIX}/incoming/clip.mp4")
            environment = {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "LAMBDA_TASK_ROOT": str(folder),
                "AWS_LAMBDA_FUNCTION_NAME": "halfpipe",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "7076",
                "AWS_LAMBDA_FUNCTION_TIMEOUT": "900",
                "AWS_LAMBDA_LOG_GROUP_NAME": "halfpipe",
                "AWS_LAMBDA_LOG_STREAM_NAME": "try",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "try",
                "AWS_SECRET_ACCESS_KEY": "try",
                "HALFPIPE_STORE": f"s3://{BUCKET}/{PREFIX}",
                "HALFPIPE_S3_ENDPOINT": endpoint,
                "HALFPIPE_SPOOL": str(pathlib.Path(scratch, "spool")),
            }
            addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}", "--runtime-api-address", f"127.0.0.1:{runtime_port}"]
            children.append(subprocess.Popen([emulator, *addresses, str(folder / "bootstrap")], env=environment, stdout=log, stderr=log))
            until("the start of the emulator", lambda: listens(port))
            event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": "us-east-1", "eventVersion": "2.1",
                                  "s3": {"bucket": {"name": BUCKET}, "object": {"key": f"{PREFIX}/incoming/clip.mp4"}}}]}
            message = {"eventSource": "aws:sqs", "messageId": "1", "body": json.dumps(event)}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations",
                                             json.dumps({"Records": [message]}).encode())
            begun = time.monotonic()
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                answer = json.load(response)
            seconds = time.monotonic() - begun
            if answer != {"batchItemFailures": []}:
                sys.exit(f"[lambda-try] the function answered {answer}")
            found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/results/").get("Contents", [])
            results = {item["Key"].rsplit("/", 1)[1]: item for item in found}
            if not {"overlay.mp4", "poses.jsonl", "report.json"} <= results.keys():
                sys.exit(f"[lambda-try] there are no results, only {sorted(results)}")
            report = json.load(s3.get_object(Bucket=BUCKET, Key=results["report.json"]["Key"])["Body"])
            drawn = json.dumps(report)
            if "SwiftShader" not in drawn:
                sys.exit("[lambda-try] the report does not name SwiftShader: something else has drawn")
            pid = function_process(folder)
            used = libraries(pid) if pid else set()
            outside = sorted(path for path in used if not path.startswith(str(folder)))
            if not used or outside:
                sys.exit(f"[lambda-try] libraries from outside the zip are in use: {outside or 'the process was not found'}")
            frames = report["counts"]["frames"]
            overlay = pathlib.Path(scratch, "overlay.mp4")
            s3.download_file(BUCKET, results["overlay.mp4"]["Key"], str(overlay))
            counted = subprocess.run([str(folder / "bin/ffprobe"), "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries",
                                      "stream=nb_read_packets", "-of", "csv=p=0", str(overlay)], capture_output=True, text=True, check=True)
            if int(counted.stdout.strip().strip(",")) != frames or frames == 0:
                sys.exit(f"[lambda-try] the video has {counted.stdout.strip()} frames, the report says {frames}")
            log.seek(0)
            cold = next((line for line in log if "cold start" in line), "")
            start = cold[cold.find("{") : cold.rfind("}") + 1]
            print(f"one invocation: {frames} frames, {report['counts']['people']} bodies in {seconds:.1f} s, start of the process included")
            print(f"cold start: {json.loads(start)['fields'] if start else 'not in the log'}")
            print(f"libraries in use: {len(used)}, all from the zip")
        except (urllib.error.URLError, SystemExit):
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            for child in reversed(children):
                child.terminate()
                child.wait()
            log.close()


if __name__ == "__main__":
    if len(sys.argv) != 5 or not all(os.path.exists(path) for path in sys.argv[1:]):
        sys.exit(f"usage: {sys.argv[0]} ZIP CLIP EMULATOR MOTO_SERVER; make lambda-try knows them")
    main(*sys.argv[1:])
