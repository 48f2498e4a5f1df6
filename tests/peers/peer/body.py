"""The body that Halfpipe draws, out of the same rig file, posed and skinned by NumPy.

Axes of the body: x to its left, y up, z to its front, metres. What the tensors mean is told in models/recipes/body_graph.py.
"""

import json
import struct
from pathlib import Path

import numpy as np

from peer.rotations import apply

FLIP = np.array([1.0, -1.0, -1.0])  # body axes <-> the camera's (x right, y down, z forward); OpenGL's are the body's
_TYPES = {"F32": "<f4", "U32": "<u4", "I32": "<i4", "U16": "<u2"}


def read_rig(path):
    """Tensors and name lists of a .rig.safetensors file, by name."""
    contents = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", contents)
    header, data = json.loads(contents[8 : 8 + length]), contents[8 + length :]
    rig = {name: json.loads(text) for name, text in header.pop("__metadata__").items()}
    for name, about in header.items():
        start, end = about["data_offsets"]
        rig[name] = np.frombuffer(data[start:end], _TYPES[about["dtype"]]).reshape(about["shape"])
    return rig


class Body:
    """24 joints, a linear shape space, four bones a vertex."""

    def __init__(self, path):
        rig = read_rig(path)
        self.joint_names, self.shape_names = rig["joint_names"], rig["shape_names"]
        self.faces, self.parents = rig["faces"].astype(np.int32), rig["parents"].astype(int)
        self.template, self.directions = rig["v_template"], rig["shapedirs"]
        self.joint_template, self.joint_directions = (rig[name].astype(np.float64) for name in ("j_template", "j_shapedirs"))
        self.unbind = rig["bind_rotation"].astype(np.float64).transpose(0, 2, 1)
        self.bones, self.weights = rig["skin_index"].astype(int), rig["skin_weight"].astype(np.float64)
        self.vertex = dict(zip(rig["landmark_names"], rig["landmark_vertex"].astype(int), strict=True))
        vertices, joints = len(self.template), len(self.parents)
        self.dense = np.zeros((vertices, joints), np.float32)
        np.add.at(self.dense, (np.arange(vertices)[:, None], self.bones), rig["skin_weight"])
        self.flat_directions = np.ascontiguousarray(self.directions.reshape(3 * vertices, -1))
        depth = np.zeros(joints, int)
        self.above = np.eye(joints)  # [j, k] is 1 where j is k or an ancestor of k
        for k in range(1, joints):
            depth[k] = depth[self.parents[k]] + 1
            self.above[:, k] = np.maximum(self.above[:, k], self.above[:, self.parents[k]])
        self.levels = [np.nonzero(depth == d)[0] for d in range(1, depth.max() + 1)]

    def joint(self, name):
        return self.joint_names.index(name)

    def rest(self, betas):
        """Rest joints [N, 24, 3] and each joint's place in its parent's frame [N, 24, 3]."""
        joints = self.joint_template + np.einsum("jck,nk->njc", self.joint_directions, betas)
        parents = np.maximum(self.parents, 0)
        return joints, apply(self.unbind[parents], joints - joints[:, parents])

    def pose(self, local, rest):
        """Global rotations [N, 24, 3, 3] and joints [N, 24, 3] of local rotations."""
        joints, offsets = rest
        turns, places = np.empty_like(local), np.empty_like(joints)
        turns[:, 0], places[:, 0] = local[:, 0], joints[:, 0]
        for level in self.levels:
            parents = self.parents[level]
            turns[:, level] = turns[:, parents] @ local[:, level]
            places[:, level] = places[:, parents] + apply(turns[:, parents], offsets[:, level])
        return turns, places

    def mesh(self, local, betas):
        """Vertices f32[N, V, 3] and joints [N, 24, 3], body axes, the pelvis at its rest position."""
        rest = self.rest(betas)
        turns, places = self.pose(local, rest)
        turns = turns @ self.unbind
        transforms = np.concatenate([turns, (places - apply(turns, rest[0]))[..., None]], -1).astype(np.float32)
        vertices = np.empty((len(local), *self.template.shape), np.float32)
        for i, transform in enumerate(transforms):
            shaped = self.template + (self.flat_directions @ betas[i].astype(np.float32)).reshape(-1, 3)
            blended = (self.dense @ transform.reshape(-1, 12)).reshape(-1, 3, 4)
            vertices[i] = np.einsum("vij,vj->vi", blended[:, :, :3], shaped) + blended[:, :, 3]
        return vertices, places
