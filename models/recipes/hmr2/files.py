"""The files that are wanted, and what a file is that is not one of them. Standard library only."""

import zipfile
from pathlib import Path

from recipes.errors import Failure

# What is wanted, and where one comes by it.
CHECKPOINT = "4D-Humans' HMR2 checkpoint (epoch=35-step=1000000.ckpt)"
CHECKPOINT_FROM = (
    "It is in hmr2_data.tar.gz, under logs/train/multiruns/hmr2/0/checkpoints/; 4D-Humans (github.com/shubham-goel/4D-Humans) says "
    "where to get that"
)
SMPL = "SMPL's neutral model (basicModel_neutral_lbs_10_207_0_v1.0.0.pkl, SMPL_NEUTRAL.pkl or .npz)"
SMPL_FROM = "Register at smplify.is.tue.mpg.de or smpl.is.tue.mpg.de, accept SMPL's licence there, and download it"

_MAGICS = (
    (b"\x1f\x8b", "a gzip archive; unpack it first and give the file inside"),
    (b"BZh", "a bzip2 archive; unpack it first and give the file inside"),
    (b"\xfd7zXZ", "an xz archive; unpack it first and give the file inside"),
    (b"Rar!", "a RAR archive; unpack it first and give the file inside"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first and give the file inside"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"%PDF", "a PDF document"),
)
_HEAD = 4096


def require(path: Path, what: str, where: str):
    """Fails unless `path` is a readable, non-empty file; `what` names it and `where` says how one comes by it."""
    if not path.exists():
        raise Failure(f"{path} does not exist; it should be {what}. {where}")
    if path.is_dir():
        raise Failure(f"{path} is a folder; it should be {what}. {where}")
    if path.stat().st_size == 0:
        raise Failure(f"{path} is empty; it should be {what}. {where}")


def describe(path: Path) -> str:
    """What the file seems to be, e.g. "a web page, perhaps that of a login"; never raises for odd contents."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    for magic, text in _MAGICS:
        if head.startswith(magic):
            return text
    if zipfile.is_zipfile(path):
        return _describe_zip(path)
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first and give the file inside"
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return "a Python pickle"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps that of a login"
    if b"\0" not in head and _is_text(head):
        return f"a text file that begins with {head[:40].decode('utf-8', 'replace').strip()!r}"
    return f"a binary file of {path.stat().st_size} bytes in a form this program does not know"


def _describe_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") for name in names):
        return "a PyTorch checkpoint"
    if names and all(name.endswith(".npy") for name in names):
        return f"a NumPy archive (.npz) with {_some(names)}"
    return f"a zip archive with {_some(names)}"


def _some(names: list) -> str:
    shown = ", ".join(sorted(names)[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing in it"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # the last character may be cut
        return error.start > len(head) - 4 and len(head) == _HEAD
    return True
