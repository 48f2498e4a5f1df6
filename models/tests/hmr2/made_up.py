"""Made-up files in the forms of 4D-Humans' checkpoint and of SMPL's model; the same numbers on every machine.

The real ones may not be passed on, and are large. Here the network has few layers and random weights, and the body is Halfpipe's
own CC0 body in SMPL's form: in T pose, with vertices renumbered so that SMPL's landmarks are where they should be, a joint
regressor that gives its joints, and random blend shapes.
"""

import contextlib
import pickle
import struct
import sys
import types
import unittest.mock
import zipfile
from pathlib import Path

import numpy as np

from recipes.body import JOINTS, PARENTS
from recipes.hmr2 import smpl
from recipes.hmr2.weights import RELEASED, Sizes, expected
from tests import support
from tests.safetensors import decode

REDUCED = Sizes(width=160, blocks=2, token=64, layers=2, inner=128, hidden=96)
GRID = 2.0**-15  # random numbers are multiples of it, so that they are exact
_REGRESSED = 160  # vertices a joint is the mean of


def tensors(sizes: Sizes, seed: int = 1):
    """Name and f32 array of every tensor of a network of these sizes, by 4D-Humans' names, one at a time."""
    random = np.random.RandomState(seed)  # pylint: disable=no-member  # its stream is fixed for good

    def spread(shape, extent):
        return random.randint(-(2**15), 2**15, shape).astype(np.float32) * np.float32(GRID * extent)

    for name, shape in expected(sizes).items():
        if name.endswith("init_body_pose"):
            yield name, np.tile(np.float32([1, 0, 0, 0, 1, 0]), 24)[None]
        elif name.endswith("init_betas"):
            yield name, np.zeros(shape, np.float32)
        elif name.endswith("init_cam"):
            yield name, np.float32([[0.9, 0, 0]])
        elif "norm" in name and name.endswith("weight"):
            yield name, 1 + spread(shape, 0.25)
        elif len(shape) == 1 or "pos_embed" in name:
            yield name, spread(shape, 0.125)
        else:
            # a power of two near the width at which a layer keeps the size of its numbers
            inputs = int(np.prod(shape[1:]))
            extent = 2.0 ** np.rint(np.log2((3 / inputs) ** 0.5))
            # poses stay so near to the identity that their six numbers never come close to giving no rotation
            yield name, spread(shape, extent / 32 if "decpose" in name else extent)


def write_checkpoint(path: Path, named, settings: bool = True):
    """Writes (name, f32 array) pairs in the form that `torch.save` gives a PyTorch Lightning checkpoint.

    With `settings`, an object of a class that is not installed stands beside the weights, as in 4D-Humans' own checkpoint.
    """
    entries = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, (name, array) in enumerate(named):
            with archive.open(f"archive/data/{index}", "w", force_zip64=True) as file:
                file.write(np.ascontiguousarray(array, "<f4").data)
            entries.append((name, array.shape, index))
        archive.writestr("archive/data.pkl", _checkpoint_pickle(entries, settings))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")


def _checkpoint_pickle(entries: list, settings: bool) -> bytes:
    """The pickle of a Lightning checkpoint, opcode by opcode, since neither PyTorch nor yacs need be here."""

    def text(value):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()

    def number(value):
        return b"J" + struct.pack("<i", value)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    def tensor(shape, key):
        count = int(np.prod(shape))
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + number(count) + b"tQ"
        hooks = b"ccollections\nOrderedDict\n)R"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + numbers(shape) + numbers(strides) + b"\x89" + hooks + b"tR"

    state = b"ccollections\nOrderedDict\n)R(" + b"".join(text(name) + tensor(shape, key) for name, shape, key in entries) + b"u"
    items = text("epoch") + number(35) + text("state_dict") + state
    if settings:
        node = b"cyacs.config\nCfgNode\n)\x81(" + text("MODEL") + text("HMR2") + b"u}" + text("frozen") + b"\x88sb"
        items += text("hyper_parameters") + b"}" + text("cfg") + node + b"s"
    return b"\x80\x02}(" + items + b"u."


def smpl_arrays(seed: int = 2) -> dict:
    """Arrays by the names in SMPL's file: a human body with random blend shapes of a few millimetres."""
    random = np.random.RandomState(seed)  # pylint: disable=no-member
    rig, metadata = decode(support.made("halfpipe_body.rig.safetensors").read_bytes())
    vertices, joints = _t_pose(rig)
    order = _renumbering(vertices, rig, metadata)
    place = np.argsort(order)
    weights = np.zeros((len(vertices), len(JOINTS)))
    np.put_along_axis(weights, rig["skin_index"].astype(np.int64), rig["skin_weight"].astype(np.float64), axis=1)
    vertices, weights = vertices[order], weights[order]

    def blend(count, extent):
        return random.randint(-(2**15), 2**15, (len(vertices), 3, count)) * (GRID * extent)

    shapes = blend(smpl.SHAPES, 0.002)
    shapes[:, :, 0] += vertices * 0.03  # the first is size, as it is in SMPL
    return {
        "v_template": vertices,
        "f": place[rig["faces"].astype(np.int64)].astype(np.uint32),
        "weights": weights,
        "shapedirs": shapes,
        "posedirs": blend(smpl.POSE_NUMBERS, 0.002),
        "J_regressor": _regressor(vertices, joints),
        "J": joints,
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(len(JOINTS))], np.uint32),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def _t_pose(rig: dict) -> tuple:
    """Vertices and joints of the body with all local rotations at identity, float64."""
    bind, rest, parents = rig["bind_rotation"].astype(np.float64), rig["j_template"].astype(np.float64), rig["parents"]
    joints = rest.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            joints[joint] = joints[parent] + bind[parent].T @ (rest[joint] - rest[parent])
    vertices = np.zeros_like(rig["v_template"], np.float64)
    for column in range(4):
        index, weight = rig["skin_index"][:, column], rig["skin_weight"][:, column].astype(np.float64)
        moved = np.einsum("vji,vj->vi", bind[index], rig["v_template"] - rest[index]) + joints[index]
        vertices += weight[:, None] * moved
    return vertices, joints


