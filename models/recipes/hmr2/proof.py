"""Runs an exported network once, and compares float16 with float32, on pictures that are made up here."""

import time
from pathlib import Path

import numpy as np
import onnxruntime

from recipes.errors import Failure
from recipes.hmr2 import entries, network

PICTURES = 4
LIMIT = 1e-2  # largest difference of float16, relative to the output's largest number


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Normalised pictures f32[count, 3, 256, 256] of coloured blocks in five sizes; the same on every machine."""
    random = np.random.RandomState(seed)  # pylint: disable=no-member  # its stream is fixed for good
    colours = np.zeros((count, 256, 256, 3), np.int64)
    for size in (4, 16, 32, 64, 128):
        blocks = random.randint(0, 52, (count, 256 // size, 256 // size, 3))
        colours += blocks.repeat(size, axis=1).repeat(size, axis=2)
    values = (colours / 255.0 - np.array(entries.MEAN)) / np.array(entries.STD)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


def run(path: Path, images: np.ndarray) -> tuple:
    """Outputs by name, one picture a run, and the seconds of loading and of a run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    start = time.monotonic()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        loaded = time.monotonic()
        names = [name for name, _ in network.OUTPUTS]
        results = [session.run(names, {"img": image[None]}) for image in images]
    except Exception as error:  # pylint: disable=broad-exception-caught  # ONNX Runtime raises several kinds of its own
        raise Failure(f"the exported network does not run: {str(error).splitlines()[0]}") from error
    seconds = (loaded - start, (time.monotonic() - loaded) / len(images))
    return dict(zip(names, map(np.concatenate, zip(*results)))), seconds


def check(outputs: dict):
    """Fails unless everything is finite and the rotations are rotations."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise Failure(f"the exported network gives numbers that are not finite in {name}; is the checkpoint whole?")
    for name in ("global_orient", "body_pose"):
        rotations = outputs[name].astype(np.float64)
        off = np.abs(rotations @ rotations.swapaxes(-1, -2) - np.eye(3)).max()
        if off > 1e-3:
            raise Failure(f"the exported network's {name} is no rotation: off by {off:.2g}")


def compare(half: dict, full: dict) -> dict:
    """How far float16 is from float32: by output, and as the largest angle between two rotations. Fails beyond LIMIT."""
    report = {}
    for name, values in full.items():
        difference = float(np.abs(half[name] - values).max())
        report[name] = {"largest_difference": difference, "relative": difference / float(np.abs(values).max())}
    turned = [np.concatenate([outputs["global_orient"], outputs["body_pose"]], axis=1).astype(np.float64) for outputs in (half, full)]
    # |A - B| in the Frobenius norm is 2 sqrt(2) sin(angle / 2), exact for small angles too
    chord = np.sqrt(((turned[0] - turned[1]) ** 2).sum(axis=(-1, -2))) / (2 * np.sqrt(2))
    report["largest_angle_degrees"] = float(np.degrees(2 * np.arcsin(np.minimum(chord, 1))).max())
    worst = float(np.max([report[name]["relative"] for name in full]))  # np.max keeps what is not a number
    if not worst <= LIMIT:
        raise Failure(f"float16 is off by {worst:.2g} of the largest value, more than {LIMIT:g}: leave out --fp16 for this checkpoint")
    return report
