"""Tests of the bill of materials. `make test-infra` runs them."""

import tomllib
import unittest

import sbom


def package(name: str, licence: str = "MIT") -> dict:
    return {"id": name, "name": name, "version": "1.0.0", "license": licence}


def node(name: str, *deps: tuple[str, str | None]) -> dict:
    return {"id": name, "deps": [{"pkg": other, "dep_kinds": [{"kind": kind}]} for other, kind in deps]}


METADATA = {
    "packages": [package("program"), package("used", "MIT/Apache-2.0"), package("deeper"), package("for-tests"), package("for-builds")],
    "resolve": {"nodes": [node("program", ("used", None), ("for-tests", "dev"), ("for-builds", "build")), node("used", ("deeper", None)),
                          node("deeper"), node("for-tests", ("deeper", None)), node("for-builds")]},
}


class Bill(unittest.TestCase):
    def test_only_what_is_linked_is_listed(self):
        self.assertEqual(sbom.linked(METADATA, ("program",)), {"program", "used", "deeper"})

    def test_licences_and_checksums_are_told(self):
        lock = {"package": [{"name": "used", "version": "1.0.0", "checksum": "ab" * 32}]}
        used = next(c for c in sbom.crates(METADATA, lock, ("program",)) if c["name"] == "used")
        self.assertEqual(used["licenses"], [{"expression": "MIT OR Apache-2.0"}])
        self.assertEqual(used["hashes"], [{"alg": "SHA-256", "content": "ab" * 32}])

    def test_every_model_of_the_catalog_is_listed_with_its_digest(self):
        catalog = tomllib.loads((sbom.ROOT / "models/catalog.toml").read_text())
        listed = {c["name"]: c["hashes"][0]["content"] for c in sbom.models(catalog) if c["type"] == "machine-learning-model"}
        self.assertEqual(listed, {e["name"]: e["sha256"] for e in catalog["model"] + catalog["body"]})
        self.assertIn("onnxruntime", [c["name"] for c in sbom.models(catalog)])


if __name__ == "__main__":
    unittest.main()
