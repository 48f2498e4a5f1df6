"""Unpickles SMPL's model files with nothing but arrays: no chumpy, no SciPy, and no function that the file may name.

SMPL's .pkl files were written by Python 2 with chumpy and SciPy objects in them. A pickle may name any function to be called,
so names are looked up in the table below and nowhere else; any other one ends the import with its name.
"""

import collections
import pickle
from typing import BinaryIO

import numpy as np

from recipes.errors import Failure

_MOST_BYTES = 4_000_000_000


class _Chumpy:
    """A chumpy array: a leaf holds numbers as `x`, a selection the numbers `idxs` of another one, `a`."""

    def __new__(cls, *_args):
        return super().__new__(cls)

    def __setstate__(self, state):
        self.__dict__.update(state)

    def array(self) -> np.ndarray:
        """The numbers."""
        if "x" in self.__dict__:
            return dense(self.__dict__["x"])
        if "a" in self.__dict__ and "idxs" in self.__dict__:
            chosen = dense(self.__dict__["a"]).ravel()[np.asarray(self.__dict__["idxs"]).ravel()]
            shape = self.__dict__.get("preferred_shape")
            return chosen if shape is None else chosen.reshape(shape)
        raise Failure(f"a chumpy object of the file is no plain array; it has {', '.join(sorted(self.__dict__))}")


class _Sparse:
    """A sparse matrix of SciPy by its compressed columns or rows."""

    rows = False  # whether rows are compressed

    def __new__(cls, *_args):
        return super().__new__(cls)

    def __setstate__(self, state):
        self.__dict__.update(state)

    def array(self) -> np.ndarray:
        """The whole matrix."""
        shape = self.__dict__.get("_shape", self.__dict__.get("shape"))
        parts = [self.__dict__.get(name) for name in ("data", "indices", "indptr")]
        if shape is None or any(part is None for part in parts) or int(np.prod([int(n) for n in shape])) * 8 > _MOST_BYTES:
            raise Failure("a sparse matrix of the file is incomplete or too large")
        values, indices, starts = (np.asarray(part) for part in parts)
        matrix = np.zeros([int(n) for n in shape])
        compressed = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        np.add.at(matrix, (compressed, indices) if self.rows else (indices, compressed), values)
        return matrix


class _SparseRows(_Sparse):
    rows = True


def _new(cls, *_args):
    """copyreg._reconstructor of the classes above."""
    if not (isinstance(cls, type) and issubclass(cls, (_Chumpy, _Sparse))):
        raise pickle.UnpicklingError("an object of a class that has no business in SMPL's file")
    return cls.__new__(cls)


def _scalar(dtype, data):
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        raise pickle.UnpicklingError("a NumPy scalar that holds an object")
    return np.frombuffer(data if isinstance(data, bytes) else data.encode("latin1"), dtype)[0]


def _encode(text, encoding):
    """How Python 3 pickles bytes for Python 2."""
    return text.encode(encoding if encoding in ("latin1", "ascii") else "latin1")


def _table() -> dict:
    reconstruct = np.empty(0).__reduce__()[0]
    known = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("copy_reg", "_reconstructor"): _new,
        ("copyreg", "_reconstructor"): _new,
        ("__builtin__", "object"): object,
        ("builtins", "object"): object,
        ("__builtin__", "set"): set,
        ("builtins", "set"): set,
    }
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known |= {(core, "_reconstruct"): reconstruct, (core, "scalar"): _scalar}
    for module in ("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc"):
        known |= {(module, "csc_matrix"): _Sparse, (module, "csc_array"): _Sparse}
    for module in ("scipy.sparse", "scipy.sparse.csr", "scipy.sparse._csr"):
        known |= {(module, "csr_matrix"): _SparseRows, (module, "csr_array"): _SparseRows}
    known |= {("chumpy", "Ch"): _Chumpy, ("chumpy.ch", "Ch"): _Chumpy, ("chumpy.reordering", "Select"): _Chumpy}
    return known


class _Unpickler(pickle.Unpickler):
    _KNOWN = _table()

    def find_class(self, module, name):
        """From the table, or not at all."""
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which has no business in SMPL's file; nothing of it was run")
        return self._KNOWN[module, name]


def load(file: BinaryIO, origin: str):
    """The unpickled object; fails with one sentence for anything that is not made up of arrays."""
    try:
        return _Unpickler(file, encoding="latin1").load()
    except Exception as error:  # pylint: disable=broad-exception-caught  # a damaged pickle can raise anything
        raise Failure(f"{origin} cannot be read as a pickle of arrays: {error or type(error).__name__}") from error


def dense(value) -> np.ndarray:
    """Numbers of an array, a chumpy array or a sparse matrix."""
    if isinstance(value, (_Chumpy, _Sparse)):
        return value.array()
    array = np.asarray(value)
    if array.dtype == object and array.ndim == 0:
        return dense(array.item())
    if array.dtype.kind not in "fiub":
        raise Failure(f"an entry of the file holds {array.dtype} instead of numbers")
    return array
