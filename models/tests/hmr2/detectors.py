"""Tiny detectors, one for each form of input and output that a catalog's `[model.detector]` can describe.

Each is a real network that finds one thing: a rectangle of `COLOUR` on `BACKGROUND`. It takes pictures in its own layout, channel order,
element type and normalisation, and looks at two corners, so that it sees nothing where a frame comes otherwise than its entry says. It
names the rectangle as a person, the same person again a pixel further, a dog, and somebody too faint.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from recipes.packages import sha256_of

COLOUR = [220, 120, 40]
BACKGROUND = [40, 60, 90]
CATALOG = "detectors.toml"
SIDE = 160
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
LEVELS = ([0.0] * 3, [1 / 255] * 3)
UNIT = ([0.0] * 3, [1.0] * 3)
# what of xyxy gives the other formats
FORMATS = {
    "xyxy": np.eye(4),
    "yxyx": np.eye(4)[:, [1, 0, 3, 2]],
    "xywh": np.array([[1, 0, -1, 0], [0, 1, 0, -1], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "cxcywh": np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]]),
}
# person, the same again, dog, faint: probabilities of person and of dog
PERSON, DOG = [0.9, 0.8, 0.03, 0.2], [0.02, 0.03, 0.95, 0.1]
TYPES = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "u8": TensorProto.UINT8, "i32": TensorProto.INT32, "i64": TensorProto.INT64}
ABOUT = {
    "licence": "CC0-1.0",
    "credit": "Halfpipe",
    "source": "made up",
    "recipe": "models/tests/hmr2/detectors.py",
    "summary": "Finds a rectangle.",
}
LAYOUTS = {"nchw": (0, 1, 2, 3), "nhwc": (0, 3, 1, 2), "chw": (0, 1, 2), "hwc": (2, 0, 1)}


class Detector:
    """A detector's graph under construction, with its catalog entry."""

    def __init__(self, name: str, dims: list, table: str, *, ty="f32", norm=UNIT, layout="nchw", bgr=False, corners=("back", "back")):
        self.name, self.table, self.norm = name, table, norm if ty != "u8" else None
        self.layout, self.bgr, self.corners = layout, bgr, corners
        self.nodes, self.constants = [], []
        self.inputs, self.outputs = [("image", ty, dims)], []

    def op(self, kind: str, *inputs, **attributes) -> str:
        """A node; inputs are names or numbers."""
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, values) -> str:
        """An initializer: whole numbers are int64, others float32."""
        array = np.asarray(values)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def extra(self, name: str, ty: str, dims: list) -> str:
        """An input beside the picture, as float32."""
        self.inputs.append((name, ty, dims))
        return self.op("Cast", name, to=TensorProto.FLOAT)

    def output(self, name: str, value: str, ty: str, dims: list):
        """An output."""
        self.nodes.append(helper.make_node("Cast", [value], [name], to=TYPES[ty]))
        self.outputs.append((name, ty, dims))

    def look(self) -> tuple:
        """The rectangle's xyxy [n, 4] in pixels of the input, and [n, 1]: 1 where it is there and the corners are right."""
        x = self.op("Cast", "image", to=TensorProto.FLOAT)
        x = self.op("Transpose", x, perm=LAYOUTS[self.layout])
        if len(self.layout) == 3:
            x = self.op("Unsqueeze", x, [0])
        if self.bgr:
            x = self.op("Gather", x, [2, 1, 0], axis=1)
        if self.norm:
            mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in self.norm)
            x = self.op("Mul", self.op("Add", self.op("Mul", x, std), mean), 255.0)
        mask = self._near(x, COLOUR, 60.0)
        columns, rows = (self.op("ReduceMax", mask, axes=[axis], keepdims=0) for axis in (1, 2))
        low = [self.op("Cast", self.op("ArgMax", v, axis=1), to=TensorProto.FLOAT) for v in (columns, rows)]
        high = [self.op("ArgMax", v, axis=1, select_last_index=1) for v in (columns, rows)]
        high = [self.op("Add", self.op("Cast", v, to=TensorProto.FLOAT), 1.0) for v in high]
        seen = self.op("ReduceMax", columns, axes=[1])
        for corner, colour in zip((0, -1), self.corners):
            part = self.op("Gather", self.op("Gather", x, [corner], axis=3), [corner], axis=2)
            colour, tolerance = (BACKGROUND, 20.0) if colour == "back" else (colour, 1.5)
            right = self._near(part, colour, tolerance)
            seen = self.op("Mul", seen, self.op("Reshape", right, [-1, 1]))
        return self.op("Concat", *low, *high, axis=1), seen

    def _near(self, x: str, colour: list, tolerance: float) -> str:
        """[n, h, w]: 1 where all three channels are near to the colour."""
        difference = self.op("Abs", self.op("Sub", x, np.reshape(np.float32(colour), (1, 3, 1, 1))))
        near = self.op("Less", self.op("ReduceMax", difference, axes=[1], keepdims=0), tolerance)
        return self.op("Cast", near, to=TensorProto.FLOAT)

    def candidates(self, which=(0, 1, 2, 3), form="xyxy", scale=1.0) -> tuple:
        """Boxes [n, k, 4] times `scale`, and probabilities of person and dog [n, k, 1] each."""
        box, seen = self.look()
        box = self.op("Unsqueeze", box, [1])
        moved = self.op("Add", box, np.array([[[1.0, 0, 1, 0]]]))
        still = [self.op("Add", self.op("Mul", box, 0.0), np.float32([[corners]])) for corners in ([5, 5, 25, 25], [120, 60, 150, 110])]
        boxes = self.op("Concat", *(([box, moved, *still])[i] for i in which), axis=1)
        boxes = self.op("Mul", self.op("MatMul", boxes, FORMATS[form].astype(np.float32)), scale)
        seen = self.op("Unsqueeze", seen, [1])
        person = self.op("Mul", seen, np.float32([[[PERSON[i]] for i in which]]))
        dog = self.op("Add", self.op("Mul", seen, 0.0), np.float32([[[DOG[i]] for i in which]]))
        return boxes, person, dog

    def logit(self, p: str) -> str:
        """ln(p / (1 - p)), of probabilities no less than a thousandth."""
        p = self.op("Max", p, 0.001)
        return self.op("Log", self.op("Div", p, self.op("Sub", 1.0, p)))

    def like(self, value: str, numbers: list) -> str:
        """These numbers [k], for each picture of `value` [n, k, 1]."""
        return self.op("Add", self.op("Mul", value, 0.0), np.float32(numbers).reshape(1, -1, 1))

    def write(self, folder: Path) -> str:
        """Writes the graph; gives its catalog entry."""
        graph = helper.make_graph(self.nodes, self.name, _infos(self.inputs), _infos(self.outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        path = folder / f"{self.name}.onnx"
        path.write_bytes(model.SerializeToString())
        about = {"name": self.name, "file": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size, **ABOUT}
        text = "\n[[model]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in about.items())
        for key, ports in (("inputs", self.inputs), ("outputs", self.outputs)):
            rows = (f'    {{ name = "{name}", type = "{ty}", dims = {dims} }},\n' for name, ty, dims in ports)
            text += f"{key} = [\n{''.join(rows)}]\n"
        if self.norm:
            text += f"mean = {self.norm[0]}\nstd = {self.norm[1]}\n"
        layout = "" if self.layout == "nchw" else f'layout = "{self.layout}"\n'
        channels = 'channels = "bgr"\n' if self.bgr else ""
        return f'{text}[model.detector]\ninput = "image"\n{layout}{channels}score = 0.5\noverlap = 0.6\n{self.table.strip()}\n'


def _infos(ports: list) -> list:
    """ONNX's inputs or outputs; what is free has a name."""
    named = ((name, ty, [d or f"{name}_{i}" for i, d in enumerate(dims)]) for name, ty, dims in ports)
    return [helper.make_tensor_value_info(name, TYPES[ty], dims) for name, ty, dims in named]


FIXED = f"size = {{ fixed = {{ width = {SIDE}, height = {SIDE} }} }}"
MIDDLE = 'fit = "letterbox_center"\nfill = 114\n' + FIXED
CORNER = 'fit = "letterbox_corner"\nfill = 114\n' + FIXED
STRETCH = 'fit = "stretch"\n' + FIXED
GREY = [114] * 3


def _heads(text: str) -> str:
    return "[model.detector.heads.boxes]\nperson = 0\n" + text


def yolov8() -> Detector:
    """One output [1, 4 + classes, candidates]."""
    heads = 'boxes = { output = "output0", candidates = "last" }\nformat = "cxcywh"\nunits = "pixels"\nsuppressed = false\n'
    heads += 'scores = { output = "output0", column = 4, candidates = "last" }\nscore_kind = "per_class"'
    d = Detector("yolov8", [1, 3, SIDE, SIDE], f"{MIDDLE}\n{_heads(heads)}", corners=(GREY, GREY))
    table = d.op("Concat", *d.candidates(form="cxcywh"), axis=2)
    d.output("output0", d.op("Transpose", table, perm=(0, 2, 1)), "f32", [1, 6, 4])
    return d


def yolov5() -> Detector:
    """One output [n, candidates, 5 + classes] with objectness, for any number of pictures, and a mask's coefficient behind it."""
    heads = 'boxes = "output0"\nformat = "cxcywh"\nunits = "pixels"\nsuppressed = false\nclass_count = 2\n'
    heads += 'objectness = { output = "output0", column = 4 }\nscores = { output = "output0", column = 5 }\nscore_kind = "per_class"'
    d = Detector("yolov5", [0, 3, SIDE, SIDE], f"{MIDDLE}\n{_heads(heads)}", corners=(GREY, GREY))
    boxes, person, dog = d.candidates(form="cxcywh")
    sure = d.like(person, [0.95] * 4)
    parts = [boxes, sure, d.op("Div", person, 0.95), d.op("Div", dog, 0.95), d.like(person, [7.0] * 4)]
    d.output("output0", d.op("Concat", *parts, axis=2), "f32", [0, 4, 8])
    return d


def yolov7() -> Detector:
    """Suppression inside: one list of rows [rows, 7] of picture, box, class, score, the pictures mixed."""
    heads = 'boxes = { output = "output", column = 1 }\nformat = "xyxy"\nunits = "pixels"\nsuppressed = true\nscore_kind = "single"\n'
    heads += 'frames = "output"\nclasses = { output = "output", column = 5 }\nscores = { output = "output", column = 6 }'
    d = Detector("yolov7_end_to_end", [0, 3, SIDE, SIDE], f"{MIDDLE}\n{_heads(heads)}", corners=(GREY, GREY))
    boxes, person, dog = d.candidates(which=(0, 2, 3))
    n = d.op("Cast", d.op("Gather", d.op("Shape", person), [0]), to=TensorProto.INT64)
    picture = d.op("Range", 0, d.op("Squeeze", n, [0]), 1)
    picture = d.op("Reshape", d.op("Cast", picture, to=TensorProto.FLOAT), [-1, 1, 1])
    picture = d.op("Add", picture, d.op("Mul", person, 0.0))
    rows = d.op("Concat", picture, boxes, d.like(person, [0, 1, 0]), d.op("Max", person, dog), axis=2)
    d.output("output", d.op("Reshape", d.op("Transpose", rows, perm=(1, 0, 2)), [-1, 7]), "f32", [0, 7])
    return d


def yolox() -> Detector:
    """YOLOX before decoding: cells of three grids, levels of BGR, the frame at the corner."""
    heads = 'boxes = "output"\nformat = "cxcywh"\nunits = "pixels"\ngrids = [8, 16, 32]\nsuppressed = false\n'
    heads += 'objectness = { output = "output", column = 4 }\nscores = { output = "output", column = 5 }\nscore_kind = "per_class"'
    d = Detector("yolox", [1, 3, SIDE, SIDE], f"{CORNER}\n{_heads(heads)}", norm=LEVELS, bgr=True, corners=("back", GREY))
    boxes, person, dog = d.candidates(form="cxcywh", scale=1 / 16)
    # the four stand in row 5 of the middle grid, columns 3 to 6
    center = d.op("Sub", d.op("Slice", boxes, [0], [2], [2]), np.float32([[[3, 5], [4, 5], [5, 5], [6, 5]]]))
    size = d.op("Log", d.op("Slice", boxes, [2], [4], [2]))
    table = d.op("Concat", center, size, d.like(person, [0.96] * 4), d.op("Div", person, 0.96), d.op("Div", dog, 0.96), axis=2)
    before = 20 * 20 + 5 * 10 + 3
    parts = [np.zeros((1, before, 7), np.float32), table, np.zeros((1, 525 - before - 4, 7), np.float32)]
    d.output("output", d.op("Concat", *parts, axis=1), "f32", [1, 525, 7])
    return d


def rtmdet() -> Detector:
    """MMDeploy's ends: boxes with their score [n, candidates, 5], and labels."""
    heads = 'boxes = "dets"\nformat = "xyxy"\nunits = "pixels"\nsuppressed = true\n'
    heads += 'scores = { output = "dets", column = 4 }\nscore_kind = "single"\nclasses = "labels"'
    norm = ([123.675 / 255, 116.28 / 255, 103.53 / 255], [58.395 / 255, 57.12 / 255, 57.375 / 255])
    d = Detector("rtmdet", [0, 3, SIDE, SIDE], f"{CORNER}\n{_heads(heads)}", norm=norm, bgr=True, corners=("back", GREY))
    boxes, person, dog = d.candidates(which=(0, 2, 3))
    d.output("dets", d.op("Concat", boxes, d.op("Max", person, dog), axis=2), "f32", [0, 3, 5])
    d.output("labels", d.op("Squeeze", d.like(person, [0, 1, 0]), [2]), "i64", [0, 3])
    return d


def detr() -> Detector:
    """DETR: a softmax over classes and nothing, centres and sizes in fractions, a stretched picture, a mask of pixels."""
    heads = 'boxes = "pred_boxes"\nformat = "cxcywh"\nunits = "normalized"\nsuppressed = true\n'
    heads += 'scores = "logits"\nscore_kind = "per_class"\nscore_form = "softmax"'
    d = Detector("detr", [0, 3, SIDE, SIDE], f'{STRETCH}\nother_inputs = {{ pixel_mask = "ones" }}\n{_heads(heads)}', norm=IMAGENET)
    mask = d.op("ReduceMin", d.extra("pixel_mask", "i64", [0, 0, 0]), axes=[1, 2])
    boxes, person, dog = d.candidates(which=(0, 2, 3), form="cxcywh", scale=1 / SIDE)
    person = d.op("Mul", person, mask)
    nothing = d.op("Sub", 1.0, d.op("Add", person, dog))
    logits = d.op("Log", d.op("Max", d.op("Concat", person, dog, nothing, axis=2), 0.0001))
    d.output("logits", logits, "f32", [0, 3, 3])
    d.output("pred_boxes", boxes, "f32", [0, 3, 4])
    return d


def rtdetr() -> Detector:
    """RT-DETR with its post-processing: boxes in pixels of the size that it is told, labels counted from another class."""
    heads = 'boxes = "boxes"\nformat = "xyxy"\nunits = "pixels"\nsuppressed = true\n'
    heads += 'scores = "scores"\nscore_kind = "single"\nclasses = "labels"'
    other = 'other_inputs = { orig_target_sizes = "width_height" }'
    d = Detector("rtdetr", [0, 3, SIDE, 2 * SIDE], f"{STRETCH.replace('width = 160', 'width = 320')}\n{other}\n{_heads(heads)}")
    size = d.extra("orig_target_sizes", "i64", [0, 2])
    boxes, person, dog = d.candidates(which=(0, 2, 3), scale=np.float32([1 / (2 * SIDE), 1 / SIDE] * 2))
    d.output("labels", d.op("Squeeze", d.like(person, [0, 1, 0]), [2]), "i64", [0, 3])
    boxes = d.op("Mul", boxes, d.op("Unsqueeze", d.op("Concat", size, size, axis=1), [1]))
    d.output("boxes", boxes, "f32", [0, 3, 4])
    d.output("scores", d.op("Squeeze", d.op("Max", person, dog), [2]), "f32", [0, 3])
    return d


def torchvision() -> Detector:
    """torchvision's detectors: one picture [3, height, width] of any size; boxes, labels and scores without a batch dimension."""
    heads = 'boxes = "boxes"\nformat = "xyxy"\nunits = "pixels"\nsuppressed = true\n'
    heads += 'scores = "scores"\nscore_kind = "single"\nclasses = "labels"'
    size = 'fit = "letterbox_corner"\nsize = { flexible = { multiple = 1, long_side = 200 } }'
    d = Detector("torchvision", [3, 0, 0], f"{size}\n{_heads(heads).replace('person = 0', 'person = 1')}", layout="chw")
    boxes, person, dog = d.candidates(which=(0, 2, 3))
    d.output("boxes", d.op("Squeeze", boxes, [0]), "f32", [0, 4])
    d.output("labels", d.op("Squeeze", d.like(person, [1, 18, 1]), [0, 2]), "i64", [0])
    d.output("scores", d.op("Squeeze", d.op("Max", person, dog), [0, 2]), "f32", [0])
    return d


def vitdet() -> Detector:
    """detectron2's ViTDet: levels of BGR in a fixed square, no batch dimension."""
    heads = 'boxes = "pred_boxes"\nformat = "xyxy"\nunits = "pixels"\nsuppressed = true\n'
    heads += 'scores = "scores"\nscore_kind = "single"\nclasses = "pred_classes"'
    table = f"{CORNER.replace('fill = 114', 'fill = [124, 116, 104]')}\n{_heads(heads)}"
    d = Detector("vitdet", [3, SIDE, SIDE], table, norm=LEVELS, layout="chw", bgr=True, corners=("back", [124, 116, 104]))
    boxes, person, dog = d.candidates(which=(0, 2, 3))
    d.output("pred_boxes", d.op("Squeeze", boxes, [0]), "f32", [0, 4])
    d.output("scores", d.op("Squeeze", d.op("Max", person, dog), [0, 2]), "f32", [0])
    d.output("pred_classes", d.op("Squeeze", d.like(person, [0, 1, 0]), [0, 2]), "i64", [0])
    return d


def tensorflow() -> Detector:
    """TensorFlow's detection API: pixels of u8, top before left in fractions, classes as f32, a count before rows of nothing."""
    heads = 'boxes = "detection_boxes"\nformat = "yxyx"\nunits = "normalized"\nsuppressed = true\nscores = "detection_scores"\n'
    heads += 'score_kind = "single"\nclasses = "detection_classes"\ncount = "num_detections"'
    table = f'fit = "letterbox_center"\n{FIXED}\n{_heads(heads).replace("person = 0", "person = 1")}'
    d = Detector("tensorflow", [1, SIDE, SIDE, 3], table, ty="u8", layout="nhwc", corners=([0] * 3, [0] * 3))
    boxes, person, dog = d.candidates(which=(0, 2, 3), form="yxyx", scale=1 / SIDE)
    rest = np.full((1, 2, 1), 0.99, np.float32)
    boxes = d.op("Concat", boxes, np.float32([[[0.5, 0.5, 0.9, 0.9]] * 2]), axis=1)
    scores = d.op("Concat", d.op("Max", person, dog), rest, axis=1)
    classes = d.op("Concat", d.like(person, [1, 18, 1]), np.ones((1, 2, 1), np.float32), axis=1)
    d.output("detection_boxes", boxes, "f32", [1, 5, 4])
    d.output("detection_classes", d.op("Squeeze", classes, [2]), "f32", [1, 5])
    d.output("detection_scores", d.op("Squeeze", scores, [2]), "f32", [1, 5])
    d.output("num_detections", d.constant([3.0]), "f32", [1])
    return d


def half() -> Detector:
    """Float16 in and out, pixels of BGR, four pictures a run, logits of a person only, left, top, width and height in fractions."""
    heads = 'boxes = "boxes"\nformat = "xywh"\nunits = "normalized"\nsuppressed = false\n'
    heads += 'scores = "scores"\nscore_kind = "single"\nscore_form = "logit"'
    d = Detector("half", [4, SIDE, SIDE, 3], f"{MIDDLE}\n{_heads(heads)}", ty="f16", layout="nhwc", bgr=True, corners=(GREY, GREY))
    boxes, person, _ = d.candidates(form="xywh", scale=1 / SIDE)
    d.output("boxes", boxes, "f16", [4, 4, 4])
    d.output("scores", d.op("Squeeze", d.logit(person), [2]), "f16", [4, 4])
    return d


ALL = (yolov8, yolov5, yolov7, yolox, rtmdet, detr, rtdetr, torchvision, vitdet, tensorflow, half)


def write(folder: Path):
    """Writes every detector, and the catalog that describes them."""
    text = "# Tiny detectors of models/tests/hmr2/detectors.py, one a form.\n\nschema = 1\n"
    text += "".join(make().write(folder) for make in ALL)
    (folder / CATALOG).write_text(text, encoding="utf-8")
