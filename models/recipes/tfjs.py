"""Turns the fully convolutional part of a TensorFlow.js graph model into an ONNX graph.

A TFJS graph model is a JSON topology plus a binary file of weights. This converter knows the operations that the
MoveNet and BlazePose networks are made of and refuses any other one by name. It converts only what the requested
outputs need, so decoding steps and heads that nobody reads stay behind.

Conventions of the result:

- NCHW inside and at the ports (TFJS is NHWC); the batch size is free.
- Weights stored as float16 stay float16 in the file, followed by a Cast to float32 that a runtime folds when it loads.
- Opset 13, IR version 8: old enough for every runtime in use, new enough for all that is needed here.
- Serialised deterministically: the same package gives the same bytes on every machine.
"""

import base64
import json
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 13
IR_VERSION = 8
PRODUCER = "halfpipe models/recipes/tfjs.py"

CONVOLUTIONS = ("Conv2D", "_FusedConv2D")
DEPTHWISE_CONVOLUTIONS = ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
STORED_DTYPES = {"float32": np.float32, "float16": np.float16, "int32": np.int32}


class UnsupportedGraph(Exception):
    """The graph holds something that this converter does not know."""


@dataclass(frozen=True)
class Port:
    """An input or output of the converted graph: its ONNX name, the TFJS node it stands for, and its ONNX shape."""

    name: str
    node: str
    shape: tuple


class GraphModel:
    """A TFJS graph model: `nodes` by name and `weights` by name as stored (float16 or float32, NHWC order)."""

    def __init__(self, topology: bytes, weights: bytes):
        """Reads the JSON `topology` and the concatenated binary `weights`."""
        document = json.loads(topology)
        self.nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
        self.weights = {}
        offset = 0
        for spec in document["weightsManifest"][0]["weights"]:
            stored = spec.get("quantization", {}).get("dtype", spec["dtype"])
            if stored not in STORED_DTYPES:
                raise UnsupportedGraph(f"weight {spec['name']} is stored as {stored}")
            dtype = np.dtype(STORED_DTYPES[stored]).newbyteorder("<")
            count = 1
            for extent in spec["shape"]:
                count *= extent
            self.weights[spec["name"]] = np.frombuffer(weights, dtype, count, offset).reshape(spec["shape"])
            offset += count * dtype.itemsize
        if offset != len(weights):
            raise UnsupportedGraph(f"the manifest describes {offset} bytes of weights, the file has {len(weights)}")


