"""Writes HMR2's network as an ONNX graph, straight from a checkpoint's tensors.

    img            f32[N, 3, 256, 256]   RGB, (value / 255 - mean) / std by ImageNet; columns 32 to 224 are looked at
    global_orient  f32[N, 1, 3, 3]       rotation of the pelvis
    body_pose      f32[N, 23, 3, 3]      local rotations of the other joints, in SMPL's order
    betas          f32[N, 10]            SMPL's shape
    pred_cam       f32[N, 3]             scale and shift (s, tx, ty) of a weak-perspective camera on the crop

Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", 2023: a ViT-H backbone (4D-Humans'
hmr2/models/backbones/vit.py), then a transformer decoder with one token (components/pose_transformer.py) that attends to the
backbone's 192 tokens, then three linear read-outs (heads/smpl_head.py) and rotations from six numbers (utils/geometry.py, after
Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", 2019).

What is written differently computes the same: the position embeddings are added up beforehand; the decoder's input token is
zero, so its embedding is a constant; and the attention of a single token to itself is 1, so only its value is computed.

With `half`, every product with weights, attention and GELU are float16, with their weights; what they give is summed up, normalised
and read out in float32, as PyTorch's automatic mixed precision does it. Inputs and outputs stay float32.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto

from recipes.hmr2.checkpoint import Checkpoint
from recipes.hmr2.graph import EXTERNAL_ABOVE, Graph
from recipes.hmr2.weights import DECODER_HEAD, TOKENS, VIT_HEAD, Sizes, expected

INPUTS = [("img", ["N", 3, 256, 256])]
OUTPUTS = [("global_orient", ["N", 1, 3, 3]), ("body_pose", ["N", 23, 3, 3]), ("betas", ["N", 10]), ("pred_cam", ["N", 3])]
BACKBONE_EPSILON = 1e-6
DECODER_EPSILON = 1e-5


def write(checkpoint: Checkpoint, sizes: Sizes, path: Path, half: bool, external: bool | None = None) -> list:
    """Writes the network to `path`; gives the files written, the .onnx first.

    The weights go to `<path>.data` if they are too large for one file, or always or never, as `external` says.
    """
    bytes_of_all = sum(int(np.prod(shape)) for shape in expected(sizes).values()) * (2 if half else 4)
    if external is None:
        external = bytes_of_all > EXTERNAL_ABOVE
    data = path.with_name(path.name + ".data") if external else None
    graph = Graph("hmr2", half, data)
    builder = _Builder(graph, checkpoint, sizes)
    builder.readout(builder.decoder(builder.backbone()))
    graph.write(path, INPUTS, OUTPUTS)
    return [path, data] if data else [path]


class _Builder:
    """The parts of the network; values are named after the tensors that make them."""

    def __init__(self, graph: Graph, checkpoint: Checkpoint, sizes: Sizes):
        self.graph = graph
        self.read = checkpoint.read
        self.sizes = sizes
        self.half = graph.float is np.float16

    def backbone(self) -> str:
        """Tokens [N, 192, width]."""
        graph, width = self.graph, self.sizes.width
        image = graph.add("columns", "Slice", "img", graph.integers(32), graph.integers(224), graph.integers(3))
        image = self._narrow("columns", image)
        kernel, bias = (graph.weights(name, self.read(name)) for name in self._names("backbone.patch_embed.proj"))
        patches = graph.add("patches", "Conv", image, kernel, bias, kernel_shape=[16, 16], strides=[16, 16], pads=[2, 2, 2, 2])
        tokens = graph.add("patches_flat", "Reshape", patches, graph.integers(0, width, TOKENS))
        tokens = self._wide("patch_tokens", graph.add("patch_tokens", "Transpose", tokens, perm=[0, 2, 1]))
        places = self.read("backbone.pos_embed")
        tokens = graph.add("placed_tokens", "Add", tokens, graph.weights("backbone.pos_embed", places[:, 1:] + places[:, :1], np.float32))
        for index in range(self.sizes.blocks):
            tokens = self._block(f"backbone.blocks.{index}", tokens)
        return self._norm("backbone.last_norm", tokens, BACKBONE_EPSILON)

    def _block(self, name: str, tokens: str) -> str:
        graph, width = self.graph, self.sizes.width
        normed = self._norm(f"{name}.norm1", tokens, BACKBONE_EPSILON)
        qkv = self._linear(f"{name}.attn.qkv", normed)
        q, k, v = graph.split([f"{name}.{part}" for part in "qkv"], "Split", qkv, graph.integers(width, width, width), axis=2)
        q = graph.add(f"{name}.q_scaled", "Mul", q, graph.number(VIT_HEAD**-0.5))
        mixed = self._attention(f"{name}.attn", q, k, v, width // VIT_HEAD, VIT_HEAD)
        tokens = graph.add(f"{name}.attended", "Add", tokens, self._wide_linear(f"{name}.attn.proj", mixed))
        normed = self._norm(f"{name}.norm2", tokens, BACKBONE_EPSILON)
        hidden = self._gelu(f"{name}.mlp.gelu", self._linear(f"{name}.mlp.fc1", normed))
        return graph.add(f"{name}.out", "Add", tokens, self._wide_linear(f"{name}.mlp.fc2", hidden))

    def decoder(self, context: str) -> str:
        """The token [N, 1, width of the decoder] that has attended to `context`."""
        graph, inner, head = self.graph, self.sizes.inner, "smpl_head.transformer"
        token = self.read(f"{head}.to_token_embedding.bias") + self.read(f"{head}.pos_embedding")
        token = graph.weights(f"{head}.token", token, np.float32)  # [1, 1, width], grows to N rows at the first sum
        for index in range(self.sizes.layers):
            layer = f"{head}.transformer.layers.{index}"
            normed = self._norm(f"{layer}.0.norm", token, DECODER_EPSILON)
            value = self.read(f"{layer}.0.fn.to_qkv.weight")[2 * inner :]
            value = graph.add(f"{layer}.0.v", "MatMul", normed, graph.weights(f"{layer}.0.fn.to_v.weight", value.T))
            token = graph.add(f"{layer}.0.out", "Add", self._wide_linear(f"{layer}.0.fn.to_out.0", value), token)
            normed = self._norm(f"{layer}.1.norm", token, DECODER_EPSILON)
            kv = self._linear(f"{layer}.1.fn.to_kv", context, bias=False)
            k, v = graph.split([f"{layer}.1.k", f"{layer}.1.v"], "Split", kv, graph.integers(inner, inner), axis=2)
            q = self._linear(f"{layer}.1.fn.to_q", normed, bias=False)
            q = graph.add(f"{layer}.1.q_scaled", "Mul", q, graph.number(DECODER_HEAD**-0.5))
            mixed = self._attention(f"{layer}.1", q, k, v, inner // DECODER_HEAD, DECODER_HEAD)
            token = graph.add(f"{layer}.1.out", "Add", self._wide_linear(f"{layer}.1.fn.to_out.0", mixed), token)
            normed = self._norm(f"{layer}.2.norm", token, DECODER_EPSILON)
            hidden = self._gelu(f"{layer}.2.gelu", self._linear(f"{layer}.2.fn.net.0", normed))
            token = graph.add(f"{layer}.2.out", "Add", self._wide_linear(f"{layer}.2.fn.net.3", hidden), token)
        return token

    def readout(self, token: str):
        """The four outputs, all float32."""
        graph = self.graph
        token = graph.add("token_flat", "Squeeze", token, graph.integers(1))
        pose = self._offset("decpose", "init_body_pose", token, "pose6d")
        self._offset("decshape", "init_betas", token, "betas")
        self._offset("deccam", "init_cam", token, "pred_cam")
        # The first three numbers of a joint are the first column of its rotation, before it is normalised.
        pairs = graph.add("pose6d_pairs", "Reshape", pose, graph.integers(0, 24, 2, 3))
        first, second = graph.split(["pose6d_first", "pose6d_second"], "Split", pairs, graph.integers(1, 1), axis=2)
        x = self._unit("axis_x", graph.add("pose6d_a1", "Squeeze", first, graph.integers(2)))
        second = graph.add("pose6d_a2", "Squeeze", second, graph.integers(2))
        products = graph.add("along_x_products", "Mul", x, second)
        along = graph.add("along_x", "Mul", graph.add("along_x_sum", "ReduceSum", products, graph.integers(-1), keepdims=1), x)
        y = self._unit("axis_y", graph.add("across_x", "Sub", second, along))
        z = self._cross("axis_z", x, y)
        columns = [graph.add(f"{axis}_column", "Unsqueeze", axis, graph.integers(3)) for axis in (x, y, z)]
        rotations = graph.add("rotations", "Concat", *columns, axis=3)
        graph.split(["global_orient", "body_pose"], "Split", rotations, graph.integers(1, 23), axis=1)

    def _offset(self, name: str, start: str, token: str, output: str) -> str:
        """A linear read-out added to the value it starts from, in float32."""
        weight, bias = (self.read(full) for full in self._names(f"smpl_head.{name}"))
        weight = self.graph.weights(f"smpl_head.{name}.weight", weight, np.float32)
        bias = self.graph.weights(f"smpl_head.{name}.bias", bias + self.read(f"smpl_head.{start}")[0], np.float32)
        return self.graph.add(output, "Gemm", token, weight, bias, transB=1)

    def _unit(self, name: str, vectors: str) -> str:
        """Vectors [N, 24, 3] at length 1, as torch.nn.functional.normalize does it."""
        graph = self.graph
        length = graph.add(f"{name}_length", "ReduceL2", vectors, axes=[2], keepdims=1)
        length = graph.add(f"{name}_divisor", "Max", length, graph.number(1e-12, np.float32))
        return graph.add(name, "Div", vectors, length)

    def _cross(self, name: str, a: str, b: str) -> str:
        """Cross products of vectors [N, 24, 3]."""
        graph = self.graph

        def turned(vectors, *order):
            return graph.add(f"{vectors}_{''.join('xyz'[i] for i in order)}", "Gather", vectors, graph.integers(*order), axis=2)

        plus = graph.add(f"{name}_plus", "Mul", turned(a, 1, 2, 0), turned(b, 2, 0, 1))
        minus = graph.add(f"{name}_minus", "Mul", turned(a, 2, 0, 1), turned(b, 1, 2, 0))
        return graph.add(name, "Sub", plus, minus)

    def _attention(self, name: str, q: str, k: str, v: str, heads: int, extent: int) -> str:
        """Softmax attention of heads of `extent` numbers; q is scaled already."""
        graph = self.graph
        parts = []
        for part, value, order in (("q", q, [0, 2, 1, 3]), ("k", k, [0, 2, 3, 1]), ("v", v, [0, 2, 1, 3])):
            value = graph.add(f"{name}.{part}_split", "Reshape", value, graph.integers(0, 0, heads, extent))
            parts.append(graph.add(f"{name}.{part}_heads", "Transpose", value, perm=order))
        scores = graph.add(f"{name}.scores", "MatMul", parts[0], parts[1])
        shares = graph.add(f"{name}.shares", "Softmax", scores, axis=3)
        mixed = graph.add(f"{name}.mixed", "MatMul", shares, parts[2])
        mixed = graph.add(f"{name}.mixed_tokens", "Transpose", mixed, perm=[0, 2, 1, 3])
        return graph.add(f"{name}.mixed_flat", "Reshape", mixed, graph.integers(0, 0, heads * extent))

    def _norm(self, name: str, value: str, epsilon: float) -> str:
        """The normalised value, ready for a product."""
        scale, bias = (self.graph.weights(full, self.read(full), np.float32) for full in self._names(name))
        normed = self.graph.add(f"{name}.normed", "LayerNormalization", value, scale, bias, axis=-1, epsilon=epsilon)
        return self._narrow(f"{name}.normed", normed)

    def _narrow(self, name: str, value: str) -> str:
        """A float32 value in the type of products."""
        return self.graph.add(f"{name}_f16", "Cast", value, to=TensorProto.FLOAT16) if self.half else value

    def _wide(self, name: str, value: str) -> str:
        """The result of products in float32."""
        return self.graph.add(f"{name}_f32", "Cast", value, to=TensorProto.FLOAT) if self.half else value

    def _wide_linear(self, name: str, value: str) -> str:
        """A linear layer whose result is summed up."""
        return self._wide(f"{name}.sum", self._linear(name, value))

    def _linear(self, name: str, value: str, bias: bool = True) -> str:
        weight, bias_name = self._names(name)
        product = self.graph.add(f"{name}.product", "MatMul", value, self.graph.weights(weight, self.read(weight).T))
        if not bias:
            return product
        return self.graph.add(f"{name}.sum", "Add", product, self.graph.weights(bias_name, self.read(bias_name)))

    def _gelu(self, name: str, value: str) -> str:
        """The exact GELU, in the operators that ONNX Runtime recognises and fuses."""
        graph = self.graph
        scaled = graph.add(f"{name}.scaled", "Div", value, graph.number(2.0**0.5))
        gate = graph.add(f"{name}.gate", "Add", graph.add(f"{name}.erf", "Erf", scaled), graph.number(1.0))
        return graph.add(f"{name}.out", "Mul", graph.add(f"{name}.gated", "Mul", value, gate), graph.number(0.5))

    @staticmethod
    def _names(name: str) -> tuple:
        return f"{name}.weight", f"{name}.bias"
