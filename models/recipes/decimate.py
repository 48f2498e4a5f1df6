"""Quadric edge collapse (Garland and Heckbert, SIGGRAPH 1997) that keeps vertices where they are.

An edge collapses onto one of its ends, so the vertices that remain keep their exact position, shape displacements and
skinning weights. Plain Python floats and integers: the result is the same on every machine, ties are broken by index.
"""

import heapq
import math

# A quadric is the upper triangle of a symmetric 4x4 matrix, row by row.
_ZERO = (0.0,) * 10
# Of two collapses that cost about the same (in flat regions), the shorter edge goes first. In square metres, for
# meshes in metres: a quadric's cost is a squared distance times an area.
_LENGTH_PENALTY = 1e-9
# A collapse may not turn a face by more than about 72 degrees (cosine), or it would fold the surface.
_MIN_FACE_COSINE = 0.3


def decimate(vertices: list, faces: list, keep: int, protected: set) -> list:
    """Faces of a mesh with `keep` vertices, in terms of the old vertex indices.

    `vertices` are (x, y, z) tuples, `faces` triples of indices. Vertices in `protected` and on open boundaries stay.
    Raises ValueError if the mesh cannot be brought down to `keep` vertices.
    """
    return _Decimation(vertices, faces, protected).run(keep)


class _Decimation:
    def __init__(self, vertices: list, faces: list, protected: set):
        self.vertices = vertices
        self.faces = [list(face) for face in faces]
        self.quadrics = {}
        self.faces_of = {}
        edge_uses = {}
        for index, face in enumerate(self.faces):
            quadric = self._face_quadric(face)
            for corner, vertex in enumerate(face):
                self.quadrics[vertex] = _add(self.quadrics.get(vertex, _ZERO), quadric)
                self.faces_of.setdefault(vertex, set()).add(index)
                after = face[(corner + 1) % 3]
                edge = (min(vertex, after), max(vertex, after))
                edge_uses[edge] = edge_uses.get(edge, 0) + 1
        self.fixed = protected | {vertex for edge, uses in edge_uses.items() if uses == 1 for vertex in edge}
        self.version = dict.fromkeys(self.faces_of, 0)
        self.heap = []
        for a, b in sorted(edge_uses):
            self._offer(a, b)
            self._offer(b, a)

    def run(self, keep: int) -> list:
        while len(self.faces_of) > keep:
            if not self.heap:
                raise ValueError(f"the mesh cannot be reduced to {keep} vertices, {len(self.faces_of)} remain")
            _, gone, onto, gone_version, onto_version = heapq.heappop(self.heap)
            stale = self.version.get(gone) != gone_version or self.version.get(onto) != onto_version
            if not stale and self._may_collapse(gone, onto):
                self._collapse(gone, onto)
        alive = sorted({face for faces in self.faces_of.values() for face in faces})
        return [self.faces[face] for face in alive]

    def _offer(self, gone: int, onto: int):
        """Puts the collapse of `gone` onto `onto` into the queue; its versions tell later whether it is still valid."""
        if gone not in self.fixed:
            entry = (self._cost(gone, onto), gone, onto, self.version[gone], self.version[onto])
            heapq.heappush(self.heap, entry)

    def _cost(self, gone: int, onto: int) -> float:
        """Area-weighted squared distance of `onto` from the planes of the faces around both ends."""
        q = _add(self.quadrics[gone], self.quadrics[onto])
        x, y, z = self.vertices[onto]
        plane_x = q[0] * x + q[1] * y + q[2] * z + q[3]
        plane_y = q[1] * x + q[4] * y + q[5] * z + q[6]
        plane_z = q[2] * x + q[5] * y + q[7] * z + q[8]
        plane_w = q[3] * x + q[6] * y + q[8] * z + q[9]
        edge = _difference(self.vertices[gone], self.vertices[onto])
        return (x * plane_x + y * plane_y + z * plane_z + plane_w) + _LENGTH_PENALTY * _dot(edge, edge)

    def _may_collapse(self, gone: int, onto: int) -> bool:
        around_gone, around_onto = self._neighbours(gone), self._neighbours(onto)
        # More or fewer than two shared neighbours would pinch the surface or close a hole.
        if onto not in around_gone or len(around_gone & around_onto) != 2:
            return False
        for index in self.faces_of[gone]:
            face = self.faces[index]
            if onto in face:
                continue
            before = self._normal(face)
            after = self._normal([onto if vertex == gone else vertex for vertex in face])
            if _dot(before, after) < _MIN_FACE_COSINE * math.sqrt(_dot(before, before)) * math.sqrt(_dot(after, after)):
                return False
        return True

    def _collapse(self, gone: int, onto: int):
        for index in self.faces_of.pop(gone):
            face = self.faces[index]
            if onto in face:
                for vertex in face:
                    if vertex != gone:
                        self.faces_of[vertex].discard(index)
            else:
                self.faces[index] = [onto if vertex == gone else vertex for vertex in face]
                self.faces_of[onto].add(index)
        del self.version[gone]
        self.quadrics[onto] = _add(self.quadrics[onto], self.quadrics.pop(gone))
        self.version[onto] += 1
        for neighbour in sorted(self._neighbours(onto)):
            self._offer(neighbour, onto)
            self._offer(onto, neighbour)

    def _neighbours(self, vertex: int) -> set:
        return {other for face in self.faces_of[vertex] for other in self.faces[face]} - {vertex}

    def _normal(self, face) -> tuple:
        """Normal of a face, as long as twice its area."""
        a, b, c = (self.vertices[vertex] for vertex in face)
        return _cross(_difference(b, a), _difference(c, a))

    def _face_quadric(self, face) -> tuple:
        """Squared distance from the face's plane, weighted by twice its area."""
        normal = self._normal(face)
        area = math.sqrt(_dot(normal, normal))
        if area < 1e-12:
            return _ZERO
        x, y, z = (extent / area for extent in normal)
        w = -_dot((x, y, z), self.vertices[face[0]])
        products = (x * x, x * y, x * z, x * w, y * y, y * z, y * w, z * z, z * w, w * w)
        return tuple(product * area for product in products)


def _add(a: tuple, b: tuple) -> tuple:
    return tuple(x + y for x, y in zip(a, b))


def _difference(a: tuple, b: tuple) -> tuple:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _dot(a: tuple, b: tuple) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: tuple, b: tuple) -> tuple:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
