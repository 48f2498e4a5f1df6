"""HMR2 in PyTorch, with 4D-Humans' module and tensor names; the reference that the exported network is compared with.

Written after hmr2/models/backbones/vit.py, hmr2/models/components/pose_transformer.py, hmr2/models/heads/smpl_head.py and
hmr2/utils/geometry.py of 4D-Humans (MIT). Needs PyTorch, which only `models/make.py --hmr2-reference` brings.
"""

import torch
from torch import nn
from torch.nn import functional

from recipes.hmr2.weights import DECODER_HEAD, VIT_HEAD, Sizes


class Attention(nn.Module):
    """Self-attention of the backbone."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // VIT_HEAD
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        """[N, T, width] to the same."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * VIT_HEAD**-0.5) @ k.transpose(-2, -1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, -1))


class Mlp(nn.Module):
    """Feed-forward layer of the backbone."""

    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        """[N, T, width] to the same."""
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """A block of the backbone."""

    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x):
        """[N, T, width] to the same."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Patches of 16 pixels, the picture padded by 2."""

    def __init__(self, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=16, stride=16, padding=2)

    def forward(self, x):
        """[N, 3, 256, 192] to [N, 192, width]."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Backbone(nn.Module):
    """ViT."""

    def __init__(self, width, blocks):
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 193, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.last_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        """[N, 3, 256, 192] to [N, 192, width]."""
        x = self.patch_embed(x)
        x = x + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


def split_heads(x):
    """[N, T, heads x 64] to [N, heads, T, 64]."""
    return x.unflatten(-1, (-1, DECODER_HEAD)).transpose(1, 2)


def attend(q, k, v):
    """Softmax attention, heads joined again."""
    scores = (q @ k.transpose(-1, -2)) * DECODER_HEAD**-0.5
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Self-attention of the decoder."""

    def __init__(self, token, inner):
        super().__init__()
        self.to_qkv = nn.Linear(token, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, token), nn.Dropout(0.0))

    def forward(self, x, _context):
        """[N, 1, token] to the same."""
        return self.to_out(attend(*map(split_heads, self.to_qkv(x).chunk(3, dim=-1))))


class CrossAttention(nn.Module):
    """Attention of the decoder to the backbone's tokens."""

    def __init__(self, token, inner, width):
        super().__init__()
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_q = nn.Linear(token, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, token), nn.Dropout(0.0))

    def forward(self, x, context):
        """[N, 1, token] and [N, 192, width] to [N, 1, token]."""
        k, v = map(split_heads, self.to_kv(context).chunk(2, dim=-1))
        return self.to_out(attend(split_heads(self.to_q(x)), k, v))


class FeedForward(nn.Module):
    """Feed-forward layer of the decoder."""

    def __init__(self, token, hidden):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(token, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, token), nn.Dropout(0.0))

    def forward(self, x, _context):
        """[N, 1, token] to the same."""
        return self.net(x)


class PreNorm(nn.Module):
    """Normalisation before a layer."""

    def __init__(self, token, layer):
        super().__init__()
        self.norm = nn.LayerNorm(token)
        self.fn = layer

    def forward(self, x, context):
        """As the layer."""
        return self.fn(self.norm(x), context)


class Layers(nn.Module):
    """The layers of the decoder."""

    def __init__(self, sizes):
        super().__init__()
        token, inner = sizes.token, sizes.inner

        def layer():
            parts = SelfAttention(token, inner), CrossAttention(token, inner, sizes.width), FeedForward(token, sizes.hidden)
            return nn.ModuleList(PreNorm(token, part) for part in parts)

        self.layers = nn.ModuleList(layer() for _ in range(sizes.layers))

    def forward(self, x, context):
        """[N, 1, token] and [N, 192, width] to [N, 1, token]."""
        for layer in self.layers:
            for part in layer:
                x = part(x, context) + x
        return x


class Decoder(nn.Module):
    """The decoder and its one token."""

    def __init__(self, sizes):
        super().__init__()
        self.to_token_embedding = nn.Linear(1, sizes.token)
        self.pos_embedding = nn.Parameter(torch.zeros(1, 1, sizes.token))
        self.transformer = Layers(sizes)

    def forward(self, context):
        """[N, 192, width] to [N, token]."""
        zero = torch.zeros(len(context), 1, 1)
        return self.transformer(self.to_token_embedding(zero) + self.pos_embedding, context).squeeze(1)


class Head(nn.Module):
    """Decoder and read-outs."""

    def __init__(self, sizes):
        super().__init__()
        self.transformer = Decoder(sizes)
        self.decpose = nn.Linear(sizes.token, 144)
        self.decshape = nn.Linear(sizes.token, 10)
        self.deccam = nn.Linear(sizes.token, 3)
        for name, extent in (("body_pose", 144), ("betas", 10), ("cam", 3)):
            self.register_buffer(f"init_{name}", torch.zeros(1, extent))

    def forward(self, context):
        """[N, 192, width] to the four outputs."""
        token = self.transformer(context)
        rotations = rotations_from_6d(self.decpose(token) + self.init_body_pose).view(-1, 24, 3, 3)
        return rotations[:, :1], rotations[:, 1:], self.decshape(token) + self.init_betas, self.deccam(token) + self.init_cam


def rotations_from_6d(x):
    """rot6d_to_rotmat of hmr2/utils/geometry.py."""
    x = x.reshape(-1, 2, 3).permute(0, 2, 1)
    a1, a2 = x[:, :, 0], x[:, :, 1]
    b1 = functional.normalize(a1)
    b2 = functional.normalize(a2 - torch.einsum("bi,bi->b", b1, a2).unsqueeze(-1) * b1)
    return torch.stack((b1, b2, torch.linalg.cross(b1, b2)), dim=-1)


class Hmr2(nn.Module):
    """The whole network: pictures f32[N, 3, 256, 256] to global_orient, body_pose, betas and pred_cam."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.backbone = Backbone(sizes.width, sizes.blocks)
        self.smpl_head = Head(sizes)

    def forward(self, x):
        """The four outputs."""
        return self.smpl_head(self.backbone(x[:, :, :, 32:-32]))
