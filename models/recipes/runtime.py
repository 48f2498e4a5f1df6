"""Recipe of the ONNX Runtime library: the CPU build that Microsoft ships in its PyPI wheel, with its licences.

The Rust side loads it at run time. For NVIDIA cards, set HALFPIPE_ORT_LIB to a library from `onnxruntime-gpu` instead.
"""

from recipes.errors import Failure
from recipes.packages import Artefact

PACKAGE = "onnxruntime"
LIBRARY = "libonnxruntime.so"
MEMBER = "onnxruntime/capi/libonnxruntime.so.1.32.0"
SHA256 = {
    "x86_64": "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
    "aarch64": "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
}
# Both wheels carry the same texts.
NOTICES = {
    "onnxruntime-LICENSE.txt": ("onnxruntime/LICENSE", "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c"),
    "onnxruntime-ThirdPartyNotices.txt": (
        "onnxruntime/ThirdPartyNotices.txt",
        "d8696258afcf9df7827a5e01d6b6d55ee9b461b4e82020f5f48242deb9cc2270",
    ),
}


def digests(machine: str) -> dict:
    """The sha256 of every file of this recipe, by file name."""
    if machine not in SHA256:
        raise Failure(f"no ONNX Runtime library is pinned for Linux on {machine}; set HALFPIPE_ORT_LIB to one of your own")
    return {LIBRARY: SHA256[machine], **{file: sha256 for file, (_, sha256) in NOTICES.items()}}


def make(_name: str, package: Artefact) -> dict:
    """The library and its licence texts, by file name."""
    return {LIBRARY: package.read(MEMBER), **{file: package.read(member) for file, (member, _) in NOTICES.items()}}
