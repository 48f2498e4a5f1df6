"""The floor: CPU seconds of what cannot be left out, each alone, over the cores; and where the rest of a job's time went.

Unavoidable are decoding, the inferences that the job really ran, drawing its bodies, and encoding. Each is run by itself with the least
CPU time we know how: ffmpeg alone (its start is in it, as in a job), networks on one thread, Halfpipe's renderer with nothing beside it.
Then each is run as many times at once as there are cores: a job has no core to itself, so that is what its parts cost at least.
"""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import fmean

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
            meshes = _meshes(desk, files)
            ways = {
                "decode": lambda: decode(clip),
                "inferences": lambda report=report: _inferences(desk, report),
                "drawing": lambda meshes=meshes: drawing.draw(desk, *meshes)["cpu_seconds"],
                "encode": lambda report=report: encode(frames, report),
            }
            alone = {name: way() for name, way in ways.items()}
            runs.append((report, alone, {name: _on_all_cores(way, desk.cores) for name, way in ways.items()}))
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


def _on_all_cores(way, cores):
    """CPU seconds of one of as many runs at once as there are cores: clock, caches and memory are shared, so each costs more than alone."""
    with ThreadPoolExecutor(cores) as pool:
        return fmean(pool.map(lambda _: way(), range(cores)))


def _meshes(desk, files):
    """What the renderer alone draws: a folder, and its facts."""
    folder = desk.scratch / "floor-meshes"
    return folder, desk.peer("alone", ["meshes", "--models", desk.models, "--poses", files["poses"], "--folder", folder]).result()


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
    parts, crowded = ({name: spread(run[i][name] for run in runs) for name in runs[0][i]} for i in (1, 2))
    floors, crowded_floors = ([sum(run[i].values()) / cores for run in runs] for i in (1, 2))
    walls = [report["wall_seconds"] for report, _, _ in runs]
    rest = {}
    for report, own, busy_own in runs:
        stages, sandbox = report["stages"], report["sandbox"]["cpu_seconds"]
        busy = lambda *names, stages=stages: sum(stages[name]["busy_seconds"] for name in names if name in stages)
        known = {
            "guest: fit": sandbox.get("fit", 0.0),
            "guest: all else": sum(seconds for name, seconds in sandbox.items() if name != "fit"),
            "letterboxes and crops (busy time)": busy("nn.letterbox", "nn.crops"),
            "verifying the output (busy time)": busy("verify"),
        }
        known["the same parts, as much dearer while all cores compute"] = sum(busy_own.values()) - sum(own.values())
        known["pipes, conversions, threads in each other's way"] = report["cpu_seconds"] - sum(own.values()) - sum(known.values())
        known["idle, or taken by other work"] = cores * report["wall_seconds"] - report["cpu_seconds"]
        for name, seconds in known.items():
            rest.setdefault(name, []).append(seconds)
    return {
        "cores": cores,
        "parts_cpu_seconds": parts,
        "parts_cpu_seconds_on_all_cores": crowded,
        "floor_seconds": spread(floors),
        "wall_seconds": spread(walls),
        "wall_over_floor": spread(wall / floor for wall, floor in zip(walls, floors, strict=True)),
        "wall_over_floor_on_all_cores": spread(wall / floor for wall, floor in zip(walls, crowded_floors, strict=True)),
        "rest_cpu_seconds": {name: spread(values) for name, values in rest.items()},
    }


def text(result):
    whole = result["cores"] * result["wall_seconds"]["median"]
    row = lambda name, figure: [name, f"{figure['median']:.2f}", f"{100 * figure['median'] / whole:.1f}"]
    rows = [row(f"floor: {name}", figure) for name, figure in result["parts_cpu_seconds"].items()]
    rows += [row(name, figure) for name, figure in result["rest_cpu_seconds"].items()]
    over, crowded = result["wall_over_floor"], result["wall_over_floor_on_all_cores"]
    head = (
        f"{result['clip']}, the floor: {result['floor_seconds']['median']:.2f} s on {result['cores']} cores; the job took {result['wall_seconds']['median']:.2f} s, "
        f"{over['median']:.2f} ({over['lowest']:.2f} to {over['highest']:.2f}) times as long (target: {result['target']:g}); "
        f"{crowded['median']:.2f} ({crowded['lowest']:.2f} to {crowded['highest']:.2f}) times the floor whose parts were measured while every core did the same"
    )
    return f"{head}\n\n{table(['', 'core seconds', '% of cores x time'], rows)}"
