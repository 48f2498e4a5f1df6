"""Recipe of the demo clip: a man jumps off a block, 1768x994, 30 frames/s, 230 frames, from Sports2D (BSD-3-Clause)."""

from recipes.packages import Artefact

PACKAGE = "sports2d"
CLIP = "sports2d_demo.mp4"
MEMBER = "Sports2D/Demo/demo.mp4"
SHA256 = "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039"


def digests(_machine: str) -> dict:
    """The sha256 of every file of this recipe, by file name."""
    return {CLIP: SHA256}


def make(_name: str, package: Artefact) -> dict:
    """The clip, by file name."""
    return {CLIP: package.read(MEMBER)}
