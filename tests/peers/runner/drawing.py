"""Drawing alone: the same bodies at the same size, read back and blended, by Halfpipe's renderer and by pyrender."""

from runner.figures import ranged, ratios, spread, table
from runner.process import measure

TARGET = 8.0
MOST_FRAMES = 60


def compare(desk, poses, rounds):
    """In turn, in rounds. `poses` is the poses.jsonl of a run."""
    folder = desk.scratch / "meshes"
    most = 8 if desk.quick else MOST_FRAMES
    facts = desk.peer("alone", ["meshes", "--models", desk.models, "--poses", poses, "--folder", folder, "--most", most]).result()
    ways = {
        "Halfpipe": lambda: draw(desk, folder, facts),
        "pyrender, a new renderer a frame": lambda: pyrender(desk, folder, "new"),
        "pyrender, one renderer kept": lambda: pyrender(desk, folder, "kept"),
        "pyrender, tuned": lambda: pyrender(desk, folder, "tuned"),
        "pyrender, tuned, one sample a pixel": lambda: pyrender(desk, folder, "tuned", samples=1),
    }
    runs = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            runs[name].append(run())
    rates = {name: [run["frames"] / run["wall_seconds"] for run in group] for name, group in runs.items()}
    figures = {
        name: {
            "frames_per_second": spread(rates[name]),
            "cpu_ms_per_frame": spread(run["cpu_seconds"] * 1e3 / run["frames"] for run in group),
            "halfpipe_over_it": ratios(rates["Halfpipe"], rates[name]),
        }
        for name, group in runs.items()
    }
    return {**facts, "rounds": rounds, "target": TARGET, "ways": figures}


def draw(desk, folder, facts):
    """Halfpipe's renderer, as its draw lane runs it."""
    return measure([desk.drawer, folder, facts["width"], facts["height"], facts["focal"]]).result()


def pyrender(desk, folder, care, samples=4):
    return desk.peer("alone", ["draw", "--folder", folder, "--renderer", care, "--samples", samples]).result()


def text(result):
    head = f"drawing alone: {result['bodies']} bodies in {result['frames']} frames of {result['width']}x{result['height']}, read back and blended"
    rows = [
        [name, ranged(f["frames_per_second"], 1), ranged(f["cpu_ms_per_frame"], 1), ranged(f["halfpipe_over_it"], 2)]
        for name, f in result["ways"].items()
    ]
    note = f"(target: {result['target']:g} times a new renderer a frame)"
    return f"{head}\n\n{table(['', 'frames/s', 'CPU-ms a frame', 'Halfpipe over it'], rows)}\n\n{note}"
