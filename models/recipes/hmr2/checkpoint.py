"""Reads tensors out of a PyTorch checkpoint without PyTorch, and without running anything that the file says.

A checkpoint (`torch.save` since PyTorch 1.6) is a zip archive: `<name>/data.pkl` is a pickle of the saved object in which
every storage is a persistent id, and `<name>/data/<key>` is that storage's memory. A pickle may name any function to be
called, so of all names only those that make up tensors are looked up here, in a table of our own. Whatever else a trainer
has saved beside the weights (settings, optimizers, callbacks) becomes an inert placeholder; its classes are neither
imported nor called. `torch.load(weights_only=True)` would refuse 4D-Humans' own checkpoint for these very settings.
"""

import collections
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipes.errors import Failure
from recipes.hmr2 import files
from recipes.hmr2.files import CHECKPOINT, CHECKPOINT_FROM

# Names of storages -> their element type; bfloat16 is read as the upper half of a float32.
_STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "u1",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: extents and strides in elements of its storage."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


class _Inert:
    """Stands for an object of a class that is of no interest here; takes whatever a pickle does to it, and does nothing."""

    def __new__(cls, *_args, **_kwargs):
        return super().__new__(cls)

    def __init__(self, *_args, **_kwargs):
        pass

    def __setstate__(self, _state):
        pass

    def __setitem__(self, _key, _value):
        pass

    def append(self, _value):
        """An item of a list."""

    def extend(self, _values):
        """Items of a list."""

    def add(self, _value):
        """An item of a set."""


def _rebuild_tensor(storage, offset, size, stride, *_rest) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(int(n) for n in size), tuple(int(n) for n in stride))


def _rebuild_parameter(data, *_rest):
    return data


class _Unpickler(pickle.Unpickler):
    _KNOWN = {
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("collections", "OrderedDict"): collections.OrderedDict,
    }

    def find_class(self, module, name):
        """Only what makes up tensors; storages are named, everything else is inert."""
        if (module, name) in self._KNOWN:
            return self._KNOWN[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGES:
            # a class, since the pickle only hands it on
            return type(name, (), {"kind": _STORAGES[name]})
        return type(name, (_Inert,), {})

    def persistent_load(self, pid):
        """A storage: ("storage", type, key, device, number of elements)."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise pickle.UnpicklingError("a persistent id that is no storage")
        kind = getattr(pid[1], "kind", None)
        if kind is None:
            raise pickle.UnpicklingError(f"a storage of an unknown type, {getattr(pid[1], '__name__', pid[1])}")
        return _Storage(str(pid[2]), kind, int(pid[4]))


class Checkpoint:
    """The state dict of a checkpoint. Tensors are read one at a time, so that a large file needs little memory."""

    def __init__(self, path: Path):
        files.require(path, CHECKPOINT, CHECKPOINT_FROM)
        self.path = path
        wrong = f"{path} is not {CHECKPOINT} but {{}}. {CHECKPOINT_FROM}"
        if not zipfile.is_zipfile(path):
            found = files.describe(path)
            if found == "a Python pickle":
                found = "a pickle, perhaps a checkpoint of PyTorch before 1.6, which has to be saved anew with a later PyTorch"
            raise Failure(wrong.format(found))
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise Failure(f"{path} is damaged or cut short: {error}") from error
        pickles = [name for name in self._archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Failure(wrong.format(files.describe(path)))
        self._folder = pickles[0].removesuffix("data.pkl")
        self._order = self._byte_order()
        try:
            with self._archive.open(pickles[0]) as file:
                saved = _Unpickler(file).load()
        except Exception as error:  # pylint: disable=broad-exception-caught  # a damaged pickle can raise anything
            raise Failure(f"{path} is a PyTorch checkpoint that cannot be read: {error or type(error).__name__}") from error
        state = saved.get("state_dict", saved) if isinstance(saved, dict) else None
        if not isinstance(state, dict):
            raise Failure(f"{path} is a PyTorch file, but holds no state dict. It should be {CHECKPOINT}. {CHECKPOINT_FROM}")
        self._tensors = {name: tensor for name, tensor in state.items() if isinstance(name, str) and isinstance(tensor, _Tensor)}

    def shapes(self) -> dict:
        """Extents of every tensor by name."""
        return {name: tensor.shape for name, tensor in self._tensors.items()}

    def read(self, name: str) -> np.ndarray:
        """A tensor as f32, in C order."""
        tensor = self._tensors[name]
        storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
        dtype = np.dtype(self._order + ("u2" if storage.kind == "bf16" else storage.kind))
        try:
            data = self._archive.read(f"{self._folder}data/{storage.key}")
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise Failure(f"{self.path} is damaged or cut short: the data of {name} cannot be read ({error})") from error
        furthest = tensor.offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides))
        inside = len(shape) == len(strides) and min((tensor.offset, *strides, *shape), default=0) >= 0
        if not inside or (0 not in shape and (furthest + 1) * dtype.itemsize > len(data)):
            raise Failure(f"{self.path} is damaged: {name} reaches beyond its data")
        flat = np.frombuffer(data, dtype)[tensor.offset :]
        view = np.lib.stride_tricks.as_strided(flat, shape, [stride * dtype.itemsize for stride in strides], writeable=False)
        if storage.kind == "bf16":
            return (np.ascontiguousarray(view).astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(view, np.float32)

    def _byte_order(self) -> str:
        name = f"{self._folder}byteorder"
        if name in self._archive.namelist():
            return ">" if self._archive.read(name) == b"big" else "<"
        return "<"
