"""The catalog tells the truth about the files that were made."""

import unittest

from recipes.targets import all_targets
from tests import support
from tests.support import made, session


class CatalogTest(unittest.TestCase):
    """catalog.toml against the files."""

    def test_files_are_the_pinned_ones(self):
        for target in all_targets(support.FOLDERS).values():
            if target.kind != "clips":
                with self.subTest(target.name):
                    self.assertEqual(target.problems(), [], "run python3 models/make.py")

    def test_sizes(self):
        for entry in support.entries("model", "body"):
            with self.subTest(entry["name"]):
                self.assertEqual(made(entry["file"]).stat().st_size, entry["bytes"])
        for entry in support.entries("body"):
            self.assertEqual(made(entry["rig"]).stat().st_size, entry["rig_bytes"])

    def test_ports(self):
        for entry in support.entries("model", "body"):
            network = session(entry["file"])
            for stated, actual in ((entry["inputs"], network.get_inputs()), (entry["outputs"], network.get_outputs())):
                with self.subTest(entry["name"]):
                    self.assertEqual([self._as_stated(port) for port in actual], stated)

    @staticmethod
    def _as_stated(port) -> dict:
        """A session's port in the catalog's words: a symbolic extent is 0."""
        extents = [extent if isinstance(extent, int) else 0 for extent in port.shape]
        return {"name": port.name, "type": {"tensor(float)": "f32"}[port.type], "dims": extents}
