"""Writes the catalog entries of what was imported, in the form of models/catalog.toml."""

import json
from pathlib import Path

from recipes.hmr2 import licence, network, smpl
from recipes.packages import sha256_of

CREDIT_NETWORK = "HMR2.0, Goel et al., Humans in 4D (2023), UC Berkeley"
CREDIT_BODY = "SMPL, Loper et al. (2015), Max Planck Society"
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]


def header() -> str:
    """The opening of a catalog file."""
    terms = "".join(f"# {line}".rstrip() + "\n" for line in licence.TEXT.splitlines())
    return f"# Written by models/import_hmr2.py. Whoever ran it accepted these terms:\n#\n{terms}\nschema = 1\n"


def model(name: str, files: list, source: str, summary: str) -> str:
    """The entry of the network in `files`, the .onnx first."""
    data = ""
    if len(files) > 1:
        rows = "".join(f"    {{ file = {_text(file.name)}, sha256 = {_text(sha256_of(file))}, bytes = {file.stat().st_size} }},\n" for file in files[1:])
        data = f"data = [\n{rows}]\n"
    return (
        f"\n[[model]]\nname = {_text(name)}\n{_file(files[0])}{data}"
        f"{_about(licence.NETWORK, CREDIT_NETWORK, source, summary)}{_ports(network.INPUTS, network.OUTPUTS)}mean = {MEAN}\nstd = {STD}\n"
    )


def body(name: str, graph: Path, rig: Path, faces: int, source: str) -> str:
    """The entry of the body in `graph` and `rig`."""
    joints, vertices = len(smpl.JOINTS), smpl.VERTICES
    inputs = [("rotations", ["N", joints, 3, 3]), ("shape", ["N", smpl.SHAPES])]
    outputs = [("vertices", ["N", vertices, 3]), ("joints", ["N", joints, 3]), ("openpose", ["N", len(smpl.OPENPOSE), 3])]
    summary = "SMPL's neutral body: 10 betas, pose blend shapes, OpenPose's 25 joints as a third output."
    return (
        f"\n[[body]]\nname = {_text(name)}\n{_file(graph)}{_file(rig, 'rig')}vertices = {vertices}\nfaces = {faces}\n"
        f"{_about(licence.BODY, CREDIT_BODY, source, summary)}{_ports(inputs, outputs)}"
    )


def _file(path: Path, kind: str = "file") -> str:
    prefix = "" if kind == "file" else f"{kind}_"
    return f"{kind} = {_text(path.name)}\n{prefix}sha256 = {_text(sha256_of(path))}\n{prefix}bytes = {path.stat().st_size}\n"


def _about(terms: str, credit: str, source: str, summary: str) -> str:
    pairs = {"licence": terms, "credit": credit, "source": source, "recipe": "models/recipes/hmr2", "summary": summary}
    return "".join(f"{key} = {_text(value)}\n" for key, value in pairs.items())


def _ports(inputs: list, outputs: list) -> str:
    text = ""
    for key, ports in (("inputs", inputs), ("outputs", outputs)):
        rows = (f"    {{ name = {_text(name)}, type = \"f32\", dims = {[0 if n == 'N' else n for n in dims]} }},\n" for name, dims in ports)
        text += f"{key} = [\n{''.join(rows)}]\n"
    return text


def _text(value: str) -> str:
    """A TOML string; a JSON string without escaped surrogates is one."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
