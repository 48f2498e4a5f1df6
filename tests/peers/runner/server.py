"""Jobs on a warm server: from the request to the first batch, the price of the sandbox, and two jobs at once."""

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime

from runner.failure import Failure
from runner.figures import ranged, ratios, spread

FIRST_BATCH_TARGET_MS, SANDBOX_TARGET, INSTANTIATE_TARGET_US = 50.0, 0.02, 100.0
PATIENCE_SECONDS = 300
LOOK_SECONDS = 0.02
# every refusal is a line of the log
READY_LOOK_SECONDS = 0.5


class Server:
    """`halfpipe serve` on a port of its own with a plain folder as its store."""

    def __init__(self, desk, jobs):
        self.folder = desk.scratch / f"server-{uuid.uuid4().hex}"
        self.folder.mkdir()
        self.log = self.folder / "log"
        options = ["--listen", "127.0.0.1:0", "--store", self.folder / "store", "--spool", self.folder / "spool", "--jobs", jobs, "--log-json"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(c) for c in [desk.halfpipe, "serve", *options]],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **desk.environment(), "HALFPIPE_LOG": "info,ort=error"},
            )
        self.base = re.search(r"http://[0-9.:]+", self.process.stdout.readline().decode())
        if not self.base:
            raise Failure(f"the server did not start: {self.log.read_text(errors='replace')[-500:]}")
        self.base = self.base.group()

    def __enter__(self):
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            with contextlib.suppress(urllib.error.HTTPError):
                self.get("/readyz")
                return self
            time.sleep(READY_LOOK_SECONDS)
        raise Failure("the server does not become ready")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=PATIENCE_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else text

    def submit(self, clip):
        """The new job's id, and the Unix time at which the request was sent."""
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="video"; filename="{clip.name}"\r\nContent-Type: video/mp4\r\n\r\n'
        body = head.encode() + clip.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        request = urllib.request.Request(f"{self.base}/process_video_async", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        sent = time.time()
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.loads(answer.read())["job_id"], sent

    def finished(self, job):
        """The record of a job that has to end well."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            record = self.get(f"/jobs/{job}")
            if record["state"] == "complete":
                return record
            if record["state"] in ("error", "cancelled"):
                raise Failure(f"a job on the server failed: {record.get('error')}")
            time.sleep(LOOK_SECONDS)
        raise Failure("a job on the server does not end")

    def moment(self, job, message):
        """Unix time of the first log line with these words about a job."""
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                told = {place.get("job") for place in (entry["fields"], *entry.get("spans", []))}
                if job in told and entry["fields"].get("message") == message:
                    return datetime.fromisoformat(entry["timestamp"]).timestamp()
        raise Failure(f"the server's log has no line {message!r} about a job; did the message change?")


def jobs(desk, clip, count):
    """One job after another on a warm server, after one to warm up."""
    taken, first, reports = [], [], []
    with Server(desk, jobs=1) as server:
        server.finished(server.submit(clip)[0])
        for _ in range(count):
            job, sent = server.submit(clip)
            reports.append(server.finished(job)["report"])
            taken.append(1e3 * (server.moment(job, "job taken up") - sent))
            first.append(1e3 * (server.moment(job, "the guest has its first frames") - sent))
    return {
        "clip": clip.name,
        "jobs": count,
        "taken_up_ms": spread(taken),
        "first_batch_ms": spread(first),
        # the host's part of it: the probe, the guest's start, the decoder's start, its first frames
        "first_batch_in_host_ms": spread(1e3 * r["first_batch_seconds"] for r in reports),
        "instantiate_microseconds": spread(r["sandbox"]["instantiate_microseconds"] for r in reports),
        # of wall time: the guest is one thread that waits most of the time
        "sandbox_share_of_wall": spread(_without_fit(r) / r["wall_seconds"] for r in reports),
        "fit_share_of_wall": spread(r["sandbox"]["cpu_seconds"].get("fit", 0.0) / r["wall_seconds"] for r in reports),
        "targets": {"first_batch_ms": FIRST_BATCH_TARGET_MS, "sandbox_share_of_wall": SANDBOX_TARGET, "instantiate_microseconds": INSTANTIATE_TARGET_US},
    }


def _without_fit(report):
    sections = report["sandbox"]["cpu_seconds"]
    return sum(seconds for name, seconds in sections.items() if name != "fit") + report["sandbox"]["instantiate_microseconds"] * 1e-6


def two(desk, clip, rounds):
    """Two jobs at once against one after the other, in turn: seconds until both are done."""
    with Server(desk, jobs=1) as one, Server(desk, jobs=2) as both:
        for server in (one, both):
            server.finished(server.submit(clip)[0])
        times = {"after": [], "at_once": []}
        for _ in range(rounds):
            for name, server in (("after", one), ("at_once", both)):
                begun = time.monotonic()
                for job in [server.submit(clip)[0], server.submit(clip)[0]]:
                    server.finished(job)
                times[name].append(time.monotonic() - begun)
    return {
        "clip": clip.name,
        "rounds": rounds,
        "one_after_the_other_seconds": spread(times["after"]),
        "at_once_seconds": spread(times["at_once"]),
        "at_once_over_one_after_the_other": ratios(times["at_once"], times["after"]),
        "target": 1.0,
    }


def text(result):
    job, pair = result["jobs"], result["two"]
    targets = job["targets"]
    percent = lambda figure: ranged({name: 100 * value for name, value in figure.items()}, 2)
    return "\n".join(
        [
            f"jobs on a warm server, {job['jobs']} of {job['clip']}:",
            f"  request to taken up            {ranged(job['taken_up_ms'], 1)} ms",
            f"  request to first batch         {ranged(job['first_batch_ms'], 1)} ms (target: {targets['first_batch_ms']:g})",
            f"  of that from the host's call   {ranged(job['first_batch_in_host_ms'], 1)} ms",
            f"  instantiate                    {ranged(job['instantiate_microseconds'], 0)} us (target: {targets['instantiate_microseconds']:g})",
            f"  sandbox without the fit        {percent(job['sandbox_share_of_wall'])} % of wall time (target: {100 * targets['sandbox_share_of_wall']:g})",
            f"  fit                            {percent(job['fit_share_of_wall'])} % of wall time",
            f"two jobs of {pair['clip']}: at once {ranged(pair['at_once_seconds'], 2)} s, one after the other {ranged(pair['one_after_the_other_seconds'], 2)} s, "
            f"ratio {ranged(pair['at_once_over_one_after_the_other'], 2)} (target: at most {pair['target']:g})",
        ]
    )
