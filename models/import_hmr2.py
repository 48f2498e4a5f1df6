#!/usr/bin/env python3
"""Makes Halfpipe's `hmr2` and `smpl_neutral` of a 4D-Humans checkpoint and an SMPL file that you bring.

    python3 models/import_hmr2.py --checkpoint epoch=35-step=1000000.ckpt --smpl basicModel_neutral_lbs_10_207_0_v1.0.0.pkl

Needs Python 3.11 with venv, and fetches NumPy, ONNX and ONNX Runtime into the recipes' environment; no PyTorch. `halfpipe models
import hmr2` starts it too. hmr2.md has the steps.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit("error: models/import_hmr2.py needs Python 3.11 or later; this is " + sys.version.split()[0])

import subprocess
from pathlib import Path

from recipes.environment import lock, python_for
from recipes.errors import exit_code_of
from recipes.hmr2 import files, options
from recipes.targets import MODELS, Folders


def main() -> int:
    """Sets up the environment and hands the command line on to the import inside it."""
    given = options.parser("import_hmr2.py").parse_args()
    checkpoint, smpl = Path(given.checkpoint).absolute(), Path(given.smpl).absolute()
    # before anything is fetched
    files.require(checkpoint, files.CHECKPOINT, files.CHECKPOINT_FROM)
    files.require(smpl, files.SMPL, files.SMPL_FROM)
    folders = Folders.from_environment(given.dir)
    with lock(folders.state):
        python = python_for("hmr2", folders.state)
    command = [python, "-m", "recipes.hmr2", "--checkpoint", checkpoint, "--smpl", smpl, "--dir", folders.models]
    flags = {"--fp16": given.fp16, "--accept-licence": given.accept_licence, "--any-size": given.any_size}
    return subprocess.run([*command, *(flag for flag, on in flags.items() if on)], cwd=MODELS, check=False).returncode


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
