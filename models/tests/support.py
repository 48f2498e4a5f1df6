"""What the tests share: where the models are, the catalog, sessions, rig files, frames of the fixture clip."""

import os
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

from recipes.targets import CATALOG, MODELS, Folders
from tests.safetensors import decode

FOLDERS = Folders.from_environment(None)
CLIPS = MODELS.parent / "tests/fixtures/clips"
SQUATS = CLIPS / "tfjs_pose_squats.mp4"


def catalog() -> dict:
    """The parsed catalog."""
    return tomllib.loads(CATALOG.read_text(encoding="utf-8"))


def entries(*kinds: str) -> list:
    """The catalog's entries of these kinds ("model", "body")."""
    return [entry for kind in kinds for entry in catalog()[kind]]


def made(file: str) -> Path:
    """Path of a made file; says what to run where it is missing."""
    path = FOLDERS.models / file
    assert path.is_file(), f"{path} is missing; run python3 models/make.py"
    return path


def session(file: str) -> onnxruntime.InferenceSession:
    """A session on two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(made(file), options, providers=["CPUExecutionProvider"])


def run(network: onnxruntime.InferenceSession, **inputs) -> dict:
    """All outputs by name."""
    names = [output.name for output in network.get_outputs()]
    return dict(zip(names, network.run(names, inputs)))


def read_rig(file: str) -> tuple:
    """Tensors by name and metadata of a rig file."""
    return decode(made(file).read_bytes())


def squats_frame(index: int, width: int, height: int) -> np.ndarray:
    """Frame `index` of the squats clip as u8[height, width, 3], RGB."""
    command = ["ffmpeg", "-v", "error", "-i", SQUATS, "-vf", f"select=eq(n\\,{index}),scale={width}:{height}:flags=area"]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    try:
        result = subprocess.run(command, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise AssertionError("ffmpeg is missing; install it (Debian: apt-get install ffmpeg)") from error
    return np.frombuffer(result.stdout, np.uint8).reshape(height, width, 3)


def planes(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture u8[H, W, 3] as the f32[1, 3, H, W] that networks take, multiplied by `scale`."""
    return np.ascontiguousarray(picture.astype(np.float32).transpose(2, 0, 1)[None] * np.float32(scale))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation f64[3, 3] by Rodrigues' formula."""
    vector = rng.normal(size=3)
    angle = np.linalg.norm(vector)
    return rotation_about(vector / angle, angle)


def rotation_about(axis, angle: float) -> np.ndarray:
    """The rotation f64[3, 3] by `angle` radians about a unit axis."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def environment(**changes: str) -> dict:
    """The process environment with changes."""
    return {**os.environ, **changes}
