"""Fills a folder with a reduced HMR2 and a made-up SMPL, imported, beside what PyTorch and smplx give for them.

    python3 models/make.py --hmr2-fixture DIR

DIR is then a models' folder, for tests of the host and its guests:

    hmr2.onnx, hmr2.onnx.data    the reduced network in float32, its weights in an external file as those of the real one
    hmr2_fp16.onnx               the same in float16
    smpl_neutral.onnx, .rig.safetensors, catalog.d/hmr2.toml
    expected.safetensors         img f32[8, 3, 256, 256] and PyTorch's global_orient, body_pose, betas, pred_cam; rotations, shape and
                                 smplx's vertices, joints, openpose
    sources/hmr2.ckpt, smpl.pkl  the files that all of this is imported from
    detectors.toml, *.onnx       tiny detectors, one for each form that a catalog entry can describe
    published.toml, centernet.onnx  a detector that was published, out of the package that MoveNet comes from
    and links to the models and bodies of the built-in catalog, where they are made
"""

import argparse
import contextlib
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from recipes.errors import exit_code_of
from recipes.hmr2 import entries, importer
from recipes.targets import MODELS, write_whole
from tests import support
from tests.hmr2 import centernet, detectors, golden, made_up
from tests.safetensors import encode

STAMP = "fixture.sha256"
HALF = "hmr2_fp16"


def main() -> int:
    """Makes the fixture unless it is there already."""
    parser = argparse.ArgumentParser(prog="tests.hmr2.fixture", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    stamp = folder / STAMP
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest()):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as partial:
            fresh = Path(partial) / "fresh"
            with contextlib.redirect_stdout(None):
                make(fresh)
            if folder.exists():
                folder.rename(Path(partial) / "old")
            fresh.rename(folder)
    print(f"{folder}: in place")
    return 0


def make(folder: Path):
    """Fills the new folder `folder`."""
    sources = folder / "sources"
    sources.mkdir(parents=True)
    made_up.write_checkpoint(sources / "hmr2.ckpt", made_up.tensors(made_up.REDUCED))
    made_up.write_smpl_pickle(sources / "smpl.pkl", made_up.smpl_arrays())
    opened = importer.open_sources(sources / "hmr2.ckpt", sources / "smpl.pkl", any_size=True)
    full, _ = importer.export(opened, folder, importer.NETWORK, half=False, external=True)
    half, report = importer.export(opened, folder, HALF, half=True)
    bodies = importer.write_body(opened, folder)
    text = entries.header() + importer.model_entry(opened, importer.NETWORK, full, None)
    text += importer.model_entry(opened, HALF, half, report) + importer.body_entry(opened, bodies)
    write_whole(folder / importer.CATALOG, text.encode())
    write_whole(folder / "expected.safetensors", encode({"img": golden.pictures(), **golden.load()}, {}))
    detectors.write(folder)
    centernet.write(folder)
    for entry in support.entries("model", "body"):
        for file in filter(None, (entry["file"], entry.get("rig"))):
            if support.FOLDERS.models.joinpath(file).is_file():
                (folder / file).symlink_to(support.FOLDERS.models / file)
    write_whole(folder / STAMP, _digest().encode())


def _digest() -> str:
    """Digest of everything that the fixture is made of."""
    digest = hashlib.sha256(str(support.FOLDERS.models).encode())
    parts = [MODELS / "catalog.toml", *sorted(MODELS.glob("recipes/*.py")), *sorted(MODELS.glob("recipes/hmr2/*.py"))]
    for path in parts + sorted(path for path in MODELS.glob("tests/hmr2/*") if path.is_file()):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
