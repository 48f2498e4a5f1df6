"""Reads SMPL's neutral model and makes a body of it, with the same contract as the default body.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015. Accepted are the .pkl as SMPL's makers publish it (arrays of
chumpy and SciPy, written by Python 2), the same saved anew without them, and an .npz with the same names.

The body's rest pose is SMPL's T pose in SMPL's own axes, which are the body axes of Halfpipe: x to the body's left, y up, z to its
front, metres. Its `openpose` output holds the 25 joints of OpenPose by 4D-Humans' rule (hmr2/models/smpl_wrapper.py): SMPL's joints
and vertices of face and feet (smplx, vertex_ids.py), in OpenPose's order.
"""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes import body_graph, rig_file
from recipes.body import JOINTS, PARENTS
from recipes.errors import Failure
from recipes.hmr2 import files, smpl_pickle
from recipes.hmr2.files import SMPL as WHAT
from recipes.hmr2.files import SMPL_FROM as WHERE

VERTICES = 6890
SHAPES = 10
POSE_NUMBERS = 9 * 23

# What other models of the family have instead of SMPL's 6890 vertices and 24 joints.
_OTHERS = {
    (6890, 52): "SMPL+H, SMPL with hands",
    (10475, 55): "SMPL-X",
    (778, 16): "MANO, a hand",
    (5023, 5): "FLAME, a head",
    (3889, 35): "SMAL, an animal",
}
_KEYS = ("v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor", "kintree_table")

# Landmarks that the rig names, as vertices (smplx, vertex_ids.py, "smplh").
LANDMARKS = {
    "nose": 332,
    "left_eye": 2800,
    "left_ear": 583,
    "left_heel": 3387,
    "left_toe": 3216,
    "left_pinky": 2673,
    "left_index": 2319,
    "left_thumb": 2746,
    "right_eye": 6260,
    "right_ear": 4071,
    "right_heel": 6787,
    "right_toe": 6617,
    "right_pinky": 6133,
    "right_index": 5782,
    "right_thumb": 6191,
}

# OpenPose's 25 joints in its order, each as a joint of SMPL by name or as a vertex by number.
OPENPOSE = {
    "nose": 332,
    "neck": "neck",
    "right_shoulder": "right_shoulder",
    "right_elbow": "right_elbow",
    "right_wrist": "right_wrist",
    "left_shoulder": "left_shoulder",
    "left_elbow": "left_elbow",
    "left_wrist": "left_wrist",
    "mid_hip": "pelvis",
    "right_hip": "right_hip",
    "right_knee": "right_knee",
    "right_ankle": "right_ankle",
    "left_hip": "left_hip",
    "left_knee": "left_knee",
    "left_ankle": "left_ankle",
    "right_eye": 6260,
    "left_eye": 2800,
    "right_ear": 4071,
    "left_ear": 583,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
}


@dataclass(frozen=True)
class Smpl:
    """SMPL's arrays, float64."""

    v_template: np.ndarray  # [6890, 3]
    faces: np.ndarray  # i64[F, 3], counter-clockwise from outside
    weights: np.ndarray  # [6890, 24], rows add up to 1
    shapedirs: np.ndarray  # [6890, 3, 10]
    posedirs: np.ndarray  # [6890, 3, 207]
    regressor: np.ndarray  # [24, 6890]


@dataclass(frozen=True)
class SmplBody:
    """The fields of a `recipes.body.Body` that rig and graph are made of."""

    name: str
    v_template: np.ndarray
    shapedirs: np.ndarray
    faces: np.ndarray
    skin_index: np.ndarray
    skin_weight: np.ndarray
    parents: np.ndarray
    j_template: np.ndarray
    j_shapedirs: np.ndarray
    bind_rotation: np.ndarray
    landmark_vertex: np.ndarray
    joint_names: list
    shape_names: list
    landmark_names: list