def _renumbering(vertices: np.ndarray, rig: dict, metadata: dict) -> np.ndarray:
    """For every new vertex its old number, such that SMPL's landmarks are those of the body."""
    places = dict(zip(metadata["landmark_names"], rig["landmark_vertex"].tolist()))
    wanted = {number: places[name] for name, number in smpl.LANDMARKS.items()}
    for side, outwards in (("left", 1.0), ("right", -1.0)):
        # the body names no small toe: of the vertices two centimetres behind the big one, the outermost
        toe = vertices[places[f"{side}_toe"]]
        near = np.where((np.abs(vertices[:, 2] - toe[2] + 0.02) < 0.015) & (vertices[:, 1] < toe[1] + 0.03), outwards * vertices[:, 0], -9)
        wanted[smpl.OPENPOSE[f"{side}_small_toe"]] = int(np.argmax(near))
    order = np.arange(len(vertices))
    for number, old in wanted.items():
        # swap, so that every vertex keeps a number
        at = int(np.flatnonzero(order == old)[0])
        order[[number, at]] = order[[at, number]]
    assert all(order[number] == old for number, old in wanted.items())
    return order


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A matrix [24, V] that gives the joints as weighted means of the vertices nearest to each."""
    regressor = np.zeros((len(joints), len(vertices)))
    for row, joint in zip(regressor, joints):
        near = np.argsort(((vertices - joint) ** 2).sum(axis=1), kind="stable")[:_REGRESSED]
        # the weights nearest to equal ones whose mean is the joint
        system = np.vstack([vertices[near].T, np.ones(_REGRESSED)])
        equal = np.full(_REGRESSED, 1 / _REGRESSED)
        row[near] = equal + np.linalg.lstsq(system, np.append(joint, 1) - system @ equal, rcond=None)[0]
    return regressor


def write_smpl_npz(path: Path, arrays: dict):
    """Writes SMPL's arrays as an .npz."""
    np.savez(path, **arrays)


def write_smpl_pickle(path: Path, arrays: dict, protocol: int = 2):
    """Writes SMPL's arrays as its makers do: a pickle with chumpy arrays, a SciPy matrix and NumPy's old module names.

    Neither package is needed: classes of their names stand in while the pickle is written.
    """
    with _stand_ins() as (leaf, selection, matrix):
        shapes = arrays["shapedirs"]
        wide = np.concatenate([shapes, np.zeros((*shapes.shape[:2], 6))], axis=2)
        chosen = np.arange(wide.size).reshape(wide.shape)[:, :, :10]
        columns, rows = np.nonzero(arrays["J_regressor"].T)
        starts = np.searchsorted(columns, np.arange(arrays["J_regressor"].shape[1] + 1))
        entries = {
            **arrays,
            "v_template": leaf(x=arrays["v_template"]),
            "shapedirs": selection(a=leaf(x=wide), idxs=chosen.ravel(), preferred_shape=chosen.shape),
            "J_regressor": matrix(
                _shape=arrays["J_regressor"].shape,
                data=arrays["J_regressor"].T[columns, rows],
                indices=rows.astype(np.int32),
                indptr=starts.astype(np.int32),
            ),
        }
        contents = pickle.dumps(entries, protocol)
    path.write_bytes(contents.replace(b"cnumpy._core.", b"cnumpy.core."))


@contextlib.contextmanager
def _stand_ins():
    """Classes that pickle under the names of chumpy's and SciPy's."""
    classes = []
    modules = {name: types.ModuleType(name) for name in ("chumpy", "scipy", "scipy.sparse")}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("scipy.sparse.csc", "csc_matrix")):
        classes.append(type(name, (types.SimpleNamespace,), {"__module__": module, "__reduce_ex__": _reduce}))
        modules[module] = types.ModuleType(module)
        setattr(modules[module], name, classes[-1])
    with unittest.mock.patch.dict(sys.modules, modules):
        yield classes


def _reduce(self, _protocol):
    return (type(self), (), dict(self.__dict__))


if __name__ == "__main__":
    # python -m tests.hmr2.made_up FILE: a checkpoint of the released size, for measuring what its import takes
    write_checkpoint(Path(sys.argv[1]), tensors(RELEASED))
