"""Single parts of the work alone, for a bench: `meshes`, `draw` and `infer`. Each prints a line of JSON.

    python -m peer.alone meshes --models DIR --poses poses.jsonl --folder DIR --most 60
    python -m peer.alone draw --folder DIR --renderer new
    python -m peer.alone infer --models DIR --work '[["movenet_multipose", {"image": [1, 3, 224, 384]}, 100]]'
"""

from peer import command  # first: it sets what NumPy reads when it is imported

import argparse
import json
import time
from pathlib import Path

import numpy as np

from peer.body import FLIP, Body


class Watch:
    """Wall and CPU seconds since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def seconds(self):
        return {"wall_seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def rotations(quaternions):
    """Matrices [..., 3, 3] of quaternions [..., 4], x y z w."""
    x, y, z, w = np.moveaxis(quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def meshes(args):
    """Writes the bodies of a poses.jsonl for `draw` and for the example `meshes` of halfpipe-render: camera axes, metres."""
    body, folder = Body(command.rig_file(args)), Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(args.poses, encoding="utf-8") as lines:
        header = json.loads(next(lines))
        frames = [[p["pose"] for p in json.loads(line)["people"] if p.get("pose")] for line in lines]
    drawn = [i for i, people in enumerate(frames) if people][: args.most or None]
    places, vertices = [], []
    for frame in drawn:
        local = rotations(np.array([p["rotations"] for p in frames[frame]]))
        translation = np.array([p["translation"] for p in frames[frame]])
        posed, _ = body.mesh(local, np.array([p["betas"] for p in frames[frame]]))
        vertices.append((posed * FLIP + translation[:, None]).astype("<f4"))
        places += [frame] * len(posed)
    np.concatenate(vertices).tofile(folder / "vertices.f32")
    body.faces.astype("<u4").tofile(folder / "faces.u32")
    np.array(places, "<u4").tofile(folder / "frames.u32")
    facts = {"width": header["video"]["width"], "height": header["video"]["height"], "focal": header["camera"]["focal"]}
    facts |= {"frames": len(drawn), "bodies": len(places)}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return facts


def draw(args):
    """Draws and blends those bodies with pyrender, frame by frame, after one frame to warm up."""
    from peer.clock import StageClock
    from peer.draw import Renderer

    folder = Path(args.folder)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    places = np.fromfile(folder / "frames.u32", "<u4")
    faces = np.fromfile(folder / "faces.u32", "<u4").reshape(-1, 3).astype(np.int32)
    vertices = np.fromfile(folder / "vertices.f32", "<f4").reshape(len(places), -1, 3) * FLIP.astype(np.float32)
    groups = [vertices[places == frame] for frame in np.unique(places)]
    renderer = Renderer(facts["width"], facts["height"], faces, args.renderer, StageClock(), args.samples)
    picture = np.full((facts["height"], facts["width"], 3), 120, np.uint8)
    renderer.overlay(picture, groups[0], 0.6)
    watch = Watch()
    drawn = sum(renderer.overlay(picture, group, 0.6) for group in groups)
    seconds = watch.seconds()
    renderer.close()
    return {"frames": len(groups), "frames_drawn": drawn, "bodies": len(places), **seconds}


def infer(args):
    """Runs networks on made-up input: [[name, {input: shape}, calls], ...], one thread each, which costs least CPU time."""
    from peer.networks import session

    random, results = np.random.default_rng(0), []
    for name, shapes, calls in json.loads(args.work):
        net = session(Path(args.models) / f"{name}.onnx", threads=1)
        inputs = {port: random.random(shape, np.float32) for port, shape in shapes.items()}
        net.run(None, inputs)
        watch = Watch()
        for _ in range(calls):
            net.run(None, inputs)
        results.append({"model": name, "calls": calls, **watch.seconds()})
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("meshes", "draw", "infer"))
    for name in ("models", "poses", "folder", "work"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--most", type=int, default=0, help="frames at most; 0 is all")
    parser.add_argument("--renderer", default="new", choices=("new", "kept", "tuned"))
    parser.add_argument("--samples", type=int, default=4, choices=(1, 4))
    args = parser.parse_args()
    print(json.dumps({"meshes": meshes, "draw": draw, "infer": infer}[args.what](args)))


if __name__ == "__main__":
    main()
