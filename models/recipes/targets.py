"""What can be made: the catalog's models and bodies, the runtime library and the clips; where each goes, how to check it.

Standard library only: make.py decides with this whether there is anything to do before it sets up a Python environment.
"""

import os
import platform
import re
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from recipes import clip, runtime
from recipes.errors import Failure
from recipes.packages import sha256_of

MODELS = Path(__file__).resolve().parent.parent
CATALOG = MODELS / "catalog.toml"


@dataclass(frozen=True)
class Folders:
    """Where things go: `models`, `lib`, `clips`; `downloads` keeps fetched packages, `state` the environment and lock."""

    models: Path
    lib: Path
    clips: Path
    downloads: Path
    state: Path

    @classmethod
    def from_environment(cls, models: str | None) -> "Folders":
        """`models` is the --dir option; the rest follows the XDG base directory specification."""
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        cache = (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "halfpipe"

        def folder(given, default):
            return Path(given).absolute() if given else default

        return cls(
            models=folder(models or os.environ.get("HALFPIPE_MODELS"), cache / "models"),
            lib=folder(os.environ.get("HALFPIPE_LIB"), cache / "lib"),
            clips=cache / "clips",
            downloads=cache / "downloads",
            state=cache / "recipes",
        )


@dataclass(frozen=True)
class Target:
    """One thing to make: files by name with their sha256, all in one folder, by one recipe module from one package."""

    name: str
    kind: str  # "model", "body", "runtime" or "clips"
    recipe: str
    folder: Path
    files: dict

    def problems(self) -> list:
        """One sentence for every file that is missing or not the pinned one; empty when all is well."""
        found = []
        for file, sha256 in self.files.items():
            path = self.folder / file
            if not path.is_file():
                found.append(f"{path} is missing")
            elif sha256_of(path) != sha256:
                found.append(f"{path} is not the pinned file")
        return found


def machine() -> str:
    """The processor family as PyPI's tags name it."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def all_targets(folders: Folders) -> dict:
    """Every target by name, in the order in which they are made."""
    document = tomllib.loads(CATALOG.read_text(encoding="utf-8"))
    targets = []
    for entry in document["model"]:
        targets.append(Target(entry["name"], "model", "pose", folders.models, {entry["file"]: entry["sha256"]}))
    for entry in document["body"]:
        files = {entry["file"]: entry["sha256"], entry["rig"]: entry["rig_sha256"]}
        targets.append(Target(entry["name"], "body", "body", folders.models, files))
    targets.append(Target("runtime", "runtime", "runtime", folders.lib, runtime.digests(machine())))
    targets.append(Target("clips", "clips", "clip", folders.clips, clip.digests(machine())))
    return {target.name: target for target in targets}


def choose(targets: dict, names: list | None) -> list:
    """The targets called `names`; without names, everything but the clips, which only tests and the demo need."""
    if not names:
        return [target for target in targets.values() if target.kind != "clips"]
    unknown = [name for name in names if name not in targets]
    if unknown:
        raise Failure(f"nothing is called {', '.join(unknown)}; there are {', '.join(targets)}")
    return [targets[name] for name in dict.fromkeys(names)]


def write_whole(path: Path, contents: bytes):
    """Writes a file so that it appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def record(target: Target, digests: dict, sizes: dict):
    """Writes the sha256 and size of a model's or body's files into its catalog entry, leaving all else as it is."""
    text = CATALOG.read_text(encoding="utf-8")
    entry = re.search(rf'\[\[{target.kind}\]\]\nname = "{re.escape(target.name)}"\n.*?(?=\n\[\[|\Z)', text, re.DOTALL)
    changed = entry.group()
    for file in target.files:
        prefix = "rig_" if file.endswith(".rig.safetensors") else ""
        changed = re.sub(rf'(?m)^{prefix}sha256 = ".*"$', f'{prefix}sha256 = "{digests[file]}"', changed)
        changed = re.sub(rf"(?m)^{prefix}bytes = \d+$", f"{prefix}bytes = {sizes[file]}", changed)
    write_whole(CATALOG, (text[: entry.start()] + changed + text[entry.end() :]).encode())