def read(path: Path) -> Smpl:
    """SMPL's arrays out of a .pkl or .npz; fails with what the file is instead."""
    files.require(path, WHAT, WHERE)
    try:
        return _checked(_entries(path), path)
    except (IndexError, TypeError, ValueError, OverflowError, MemoryError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise Failure(f"{path} holds arrays that are not those of {WHAT}: {error}. {WHERE}") from error


def doubt(path: Path) -> str | None:
    """A sentence where the file's name is that of the male or female model: their arrays look like the neutral one's."""
    if re.search(r"(?i)(?:^|[_\W])(?:m|f|male|female)(?:[_\W]|$)", path.stem):
        return f"note: by its name, {path.name} is not the neutral model, which HMR2 was trained with; bodies will not fit the picture"
    return None


def make(smpl: Smpl, name: str) -> dict:
    """Files of the body called `name`, by file name: the graph and the rig."""
    body = _body(smpl, name)
    points = body_graph.Points("openpose", [_point(place) for place in OPENPOSE.values()])
    graph = body_graph.build(body, weights=smpl.weights, posedirs=smpl.posedirs, points=points)
    return {f"{name}.onnx": graph, f"{name}.rig.safetensors": rig_file.encode(body)}


def _point(place):
    """A joint as its index, a vertex as its index after the joints."""
    return JOINTS.index(place) if isinstance(place, str) else len(JOINTS) + place


def _entries(path: Path) -> dict:
    with open(path, "rb") as file:
        head = file.read(2)
        file.seek(0)
        # protocols 2 to 5 say so; the older ones that Python 2 wrote begin with an opcode for a dictionary
        if head[:1] == b"\x80" or head in (b"(d", b"}q"):
            entries = smpl_pickle.load(file, f"{path}, which should be {WHAT},")
            if not isinstance(entries, dict):
                raise Failure(f"{path} is a pickle of a {type(entries).__name__}, not {WHAT}. {WHERE}")
            return {str(name): value for name, value in entries.items()}
    if not zipfile.is_zipfile(path):
        raise Failure(f"{path} is not {WHAT} but {files.describe(path)}. {WHERE}")
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        if "v_template.npy" not in members:
            raise Failure(f"{path} is not {WHAT} but {files.describe(path)}. {WHERE}")
        return {name.removesuffix(".npy"): _member(archive, name, path) for name in members}


def _member(archive: zipfile.ZipFile, name: str, path: Path):
    """An array of an .npz. One of objects is a pickle, read as cautiously as any other."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            return smpl_pickle.load(file, f"{path}: {name}")
        values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _checked(entries: dict, path: Path) -> Smpl:
    wrong = f"{path} is not {WHAT} but "
    missing = [name for name in _KEYS if name not in entries]
    kind = _kind(entries)
    if kind:
        raise Failure(f"{wrong}{kind}. {WHERE}")
    if missing:
        raise Failure(f"{wrong}a file that lacks {', '.join(missing)}; it has {', '.join(sorted(entries)[:20]) or 'nothing'}. {WHERE}")
    arrays = {name: smpl_pickle.dense(entries[name]).astype(np.float64) for name in _KEYS}
    shapes = arrays["shapedirs"].shape
    if len(shapes) == 3 and shapes[2] > SHAPES:
        arrays["shapedirs"] = arrays["shapedirs"][:, :, :SHAPES]  # later releases have 300; HMR2 gives the first ten
    joints = len(JOINTS)
    wanted = {
        "v_template": (VERTICES, 3),
        "weights": (VERTICES, joints),
        "shapedirs": (VERTICES, 3, SHAPES),
        "posedirs": (VERTICES, 3, POSE_NUMBERS),
        "J_regressor": (joints, VERTICES),
        "kintree_table": (2, joints),
        "f": (len(arrays["f"]), 3),
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise Failure(f"{wrong}a file whose {name} is {list(arrays[name].shape)} instead of {list(shape)}. {WHERE}")
        if not np.isfinite(arrays[name]).all():
            raise Failure(f"{path} is damaged: {name} has numbers that are not finite")
    parents = arrays["kintree_table"][0].astype(np.int64)
    if parents[1:].tolist() != PARENTS[1:]:
        raise Failure(f"{wrong}a model with another skeleton: the parents of its joints are {parents.tolist()}. {WHERE}")
    faces, weights = arrays["f"].astype(np.int64), arrays["weights"]
    if not len(faces) or faces.min() < 0 or faces.max() >= VERTICES:
        raise Failure(f"{path} is damaged: its faces name vertices that are not there")
    if weights.min() < 0 or np.abs(weights.sum(axis=1) - 1).max() > 1e-3:
        raise Failure(f"{path} is damaged: the skinning weights of a vertex are negative or do not add up to 1")
    if not 1 < np.ptp(arrays["v_template"][:, 1]) < 2.5:
        raise Failure(f"{path} is not in SMPL's axes and unit: the body is {np.ptp(arrays['v_template'][:, 1]):.3g} high along y, not about 1.7")
    return Smpl(arrays["v_template"], faces, weights, arrays["shapedirs"], arrays["posedirs"], arrays["J_regressor"])


def _kind(entries: dict) -> str | None:
    """The name of the related model that the file is of, if it is one."""
    if not {"v_template", "kintree_table"} <= set(entries):
        return None
    counts = len(smpl_pickle.dense(entries["v_template"])), smpl_pickle.dense(entries["kintree_table"]).shape[-1]
    if counts == (VERTICES, len(JOINTS)):
        return None
    return _OTHERS.get(counts, "another model") + f" ({counts[0]} vertices, {counts[1]} joints; SMPL has {VERTICES} and {len(JOINTS)})"


def _body(smpl: Smpl, name: str) -> SmplBody:
    strongest = np.argsort(-smpl.weights, axis=1, kind="stable")[:, :4]
    four = np.take_along_axis(smpl.weights, strongest, axis=1)
    return SmplBody(
        name=name,
        v_template=smpl.v_template,
        shapedirs=smpl.shapedirs,
        faces=smpl.faces.astype(np.uint32),
        skin_index=strongest.astype(np.uint16),
        skin_weight=four / four.sum(axis=1, keepdims=True),
        parents=np.array(PARENTS, np.int32),
        j_template=smpl.regressor @ smpl.v_template,
        j_shapedirs=np.einsum("jv,vck->jck", smpl.regressor, smpl.shapedirs),
        bind_rotation=np.stack([np.eye(3)] * len(JOINTS)),
        landmark_vertex=np.array(list(LANDMARKS.values()), np.uint32),
        joint_names=JOINTS,
        shape_names=[f"beta{index}" for index in range(SHAPES)],
        landmark_names=list(LANDMARKS),
    )
