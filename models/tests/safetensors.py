"""Reads and writes safetensors files by the letter of the format: a length, a JSON header, the tensors."""

import json
import struct

import numpy as np

from recipes.rig_file import DTYPES

ALIGNMENT = 8


def decode(contents: bytes) -> tuple:
    """Tensors by name, and the metadata with every text parsed as JSON."""
    (length,) = struct.unpack_from("<Q", contents)
    header, data = json.loads(contents[8 : 8 + length]), contents[8 + length :]
    metadata = {name: json.loads(text) for name, text in header.pop("__metadata__", {}).items()}
    tensors = {}
    for name, about in header.items():
        start, end = about["data_offsets"]
        tensors[name] = np.frombuffer(data[start:end], DTYPES[about["dtype"]]).reshape(about["shape"])
    return tensors, metadata


def encode(tensors: dict, metadata: dict) -> bytes:
    """A file of these f32 tensors; what is in `metadata` becomes JSON."""
    header = {"__metadata__": {name: json.dumps(value) for name, value in metadata.items()}}
    chunks, offset = [], 0
    for name, array in tensors.items():
        chunks.append(np.ascontiguousarray(array, "<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + len(chunks[-1])]}
        offset += len(chunks[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)