class Converter:
    """Walks a `GraphModel` backwards from its outputs and emits ONNX nodes in execution order."""

    def __init__(self, model: GraphModel, image: Port):
        self.model = model
        self.onnx_nodes = []
        self.initializers = []
        self.value_of = {image.node: image.name}
        self.weight_of = {}
        self.handlers = {
            "AddV2": self._add,
            "Identity": self._identity,
            "Cast": self._identity,  # MoveNet casts its int32 image; ours is float32 from the start
            "MaxPool": self._max_pool,
            "Mul": self._multiply,
            "Pad": self._pad,
            "Relu6": self._relu6,
            "Reshape": self._reshape,
            "ResizeBilinear": self._resize,
            "Sigmoid": self._sigmoid,
            "Sub": self._subtract,
            **{kind: self._convolution for kind in CONVOLUTIONS + DEPTHWISE_CONVOLUTIONS},
        }

    def value(self, output: str) -> str:
        """The ONNX value of a TFJS node, converting it and all it depends on first (iteratively: graphs are deep)."""
        wanted = _node_name(output)
        pending = [wanted]
        while pending:
            name = pending[-1]
            if name in self.value_of:
                pending.pop()
                continue
            node = self.model.nodes[name]
            missing = [source for source in self._activations(node) if source not in self.value_of]
            if missing:
                pending.extend(reversed(missing))
                continue
            handler = self.handlers.get(node["op"])
            if handler is None:
                raise UnsupportedGraph(f"operation {node['op']} ({name}) is not known to the converter")
            self.value_of[name] = handler(node)
            pending.pop()
        return self.value_of[wanted]

    def _activations(self, node) -> list:
        """Names of the inputs of `node` that are computed, in order (the others are constants)."""
        sources = [_node_name(source) for source in node.get("input", [])]
        if node["op"] == "ResizeBilinear":
            sources = sources[:1]  # the target size, which MoveNet computes from shapes, becomes a factor: see _resize
        return [source for source in sources if source not in self.model.weights]

    def _emit(self, op: str, inputs: list, **attributes) -> str:
        output = f"{op.lower()}_{len(self.onnx_nodes)}"
        self.onnx_nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, array) -> str:
        array = np.ascontiguousarray(array)
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def _weight(self, name: str, layout: tuple | None = None) -> str:
        """A weight as a float32 value, transposed to `layout` first."""
        key = (name, layout)
        if key not in self.weight_of:
            array = self.model.weights[name]
            array = array if layout is None else array.transpose(layout)
            value = self._constant(array)
            if array.dtype == np.float16:
                value = self._emit("Cast", [value], to=TensorProto.FLOAT)
            self.weight_of[key] = value
        return self.weight_of[key]

    def _operand(self, source: str) -> str:
        """An input of an elementwise operation; constants along the channels are laid out for NCHW."""
        name = _node_name(source)
        if name not in self.model.weights:
            return self.value_of[name]
        rank = self.model.weights[name].ndim
        if rank == 4:
            return self._weight(name, (0, 3, 1, 2))
        if rank == 0:
            return self._weight(name)
        raise UnsupportedGraph(f"constant {name} of rank {rank} in an elementwise operation")

    def _elementwise(self, op: str, node) -> str:
        return self._emit(op, [self._operand(source) for source in node["input"]])

    def _add(self, node) -> str:
        return self._elementwise("Add", node)

    def _subtract(self, node) -> str:
        return self._elementwise("Sub", node)

    def _multiply(self, node) -> str:
        return self._elementwise("Mul", node)

    def _identity(self, node) -> str:
        return self.value_of[_node_name(node["input"][0])]

    def _sigmoid(self, node) -> str:
        return self._emit("Sigmoid", [self.value_of[_node_name(node["input"][0])]])

    def _relu6(self, node) -> str:
        return self._clip6(self.value_of[_node_name(node["input"][0])])

    def _clip6(self, value: str) -> str:
        return self._emit("Clip", [value, self._constant(np.float32(0)), self._constant(np.float32(6))])

    def _convolution(self, node) -> str:
        depthwise = node["op"] in DEPTHWISE_CONVOLUTIONS
        source, kernel, *bias = [_node_name(name) for name in node["input"]]
        shape = self.model.weights[kernel].shape  # height, width, channels in, channels out (or multiplier)
        if depthwise and shape[3] != 1:
            raise UnsupportedGraph(f"depthwise convolution {node['name']} with a channel multiplier")
        strides, dilations = _spatial(node, "strides"), _spatial(node, "dilations")
        if dilations != [1, 1]:
            raise UnsupportedGraph(f"dilated convolution {node['name']}")
        # A depthwise kernel keeps one input channel per group: H, W, C, 1 -> C, 1, H, W.
        layout = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
        inputs = [self.value_of[source], self._weight(kernel, layout)]
        fused = [base64.b64decode(name).decode() for name in _attribute(node, "fused_ops").get("list", {}).get("s", [])]
        if "BiasAdd" in fused:
            inputs.append(self._weight(bias[0]))
        value = self._emit(
            "Conv",
            inputs,
            kernel_shape=list(shape[:2]),
            strides=strides,
            pads=_padding(node, shape[:2], strides),
            group=shape[2] if depthwise else 1,
        )
        for activation in (name for name in fused if name != "BiasAdd"):
            if activation == "Relu6":
                value = self._clip6(value)
            elif activation == "Relu":
                value = self._emit("Relu", [value])
            else:
                raise UnsupportedGraph(f"activation {activation} of {node['name']}")
        return value

    def _max_pool(self, node) -> str:
        window, strides = _spatial(node, "ksize"), _spatial(node, "strides")
        pads = _padding(node, window, strides)
        return self._emit("MaxPool", [self.value_of[_node_name(node["input"][0])]], kernel_shape=window, strides=strides, pads=pads)

    def _pad(self, node) -> str:
        source, amounts = [_node_name(name) for name in node["input"]]
        by_axis = self.model.weights[amounts][[0, 3, 1, 2]]
        pads = np.concatenate([by_axis[:, 0], by_axis[:, 1]]).astype(np.int64)
        return self._emit("Pad", [self.value_of[source], self._constant(pads)], mode="constant")

    def _resize(self, node) -> str:
        """Every bilinear resize in these networks doubles the size; a factor keeps height and width free.

        The result is always added to a feature map of that doubled size, so a different factor could not run.
        """
        if not _attribute(node, "half_pixel_centers").get("b", False):
            raise UnsupportedGraph(f"resize {node['name']} without half pixel centres")
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        source = self.value_of[_node_name(node["input"][0])]
        return self._emit("Resize", [source, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")

    def _reshape(self, node) -> str:
        """Flattening of an N x C x 1 x 1 value, the only reshape whose meaning is the same in NCHW and NHWC."""
        source, target = [_node_name(name) for name in node["input"]]
        shape = [int(extent) for extent in self.model.weights[target]]
        if len(shape) != 2:
            raise UnsupportedGraph(f"reshape {node['name']} to rank {len(shape)}")
        return self._emit("Reshape", [self.value_of[source], self._constant(np.array([-1, shape[1]], np.int64))])


def convert(model: GraphModel, name: str, image: Port, outputs: list) -> bytes:
    """The ONNX file, as bytes, of the part of `model` that computes `outputs` from `image`; the graph is called `name`."""
    converter = Converter(model, image)
    graph_outputs = []
    for port in outputs:
        value = converter.value(port.node)
        converter.onnx_nodes.append(helper.make_node("Identity", [value], [port.name], name=f"output_{port.name}"))
        graph_outputs.append(helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape))
    graph_input = helper.make_tensor_value_info(image.name, TensorProto.FLOAT, image.shape)
    graph = helper.make_graph(converter.onnx_nodes, name, [graph_input], graph_outputs, converter.initializers)
    return finish(graph, PRODUCER)


def finish(graph: onnx.GraphProto, producer: str) -> bytes:
    """Checks a graph with full shape inference and serialises it deterministically."""
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=producer)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _node_name(output: str) -> str:
    """Name of the node that gives an output: "node:0" and "node" are the same."""
    return output.split(":")[0]


def _attribute(node, name: str) -> dict:
    return node.get("attr", {}).get(name, {})


def _spatial(node, name: str) -> list:
    """Height and width out of an NHWC list attribute."""
    return [int(extent) for extent in _attribute(node, name)["list"]["i"]][1:3]


def _padding(node, window, strides) -> list:
    """ONNX pads (top, left, bottom, right) of TFJS padding.

    For SAME the amount depends on the input's size unless the stride divides it, which holds for every layer of a
    network whose input is a multiple of its total stride.
    """
    kind = base64.b64decode(_attribute(node, "padding")["s"]).decode()
    if kind == "VALID":
        return [0, 0, 0, 0]
    if kind != "SAME":
        raise UnsupportedGraph(f"padding {kind} of {node['name']}")
    total = [max(size - stride, 0) for size, stride in zip(window, strides)]
    before = [amount // 2 for amount in total]
    after = [amount - first for amount, first in zip(total, before)]
    return [*before, *after]
