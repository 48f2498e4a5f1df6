"""Writes a software bill of materials, CycloneDX 1.6 as JSON: the Rust packages that `halfpipe` and the Lambda function are linked from, with
licence and the checksum in Cargo.lock; the model files with licence and sha256; and ONNX Runtime. What an image has besides, Debian's
packages above all, is listed by `docker buildx build --sbom=true`.

    make sbom            target/sbom.cdx.json
"""

import json
import os
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("halfpipe-cli", "halfpipe-lambda")


def linked(metadata: dict, programs: tuple[str, ...]) -> set[str]:
    """Ids of the packages that end up in these programs: over ordinary dependencies, not those of builds and tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    open_, found = [id_ for id_, name in names.items() if name in programs], set()
    while open_:
        id_ = open_.pop()
        if id_ not in found:
            found.add(id_)
            open_ += [d["pkg"] for d in nodes[id_]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
    return found


def crates(metadata: dict, lock: dict, programs: tuple[str, ...]) -> list[dict]:
    """Components for the packages that are linked, sorted by name and version."""
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    wanted, components = linked(metadata, programs), []
    for package in metadata["packages"]:
        if package["id"] not in wanted:
            continue
        name, version = package["name"], package["version"]
        component = {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
        if package["license"]:
            # Cargo once allowed a slash for OR
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ").replace("  ", " ")}]
        if checksum := checksums.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        components.append(component)
    return sorted(components, key=lambda c: (c["name"], c["version"]))


def models(catalog: dict) -> list[dict]:
    """Components for model files, and for ONNX Runtime, which the models' recipe fetches."""
    components = []
    for entry in catalog["model"] + catalog["body"]:
        components.append({
            "type": "machine-learning-model", "bom-ref": f"model:{entry['name']}", "name": entry["name"],
            "licenses": [{"license": {"id": entry["licence"]}}], "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        })
    for package in catalog["package"]:
        if package["name"] == "onnxruntime":
            version = package["version"]
            components.append({"type": "library", "bom-ref": f"onnxruntime@{version}", "name": "onnxruntime", "version": version,
                               "licenses": [{"license": {"id": "MIT"}}], "purl": f"pkg:pypi/onnxruntime@{version}"})
    return components


def bill(metadata: dict, lock: dict, catalog: dict) -> dict:
    """The whole document. It holds no time and no serial number, so that equal sources give equal bytes."""
    version = next(p["version"] for p in metadata["packages"] if p["name"] == PROGRAMS[0])
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "halfpipe", "name": "halfpipe", "version": version}},
        "components": crates(metadata, lock, PROGRAMS) + models(catalog),
    }


def main(target: str) -> None:
    """Writes the document to `target`."""
    cargo = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.run(cargo, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    document = bill(metadata, tomllib.loads((ROOT / "Cargo.lock").read_text()), tomllib.loads((ROOT / "models/catalog.toml").read_text()))
    path = pathlib.Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{target}: {len(document['components'])} components")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    main(sys.argv[1])
