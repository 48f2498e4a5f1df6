"""Compares the converted networks with the runtimes of their makers; `python3 models/make.py --crosscheck` runs it.

BlazePose is run by LiteRT from the .tflite files of npm @mediapipe/pose, MoveNet by TensorFlow.js on its plain
JavaScript backend from the very graph that was converted. Prints the largest differences over real frames and fails
where one is beyond what float16 weights and another order of summation explain. Downloads about 100 MB more than making
the models, so it is not part of the tests.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from recipes import packages, pose, targets
from recipes.errors import Failure, exit_code_of
from recipes.packages import Artefact, Package
from tests import support

MEDIAPIPE = Package("@mediapipe/pose", "npm", "0.5.1675469404", ("8bb349a7b3a3ba699df23be804ddd3b3eab810b50b15406894be257859388a84",))
TENSORFLOW_JS = Package("@tensorflow/tfjs", "npm", "4.22.0", ("56505c191e24116787477b3bb5bb1cc0cf1c2bdce8112b9c402a8a2d31cf2f00",))

# Our output -> the .tflite file's, which is NHWC.
TFLITE_OUTPUTS = {"landmarks": "Identity", "presence": "Identity_1", "heatmap": "Identity_3", "world_landmarks": "Identity_4"}

# Largest difference allowed: pixels of the 256-pixel crop, probability, logits, metres.
BLAZEPOSE_LIMITS = {"landmarks": 0.1, "presence": 1e-3, "heatmap": 0.05, "world_landmarks": 1e-3}
MOVENET_LIMIT = 2e-3  # cells of 4 pixels, and probability

FRAMES = range(0, 60, 6)
MOVENET_FRAMES = (0, 30)


def main() -> int:
    """Runs both comparisons; 1 if a limit is exceeded."""
    return 1 if sum([_blazepose(size) for size in ("lite", "full", "heavy")]) + _movenet() else 0


def _verdict(title: str, worst: dict, limits: dict) -> int:
    """Prints the differences; the number of those beyond their limit."""
    print(f"{title}: " + ", ".join(f"{name} {worst[name]:.2g}" for name in worst))
    beyond = [name for name in worst if not worst[name] <= limits[name]]
    for name in beyond:
        print(f"error: {title}: {name} differs by {worst[name]:.3g}, allowed is {limits[name]:.3g}", file=sys.stderr)
    return len(beyond)


def _blazepose(size: str) -> int:
    package = Artefact(packages.fetch(MEDIAPIPE, support.FOLDERS.downloads, targets.machine()))
    interpreter = Interpreter(model_content=package.read(f"package/pose_landmark_{size}.tflite"))
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    index_of = {about["name"]: about["index"] for about in interpreter.get_output_details()}
    network = support.session(f"pose_landmark_{size}.onnx")
    worst = dict.fromkeys(TFLITE_OUTPUTS, 0.0)
    for frame in FRAMES:
        crop = support.planes(support.squats_frame(frame, 256, 456)[100:356], 1 / 255)
        ours = support.run(network, image=crop)
        interpreter.set_tensor(image["index"], np.ascontiguousarray(crop.transpose(0, 2, 3, 1)))
        interpreter.invoke()
        for name, tflite_name in TFLITE_OUTPUTS.items():
            theirs = interpreter.get_tensor(index_of[tflite_name])
            theirs = theirs.transpose(0, 3, 1, 2) if theirs.ndim == 4 else theirs
            difference = np.abs(theirs - ours[name])
            if name == "landmarks":
                difference = difference.reshape(39, 5)[:, :3]  # the other two are logits, which are large and harmless
            worst[name] = max(worst[name], float(difference.max()))
    return _verdict(f"pose_landmark_{size} against LiteRT, {len(FRAMES)} frames", worst, BLAZEPOSE_LIMITS)


def _movenet() -> int:
    graph, _, outputs = pose.GRAPHS["movenet_multipose"]
    models = packages.read_pins(targets.CATALOG)[pose.PACKAGE]
    package = Artefact(packages.fetch(models, support.FOLDERS.downloads, targets.machine()))
    library = Artefact(packages.fetch(TENSORFLOW_JS, support.FOLDERS.downloads, targets.machine()))
    network = support.session("movenet_multipose.onnx")
    worst = dict.fromkeys((port.name for port in outputs), 0.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tf.min.js").write_bytes(library.read("package/dist/tf.min.js"))
        (folder / "model.json").write_bytes(package.read(f"package/models/{graph}.json"))
        (folder / "weights.bin").write_bytes(package.read(f"package/models/{graph}.bin"))
        for frame in MOVENET_FRAMES:
            picture = support.squats_frame(frame, 160, 256)
            ours = support.run(network, image=support.planes(picture, 1))
            (folder / "picture.rgb").write_bytes(picture.tobytes())
            job = {"height": picture.shape[0], "width": picture.shape[1], "outputs": [port.node for port in outputs]}
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            _run_node(folder)
            for index, port in enumerate(outputs):
                theirs = np.fromfile(folder / f"output_{index}.f32", "<f4").reshape(ours[port.name].transpose(0, 2, 3, 1).shape)
                difference = np.abs(theirs.transpose(0, 3, 1, 2) - ours[port.name])
                worst[port.name] = max(worst[port.name], float(difference.max()))
    title = f"movenet_multipose against TensorFlow.js, {len(MOVENET_FRAMES)} frames"
    return _verdict(title, worst, dict.fromkeys(worst, MOVENET_LIMIT))


def _run_node(folder: Path):
    script = Path(__file__).with_name("crosscheck_movenet.js")
    try:
        result = subprocess.run(["node", script, folder], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failure("node is needed to run TensorFlow.js; install it (Debian: apt-get install nodejs)") from error
    if result.returncode != 0:
        raise Failure(f"TensorFlow.js failed: {packages.last_words(result)}")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
