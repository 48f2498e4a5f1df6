"""The tensors of HMR2: which there must be, by 4D-Humans' names, and of what extents.

From 4D-Humans: hmr2/models/backbones/vit.py, hmr2/models/components/pose_transformer.py, hmr2/models/heads/smpl_head.py.
"""

import re
from dataclasses import dataclass

from recipes.errors import Failure
from recipes.hmr2.files import CHECKPOINT_FROM

TOKENS = 192  # 16 rows of 12 patches
VIT_HEAD = 80  # numbers a head of the backbone's attention
DECODER_HEAD = 64  # and of the decoder's
SHOWN = 6  # names in a message


@dataclass(frozen=True)
class Sizes:
    """What a network may differ in without being another one."""

    width: int  # of the backbone's tokens
    blocks: int  # of the backbone
    token: int  # width of the decoder's token
    layers: int  # of the decoder
    inner: int  # width of all heads of the decoder's attention together
    hidden: int  # of the decoder's feed-forward layers

    def __str__(self) -> str:
        return f"{self.blocks} blocks of width {self.width}, {self.layers} decoder layers of width {self.token}"


RELEASED = Sizes(width=1280, blocks=32, token=1024, layers=6, inner=512, hidden=1024)


def expected(sizes: Sizes) -> dict:
    """Extents by name of every tensor of a network of these sizes."""
    width, token, inner, hidden = sizes.width, sizes.token, sizes.inner, sizes.hidden
    shapes = {
        "backbone.pos_embed": (1, TOKENS + 1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
    }

    def linear(name, outputs, inputs, bias=True):
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name, extent):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (extent,)

    for index in range(sizes.blocks):
        block = f"backbone.blocks.{index}"
        norm(f"{block}.norm1", width)
        linear(f"{block}.attn.qkv", 3 * width, width)
        linear(f"{block}.attn.proj", width, width)
        norm(f"{block}.norm2", width)
        linear(f"{block}.mlp.fc1", 4 * width, width)
        linear(f"{block}.mlp.fc2", width, 4 * width)
    norm("backbone.last_norm", width)
    head = "smpl_head"
    shapes |= {f"{head}.init_body_pose": (1, 144), f"{head}.init_betas": (1, 10), f"{head}.init_cam": (1, 3)}
    shapes[f"{head}.transformer.pos_embedding"] = (1, 1, token)
    linear(f"{head}.transformer.to_token_embedding", token, 1)
    for index in range(sizes.layers):
        layer = f"{head}.transformer.transformer.layers.{index}"
        for part in range(3):
            norm(f"{layer}.{part}.norm", token)
        linear(f"{layer}.0.fn.to_qkv", 3 * inner, token, bias=False)
        linear(f"{layer}.0.fn.to_out.0", token, inner)
        linear(f"{layer}.1.fn.to_kv", 2 * inner, width, bias=False)
        linear(f"{layer}.1.fn.to_q", inner, token, bias=False)
        linear(f"{layer}.1.fn.to_out.0", token, inner)
        linear(f"{layer}.2.fn.net.0", hidden, token)
        linear(f"{layer}.2.fn.net.3", token, hidden)
    for name, outputs in (("decpose", 144), ("decshape", 10), ("deccam", 3)):
        linear(f"{head}.{name}", outputs, token)
    return shapes


def sizes_of(shapes: dict, path, any_size: bool) -> Sizes:
    """Sizes of the network whose tensors have these extents by name. Unless `any_size`, only those of the released one will do.

    Fails with the names of what is missing or has other extents.
    """
    if not any(name.startswith(("backbone.", "smpl_head.")) for name in shapes):
        raise Failure(f"{path} is a PyTorch checkpoint of another network: it has {_some(sorted(shapes))}. HMR2 is wanted. {CHECKPOINT_FROM}")
    sizes = _guess(shapes) if any_size else RELEASED
    wanted = expected(sizes)
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise Failure(f"{path} lacks {len(missing)} of HMR2's {len(wanted)} tensors: {_some(missing)}. {CHECKPOINT_FROM}")
    other = [f"{name} is {list(shapes[name])} instead of {list(wanted[name])}" for name in wanted if shapes[name] != wanted[name]]
    more = [name for name in shapes if name.startswith(("backbone.blocks.", "smpl_head.transformer.")) and name not in wanted]
    if other or more:
        raise Failure(f"{path} holds another network than HMR2 ({sizes}): {_some(other + [f'{name} is not part of it' for name in more])}")
    return sizes


def _guess(shapes: dict) -> Sizes:
    """Sizes as the extents suggest; extents that are not there count as the released network's."""

    def extent(name, axis, otherwise):
        shape = shapes.get(name, ())
        return shape[axis] if axis < len(shape) else otherwise

    def count(pattern):
        indices = [int(match.group(1)) for match in map(re.compile(pattern).match, shapes) if match]
        return max(indices, default=-1) + 1

    layer = "smpl_head.transformer.transformer.layers.0"
    sizes = Sizes(
        width=extent("backbone.pos_embed", 2, RELEASED.width),
        blocks=count(r"backbone\.blocks\.(\d+)\."),
        token=extent("smpl_head.decpose.weight", 1, RELEASED.token),
        layers=count(r"smpl_head\.transformer\.transformer\.layers\.(\d+)\."),
        inner=extent(f"{layer}.1.fn.to_q.weight", 0, RELEASED.inner),
        hidden=extent(f"{layer}.2.fn.net.0.weight", 0, RELEASED.hidden),
    )
    if sizes.width % VIT_HEAD or sizes.inner % DECODER_HEAD or 0 in (sizes.width, sizes.inner, sizes.blocks, sizes.layers):
        raise Failure(f"a network of {sizes} has no whole number of heads ({VIT_HEAD} and {DECODER_HEAD} numbers each), blocks and layers")
    return sizes


def _some(names: list) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "") if names else "no tensors"
