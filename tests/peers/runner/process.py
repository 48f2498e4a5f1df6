"""Runs a command and measures it: wall and CPU time of the whole process tree, and its memory."""

import json
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

from runner.failure import Failure

SAMPLE_SECONDS = 0.25
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Measured:
    """One run."""

    wall_seconds: float
    # of the process and of all its descendants, which it waited for
    cpu_seconds: float
    # of all processes of the tree at one time; pages that they share count in each
    peak_rss_bytes: int
    # processes that wanted a core in the minute before the start
    load_average: float
    stdout: str

    def result(self):
        """The last line of stdout, or all of it, as JSON."""
        text = self.stdout.strip()
        try:
            return json.loads(text)
        except ValueError:
            return json.loads(text.splitlines()[-1])


def measure(command, cwd=None, env=None, timeout=3600):
    """Runs it to its end; fails with its last words if it fails."""
    load, stop, peak = os.getloadavg()[0], threading.Event(), [0]
    with tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, cwd=cwd, env={**os.environ, **(env or {})}
        )
        sampler = threading.Thread(target=_sample, args=(process.pid, stop, peak), name="sampler")
        killer = threading.Timer(timeout, process.kill)
        sampler.start()
        killer.start()
        with process.stdout as pipe:
            stdout = pipe.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        killer.cancel()
        stop.set()
        sampler.join()
        if process.returncode:
            errors.seek(0)
            last = (errors.read().decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
            raise Failure(f"`{' '.join(str(c) for c in command[:4])} ...` ended with {process.returncode}: {last}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak[0], load, stdout)


def tree(pid):
    """Process ids of a process and its descendants."""
    found, left = [], [pid]
    while left:
        at = left.pop()
        found.append(at)
        try:
            for thread in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{thread}/children", encoding="ascii") as children:
                    left += map(int, children.read().split())
        except OSError:
            pass  # it has ended
    return found


def _sample(pid, stop, peak):
    while not stop.wait(SAMPLE_SECONDS):
        resident = 0
        for process in tree(pid):
            try:
                with open(f"/proc/{process}/statm", encoding="ascii") as pages:
                    resident += int(pages.read().split()[1]) * PAGE
            except (OSError, IndexError):
                pass  # it has ended
        peak[0] = max(peak[0], resident)
