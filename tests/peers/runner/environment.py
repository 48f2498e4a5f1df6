"""Python environments of the peers, made once for each state of their pinned requirements."""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from runner.failure import Failure

PEERS = Path(__file__).parent.parent


def cache():
    """Halfpipe's folder for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "halfpipe"


def python_for(requirements):
    """The interpreter of an environment that holds a requirements file of this folder; pip is asked only the first time."""
    pinned = (PEERS / requirements).read_bytes()
    digest = hashlib.sha256(pinned + sys.version.encode()).hexdigest()[:12]
    folder = cache() / "peers" / f"{Path(requirements).stem}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, done = folder / "bin/python", folder / "complete"
    with open(folder.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            print(f"[peers] installing {requirements} into {folder}", file=sys.stderr)
            _run([sys.executable, "-m", "venv", "--clear", folder], requirements)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"]
            _run([*pip, "-r", PEERS / requirements], requirements)
            done.touch()
    return str(python)


def _run(command, requirements):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise Failure(f"{requirements} cannot be installed ({last}); run with --no-peers to measure Halfpipe alone")
