"""Runs recipes inside the pinned environment; models/make.py starts it as `python -m recipes`."""

import argparse
import hashlib
import importlib
import sys

from recipes import packages, targets
from recipes.errors import Failure, exit_code_of
from recipes.packages import Artefact


def main() -> int:
    """Makes the targets named on the command line."""
    parser = argparse.ArgumentParser(prog="recipes", description=__doc__)
    parser.add_argument("--dir", required=True, help="folder of the models")
    parser.add_argument("--record", action="store_true", help="write the results' digests into the catalog")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    folders = targets.Folders.from_environment(options.dir)
    pins = packages.read_pins(targets.CATALOG)
    opened = {}
    for target in targets.choose(targets.all_targets(folders), options.names):
        recipe = importlib.import_module(f"recipes.{target.recipe}")
        if recipe.PACKAGE not in opened:
            opened[recipe.PACKAGE] = Artefact(packages.fetch(pins[recipe.PACKAGE], folders.downloads, targets.machine()))
        _make(target, recipe, opened[recipe.PACKAGE], options.record)
    return 0


def _make(target: targets.Target, recipe, package: Artefact, recording: bool):
    files = recipe.make(target.name, package)
    digests = {file: hashlib.sha256(contents).hexdigest() for file, contents in files.items()}
    if recording and target.kind in ("model", "body"):
        targets.record(target, digests, {file: len(contents) for file, contents in files.items()})
    else:
        for file, sha256 in target.files.items():
            if digests[file] != sha256:
                raise Failure(
                    f"{file} came out with sha256 {digests[file]}, not {sha256}; nothing was written. "
                    "If a recipe was changed on purpose, run models/make.py --record"
                )
    for file, contents in files.items():
        targets.write_whole(target.folder / file, contents)
        print(f"{target.folder / file}: made, {len(contents) / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
