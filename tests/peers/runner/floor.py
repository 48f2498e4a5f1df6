"""The floor: CPU seconds of what cannot be left out, each alone, over the cores; and where the rest of a job's time went.

Unavoidable are decoding, the inferences that the job really ran, drawing its bodies, and encoding. Each is run by itself with the least
CPU time we know how: ffmpeg alone (its start is in it, as in a job), networks on one thread, Halfpipe's renderer with nothing beside it.
"""

import json
import math
from contextlib import contextmanager

from peer import x264
from runner import clips, drawing
from runner.figures import spread, table
from runner.process import measure

TARGET = 1.15
FFMPEG = ["ffmpeg", "-loglevel", "error", "-y"]
MULTIPLE = 32
LANDMARK_INPUT = 256
# Rows a call, see host/nn/src/pieces.rs.
PICTURES = 2


def compare(desk, clip, rounds):
    """A job and its parts, in rounds."""
    facts = clips.facts(clip)
    runs = []
    with drawn(desk, clip) as frames:
        for _ in range(rounds):
            _, report, files = desk.run(clip, name="floor")
            parts = {"decode": decode(clip), "inferences": _inferences(desk, report), "drawing": _drawing(desk, files), "encode": encode(frames, report)}
            runs.append((report, parts))
    return {"clip": clip.name, **facts, "rounds": rounds, "target": TARGET, **_figures(runs, desk.cores)}


def decode(clip):
    """To the pictures Halfpipe reads."""
    return measure([*FFMPEG, "-i", clip, "-map", "0:v:0", "-pix_fmt", "yuv420p", "-f", "rawvideo", "/dev/null"]).cpu_seconds


@contextmanager
def drawn(desk, clip, more=()):
    """A file of the frames that Halfpipe gives its encoder, as they are; it is gone afterwards.

    Encoding what Halfpipe wrote once more would be less work than Halfpipe had: what the first encoder left out need not be left out
    again. So a job writes without loss, and what it wrote is decoded beforehand.
    """
    _, _, files = desk.run(clip, [*more, "--quality", "0"], name="lossless")
    frames = desk.scratch / "frames.mkv"
    measure([*FFMPEG, "-i", files["video"], "-map", "0:v:0", "-pix_fmt", "yuv420p", "-c:v", "rawvideo", frames])
    files["video"].unlink()
    try:
        yield frames
    finally:
        frames.unlink()


def encode(frames, report):
    """Such frames as the job encoded them, on one thread."""
    codec = x264.arguments(report["settings"]["preset"], report["settings"]["quality"])
    return measure([*FFMPEG, "-i", frames, *codec, "-threads:v", "1", "-f", "mp4", "/dev/null"]).cpu_seconds


def _drawing(desk, files):
    folder = desk.scratch / "floor-meshes"
    facts = desk.peer("alone", ["meshes", "--models", desk.models, "--poses", files["poses"], "--folder", folder]).result()
    return drawing.draw(desk, folder, facts)["cpu_seconds"]


def _inferences(desk, report):
    work = []
    for name, stage in report["stages"].items():
        if name.startswith("nn.infer."):
            model = name.removeprefix("nn.infer.")
            for shapes, share in _inputs(model, stage["items"], report):
                # as many rows in as many calls, as evenly as can be, but of pictures two a call at most: that is the cheapest
                rows, calls = round(stage["items"] * share), round(stage["calls"] * share)
                calls = max(calls, math.ceil(rows / PICTURES)) if "image" in shapes else calls
                if not rows:
                    continue
                few, more = divmod(rows, max(calls, 1))
                batches = ((few, calls - more), (few + 1, more))
                work += [[model, {port: [size, *shape] for port, shape in shapes.items()}, count] for size, count in batches if size and count]
    results = desk.peer("alone", ["infer", "--models", desk.models, "--work", json.dumps(work)]).result()
    return sum(result["cpu_seconds"] for result in results)


def _inputs(model, rows, report):
    """Shapes of a network's inputs without the batch, and the share of its rows that have them."""
    if model == "movenet_multipose":
        image = lambda size: {"image": [3, *_fitted(size, report["input"])]}
        sizes, runs = report["settings"]["guest"]["detector_sizes"], report["counts"]["other"]["detector_frames"]
        if len(sizes) == 1:
            return [(image(sizes[0]), 1)]
        # every run reads all sizes or, where nobody is lost, their mean (`sizes_for` in guest/overlay/src/options.rs)
        thorough = (rows - runs) / (len(sizes) - 1)
        between = sum(sizes) // len(sizes)
        return [*((image(size), thorough / rows) for size in sizes), (image(between), (runs - thorough) / rows)]
    if model.startswith("pose_landmark"):
        return [({"image": [3, LANDMARK_INPUT, LANDMARK_INPUT]}, 1)]
    return [({"rotations": [24, 3, 3], "shape": [12]}, 1)]


def _fitted(long_side, picture):
    """Height and width of the detector's input: multiples of 32, the frame's aspect (guest/kit/src/movenet/letterbox.rs)."""
    up = lambda side: -(-round(side) // MULTIPLE) * MULTIPLE
    scale = up(long_side) / max(picture["width"], picture["height"])
    return up(picture["height"] * scale), up(picture["width"] * scale)


def _figures(runs, cores):
    """Seconds of CPU time of a job: the floor's parts, what else is known, what is not, and what was left idle."""
    parts = {name: spread(p[name] for _, p in runs) for name in runs[0][1]}
    floors = [sum(p.values()) / cores for _, p in runs]
    walls = [report["wall_seconds"] for report, _ in runs]
    rest = {}
    for report, own in runs:
        stages, sandbox = report["stages"], report["sandbox"]["cpu_seconds"]
        busy = lambda *names, stages=stages: sum(stages[name]["busy_seconds"] for name in names if name in stages)
        known = {
            "guest: fit": sandbox.get("fit", 0.0),
            "guest: all else": sum(seconds for name, seconds in sandbox.items() if name != "fit"),
            "letterboxes and crops (busy time)": busy("nn.letterbox", "nn.crops"),
            "verifying the output (busy time)": busy("verify"),
        }
        known["pipes, conversions, threads in each other's way"] = report["cpu_seconds"] - sum(own.values()) - sum(known.values())
        known["idle, or taken by other work"] = cores * report["wall_seconds"] - report["cpu_seconds"]
        for name, seconds in known.items():
            rest.setdefault(name, []).append(seconds)
    return {
        "cores": cores,
        "parts_cpu_seconds": parts,
        "floor_seconds": spread(floors),
        "wall_seconds": spread(walls),
        "wall_over_floor": spread(wall / floor for wall, floor in zip(walls, floors, strict=True)),
        "rest_cpu_seconds": {name: spread(values) for name, values in rest.items()},
    }


def text(result):
    whole = result["cores"] * result["wall_seconds"]["median"]
    row = lambda name, figure: [name, f"{figure['median']:.2f}", f"{100 * figure['median'] / whole:.1f}"]
    rows = [row(f"floor: {name}", figure) for name, figure in result["parts_cpu_seconds"].items()]
    rows += [row(name, figure) for name, figure in result["rest_cpu_seconds"].items()]
    over = result["wall_over_floor"]
    head = (
        f"{result['clip']}, the floor: {result['floor_seconds']['median']:.2f} s on {result['cores']} cores; the job took {result['wall_seconds']['median']:.2f} s, "
        f"{over['median']:.2f} ({over['lowest']:.2f} to {over['highest']:.2f}) times as long (target: {result['target']:g})"
    )
    return f"{head}\n\n{table(['', 'core seconds', '% of cores x time'], rows)}"
