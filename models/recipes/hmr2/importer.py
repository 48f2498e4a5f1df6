"""Imports a checkpoint and an SMPL file into the models' folder: network, body, catalog entries."""

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recipes.hmr2 import entries, network, proof, smpl
from recipes.hmr2.checkpoint import Checkpoint
from recipes.hmr2.weights import Sizes, sizes_of
from recipes.packages import sha256_of
from recipes.targets import write_whole

NETWORK = "hmr2"
BODY = "smpl_neutral"
CATALOG = "catalog.d/hmr2.toml"
REPORT = "hmr2.parity.json"
STAGING = ".hmr2-import-"


@dataclass(frozen=True)
class Sources:
    """The user's files, opened and found to be what they should be."""

    checkpoint: Checkpoint
    sizes: Sizes
    smpl_path: Path
    smpl: smpl.Smpl


def open_sources(checkpoint: Path, smpl_path: Path, any_size: bool) -> Sources:
    """Opens both files and checks them, which takes a second; fails with what is wrong."""
    body = smpl.read(smpl_path)
    if doubt := smpl.doubt(smpl_path):
        say(doubt)
    opened = Checkpoint(checkpoint)
    return Sources(opened, sizes_of(opened.shapes(), checkpoint, any_size), smpl_path, body)


def run(sources: Sources, folder: Path, half: bool):
    """Makes everything in a folder of its own, tries it, and moves it into `folder`; the catalog entries come last.

    The caller holds the lock of the recipes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{STAGING}*"):
        shutil.rmtree(left)  # by an import that was killed; gigabytes
    with tempfile.TemporaryDirectory(dir=folder, prefix=STAGING) as staging:
        staging = Path(staging)
        files, report = export(sources, staging, NETWORK, half)
        bodies = write_body(sources, staging)
        text = entries.header() + model_entry(sources, NETWORK, files, report) + body_entry(sources, bodies)
        old_data = folder / f"{NETWORK}.onnx.data"
        for path in (*files, *bodies):
            os.chmod(path, 0o644)
            os.replace(path, folder / path.name)
        if len(files) == 1:
            old_data.unlink(missing_ok=True)
        if report:
            write_whole(folder / REPORT, (json.dumps(report, indent=2) + "\n").encode())
        else:
            (folder / REPORT).unlink(missing_ok=True)
    write_whole(folder / CATALOG, text.encode())
    for path in (*files, *bodies):
        say(f"{folder / path.name}: {(folder / path.name).stat().st_size / 1e6:.1f} MB")
    say(f"{folder / CATALOG}: the entries `{NETWORK}` and `{BODY}`")


def export(sources: Sources, folder: Path, name: str, half: bool, external: bool | None = None) -> tuple:
    """Writes the network into `folder` and tries it; gives its files, and with `half` the report of its parity."""
    say(f"{sources.checkpoint.path}: {sources.sizes}; writing the network, {'float16' if half else 'float32'}")
    images = proof.pictures(proof.PICTURES)
    if not half:
        files = network.write(sources.checkpoint, sources.sizes, folder / f"{name}.onnx", False, external)
        outputs, seconds = proof.run(files[0], images[:1])
        proof.check(outputs)
        say(f"it runs: loaded in {seconds[0]:.1f} s, one picture in {seconds[1]:.2f} s on the CPU")
        return files, None
    # Both are named alike, as the name of the data file stands in the graph.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".float32-") as reference:
        full = network.write(sources.checkpoint, sources.sizes, Path(reference) / f"{name}.onnx", False)
        wanted, _ = proof.run(full[0], images)
    proof.check(wanted)
    files = network.write(sources.checkpoint, sources.sizes, folder / f"{name}.onnx", True, external)
    found, _ = proof.run(files[0], images)
    proof.check(found)
    report = {
        "compared": f"float16 with float32, ONNX Runtime on the CPU, {len(images)} made-up pictures",
        "relative_to": "the largest number of the output",
        "limit": proof.LIMIT,
        **proof.compare(found, wanted),
    }
    say("float16 against float32:")
    for output, _ in network.OUTPUTS:
        say(f"  {output:<14} largest difference {report[output]['largest_difference']:.2e}, relative {report[output]['relative']:.2e}")
    say(f"  largest angle between rotations {report['largest_angle_degrees']:.3f} degrees")
    return files, report


def model_entry(sources: Sources, name: str, files: list, report: dict | None) -> str:
    """The catalog entry of an exported network."""
    kind = "float32"
    if report:
        kind = f"float16, within {max(report[output]['relative'] for output, _ in network.OUTPUTS):.1e} of float32"
    path = sources.checkpoint.path
    summary = f"SMPL's pose, shape and a crop camera of the person in a square crop: {sources.sizes}; {kind}."
    return entries.model(name, files, f"{path.name}, sha256 {sha256_of(path)}", summary)


def body_entry(sources: Sources, files: list) -> str:
    """The catalog entry of the body."""
    source = f"{sources.smpl_path.name}, sha256 {sha256_of(sources.smpl_path)}"
    return entries.body(BODY, *files, len(sources.smpl.faces), source)


def write_body(sources: Sources, folder: Path) -> list:
    """Writes the body's graph and rig into `folder`; gives their paths."""
    say(f"{sources.smpl_path}: SMPL, {len(sources.smpl.v_template)} vertices; writing the body")
    paths = []
    for file, contents in smpl.make(sources.smpl, BODY).items():
        paths.append(folder / file)
        paths[-1].write_bytes(contents)
    return paths


def say(text: str):
    """One line of progress."""
    print(text, flush=True)
