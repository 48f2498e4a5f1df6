"""The recipes and the tools around them: same bytes on every processor, whole files, clear failures."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from recipes import packages, targets
from recipes.decimate import decimate
from recipes.errors import Failure
from recipes.packages import Package
from recipes.targets import MODELS, Target, all_targets, sha256_of, write_whole
from tests import support


class TemporaryFolderCase(unittest.TestCase):
    """Gives each test a folder of its own."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def install(self, name: str, script: str):
        """Puts an executable shell script where only it is found on PATH."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


class ReproducibilityTest(TemporaryFolderCase):
    """The same bytes, whatever the processor."""

    def test_made_without_vector_units(self):
        slow = support.environment(NPY_DISABLE_CPU_FEATURES=_dispatched_features(), OPENBLAS_CORETYPE="Prescott", PYTHONHASHSEED="7")
        names = ["pose_landmark_lite", "halfpipe_body_small"]
        command = [sys.executable, "-m", "recipes", "--dir", self.folder, *names]
        result = subprocess.run(command, cwd=MODELS, env=slow, capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        made = all_targets(support.Folders.from_environment(str(self.folder)))
        for name in names:
            self.assertEqual(made[name].problems(), [])


class FetchTest(TemporaryFolderCase):
    """Fetching with a stand-in for npm."""

    package = Package("@somebody/something", "npm", "1.2.3", ("0" * 64,))

    def fetch(self, tools="bin:/usr/bin:/bin") -> Path:
        """Fetches with the programs in `tools`, folders of which the first is the test's own."""
        with mock.patch.dict(os.environ, PATH=f"{self.folder}/{tools}"):
            return packages.fetch(self.package, self.folder / "downloads", "x86_64")

    def test_wrong_contents_are_refused_and_removed(self):
        self.install("npm", 'test "$2" = "@somebody/something@1.2.3" && echo changed > something-1.2.3.tgz')
        with self.assertRaisesRegex(Failure, "which models/catalog.toml does not list"):
            self.fetch()
        self.assertEqual(list((self.folder / "downloads").iterdir()), [])

    def test_the_registry_clients_own_words_are_passed_on(self):
        self.install("npm", "echo 'npm error 404 not in this registry' >&2; exit 1")
        with self.assertRaisesRegex(Failure, "404 not in this registry; check the network"):
            self.fetch()

    def test_missing_npm_names_the_remedy(self):
        with self.assertRaisesRegex(Failure, "apt-get install npm"):
            self.fetch(tools="bin")

    def test_fetched_once(self):
        self.install("npm", "echo right > something-1.2.3.tgz; echo run >> ../../runs")
        right = self.folder / "right"
        right.write_text("right\n")
        self.package = Package("@somebody/something", "npm", "1.2.3", (sha256_of(right),))
        self.assertEqual(self.fetch(), self.fetch())
        self.assertEqual((self.folder / "runs").read_text(), "run\n")


class FilesTest(TemporaryFolderCase):
    """Writing and checking files."""

    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self):
        path = self.folder / "model.onnx"
        write_whole(path, b"old")
        with mock.patch("os.replace", side_effect=OSError("disk full")), self.assertRaises(OSError):
            write_whole(path, b"new")
        self.assertEqual(path.read_bytes(), b"old")
        self.assertEqual(list(self.folder.iterdir()), [path])

    def test_problems_are_named(self):
        target = Target("one", "model", "pose", self.folder, {"a": "0" * 64, "b": "0" * 64})
        (self.folder / "a").write_bytes(b"something else")
        self.assertEqual(target.problems(), [f"{self.folder / 'a'} is not the pinned file", f"{self.folder / 'b'} is missing"])

    def test_unknown_names_are_refused_with_the_known_ones(self):
        with self.assertRaisesRegex(Failure, "nothing is called nonsense; there are movenet_multipose"):
            targets.choose(all_targets(support.FOLDERS), ["nonsense"])

    def test_recording_changes_one_entry_only(self):
        copy = self.folder / "catalog.toml"
        before = targets.CATALOG.read_text()
        copy.write_text(before)
        target = all_targets(support.FOLDERS)["halfpipe_body"]
        digests = {"halfpipe_body.onnx": "a" * 64, "halfpipe_body.rig.safetensors": "b" * 64}
        with mock.patch.object(targets, "CATALOG", copy):
            targets.record(target, digests, {"halfpipe_body.onnx": 1, "halfpipe_body.rig.safetensors": 2})
        after = copy.read_text().splitlines()
        changed = [new for old, new in zip(before.splitlines(), after) if old != new]
        self.assertEqual(changed, [f'sha256 = "{"a" * 64}"', "bytes = 1", f'rig_sha256 = "{"b" * 64}"', "rig_bytes = 2"])
        self.assertEqual(len(after), len(before.splitlines()))


class DecimateTest(unittest.TestCase):
    """Edge collapse on a finely divided cube, whose shape is known."""

    SIDE = 6

    def cube(self) -> tuple:
        """Vertices and outward faces of the unit cube, each side a grid of SIDE x SIDE squares."""
        vertices, faces, index_of = [], [], {}

        def corner(*place):
            if place not in index_of:
                index_of[place] = len(vertices)
                vertices.append(tuple(extent / self.SIDE for extent in place))
            return index_of[place]

        for axis in range(3):
            for level in (0, self.SIDE):
                for i in range(self.SIDE):
                    for j in range(self.SIDE):
                        square = []
                        for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1)):
                            place = [0, 0, 0]
                            place[axis], place[(axis + 1) % 3], place[(axis + 2) % 3] = level, i + di, j + dj
                            square.append(corner(*place))
                        a, b, c, d = square if level else reversed(square)
                        faces += [[a, b, c], [a, c, d]]
        return vertices, faces

    def test_flat_sides_go_and_corners_and_protected_vertices_stay(self):
        vertices, faces = self.cube()
        inside_a_side = vertices.index((0.5, 0.5, 1.0))
        left = decimate(vertices, faces, 9, {inside_a_side})
        kept = {vertex for face in left for vertex in face}
        corners = {index for index, place in enumerate(vertices) if set(place) <= {0.0, 1.0}}
        self.assertEqual(kept, corners | {inside_a_side})
        self.assertAlmostEqual(self._volume(vertices, left), 1)

    def test_a_goal_out_of_reach_is_an_error(self):
        vertices, faces = self.cube()
        with self.assertRaisesRegex(ValueError, f"cannot be reduced to 8 vertices, {len(vertices)} remain"):
            decimate(vertices, faces, 8, set(range(len(vertices))))

    @staticmethod
    def _volume(vertices, faces) -> float:
        total = 0.0
        for face in faces:
            (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (vertices[vertex] for vertex in face)
            total += ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
        return total / 6


def _dispatched_features() -> str:
    """Names of the vector extensions that numpy would use beyond its baseline on this processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return ",".join(feature for feature in __cpu_dispatch__ if __cpu_features__.get(feature))
