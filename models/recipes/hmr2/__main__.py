"""Imports HMR2 and SMPL inside the pinned environment; models/import_hmr2.py starts it as `python -m recipes.hmr2`."""

import sys
from pathlib import Path

from recipes.environment import lock
from recipes.errors import exit_code_of
from recipes.hmr2 import importer, licence, options
from recipes.targets import Folders


def main() -> int:
    """Checks the files, asks for acceptance of the terms, and imports."""
    given = options.parser("import_hmr2.py").parse_args()
    sources = importer.open_sources(Path(given.checkpoint), Path(given.smpl), given.any_size)
    licence.accept(given.accept_licence)
    folders = Folders.from_environment(given.dir)
    # two imports into one folder would mix their files
    with lock(folders.state):
        importer.run(sources, folders.models, given.fp16)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
