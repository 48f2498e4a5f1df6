"""Writes a body's rig as a safetensors file: an 8-byte little-endian header length, a JSON header, then the tensors.

The format is a page long and its byte order must not change from release to release of a library, hence this writer.
"""

import json
import struct

import numpy as np

TENSORS = {
    "v_template": "F32",
    "shapedirs": "F32",
    "faces": "U32",
    "skin_index": "U16",
    "skin_weight": "F32",
    "parents": "I32",
    "j_template": "F32",
    "j_shapedirs": "F32",
    "bind_rotation": "F32",
    "landmark_vertex": "U32",
}
DTYPES = {"F32": "<f4", "U32": "<u4", "I32": "<i4", "U16": "<u2"}
METADATA = ("joint_names", "shape_names", "landmark_names")
ALIGNMENT = 8


def encode(body) -> bytes:
    """The rig of a `recipes.body.Body`; the name lists stand in the metadata as JSON arrays."""
    header = {"__metadata__": {name: json.dumps(getattr(body, name)) for name in METADATA}}
    chunks, offset = [], 0
    for name, kind in TENSORS.items():
        array = np.ascontiguousarray(getattr(body, name), dtype=DTYPES[kind])
        data = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)
