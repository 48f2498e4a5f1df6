"""The Python environment that recipes and their tests run in, and the lock that keeps two runs apart.

Standard library only: this runs before the environment exists.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from recipes.errors import Failure
from recipes.packages import last_words
from recipes.targets import MODELS

# Which requirements each kind of run adds to the environment.
REQUIREMENTS = {
    "make": MODELS / "recipes/requirements.txt",
    "hmr2": MODELS / "recipes/requirements-hmr2.txt",
    "test": MODELS / "tests/requirements.txt",
    "crosscheck": MODELS / "tests/requirements-crosscheck.txt",
    "hmr2-reference": MODELS / "tests/requirements-hmr2-reference.txt",
}
# Kinds whose requirements are so large that they have an environment of their own, which can be deleted by itself.
APART = ("hmr2-reference",)


@contextlib.contextmanager
def lock(state: Path):
    """Keeps concurrent runs apart; the second waits for the first."""
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run of the recipes", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def python_for(kind: str, state: Path) -> Path:
    """The Python of a virtual environment that holds the pinned requirements of `kind`, set up if need be."""
    folder = state / f"venv-{sys.version_info.major}.{sys.version_info.minor}{f'-{kind}' if kind in APART else ''}"
    python = folder / "bin/python"
    stamp = folder / f"{kind}.sha256"
    digest = _requirements_digest(kind)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest and _works(python):
        return python
    if not _works(python):
        if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
            raise Failure("Python's venv module is needed; install it (Debian: apt-get install python3-venv) and run this again")
        print(f"{folder}: setting up Python {sys.version.split()[0]}", flush=True)
        created = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, text=True, check=False)
        if created.returncode != 0:
            raise Failure(f"the virtual environment {folder} cannot be set up: {last_words(created)}")
    print(f"{REQUIREMENTS[kind].relative_to(MODELS.parent)}: installing", flush=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    installed = subprocess.run([*pip, "-r", REQUIREMENTS[kind]], capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        raise Failure(f"pip could not install {REQUIREMENTS[kind].name}: {last_words(installed)}; check the network and pip's settings")
    stamp.write_text(digest, encoding="utf-8")
    return python


def _requirements_digest(kind: str) -> str:
    """Digest of a requirement file and of those that it includes."""
    waiting, contents = [REQUIREMENTS[kind]], b""
    while waiting:
        path = waiting.pop()
        text = path.read_text(encoding="utf-8")
        contents += text.encode()
        waiting += [path.parent / line.removeprefix("-r ").strip() for line in text.splitlines() if line.startswith("-r ")]
    return hashlib.sha256(kind.encode() + contents).hexdigest()


def _works(python: Path) -> bool:
    """Whether the environment's interpreter starts (it does not after its base Python was removed)."""
    return python.is_file() and subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0
