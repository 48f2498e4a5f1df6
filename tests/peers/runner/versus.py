"""Halfpipe and its peers on the same clips, in turn: A B C A B C ..., whole processes from start to exit."""

from dataclasses import dataclass

from runner import clips, quality
from runner.failure import Failure
from runner.figures import mib, ranged, ratios, spread, table


@dataclass
class Contestant:
    """One way to do the work."""

    name: str
    # module of the peers and its options; none for Halfpipe
    module: str | None = None
    options: tuple = ()
    mediapipe: bool = False
    # Halfpipe with the peers' policy
    equal: bool = False


HALFPIPE = Contestant("Halfpipe")
EQUAL = Contestant("Halfpipe, equal work", equal=True)
NEW = Contestant("sequential, a new renderer a frame", "sequential", ("--renderer", "new"))
KEPT = Contestant("sequential, one renderer kept", "sequential", ("--renderer", "kept"))
TUNING = ("--renderer", "tuned")
TUNED = Contestant("sequential, tuned renderer", "sequential", TUNING)
POOL_2 = Contestant("pool of 2, tuned renderer", "pool", (*TUNING, "--workers", "2"))
POOL_4 = Contestant("pool of 4, tuned renderer", "pool", (*TUNING, "--workers", "4"))
SKELETON = Contestant("MediaPipe, 2D skeleton of one person", "skeleton", mediapipe=True)
ALL = (HALFPIPE, EQUAL, NEW, KEPT, TUNED, POOL_2, POOL_4, SKELETON)
# On a long clip: those that a target names. The sequential peer takes minutes there.
LONG = (HALFPIPE, EQUAL, NEW, POOL_2, SKELETON)
POOLS = (POOL_2, POOL_4)

# Least frames/s of Halfpipe over a peer's.
TARGETS = (
    (HALFPIPE, (NEW,), 8.0),
    (HALFPIPE, POOLS, 3.0),
    (EQUAL, POOLS, 1.8),
    (HALFPIPE, (SKELETON,), 1.0),
)


def compare(desk, clip, rounds, field, reference=None):
    """Runs the field in rounds. Gives figures of each contestant, ratios, and how good their poses are."""
    facts = clips.facts(clip)
    field = [c for c in field if c.module is None or (desk.mediapipe if c.mediapipe else desk.python)]
    runs, found = {c.name: [] for c in field}, {}
    for at in range(rounds):
        for contestant in field:
            run, people = _run(desk, clip, contestant, facts)
            runs[contestant.name].append(run)
            found[contestant.name] = people
            print(
                f"  round {at + 1} of {rounds}: {contestant.name:<38} {run['frames_per_second']:6.2f} frames/s, "
                f"{run['cpu_ms_per_frame']:6.1f} CPU-ms a frame, load {run['load_average']:.1f} before",
                flush=True,
            )
    figures = {name: _figures(group) for name, group in runs.items()}
    return {
        "clip": clip.name,
        **facts,
        "rounds": rounds,
        "contestants": figures,
        "ratios": _ratios(runs),
        "quality": quality.compare(found, HALFPIPE.name, EQUAL.name, reference),
    }


def _run(desk, clip, contestant, facts):
    if contestant.module is None:
        measured, report, files = desk.run(clip, [*desk.alike(), *(desk.equal_work() if contestant.equal else ())])
        frames, counts = report["counts"]["frames"], report["counts"]
        rows = {name.removeprefix("nn.infer."): stage["items"] for name, stage in report["stages"].items() if name.startswith("nn.infer.")}
        inferences = {"detector": rows.get("movenet_multipose", 0), "landmarks": sum(n for name, n in rows.items() if "landmark" in name)}
        people = quality.halfpipes(files["poses"])
        tracks = counts["tracks"]
    else:
        files = {"video": desk.scratch / "peer.mp4", "poses": desk.scratch / "peer.json"}
        arguments = ["--models", desk.models, "--input", clip, "--output", files["video"], "--poses", files["poses"]]
        arguments += ["--detector-size", desk.detector_size, "--preset", desk.preset, *contestant.options]
        if "tuned" in contestant.options:
            arguments += ["--samples", desk.samples]
        measured = desk.peer(contestant.module, arguments, desk.mediapipe if contestant.mediapipe else None)
        counts = measured.result()
        frames, inferences, tracks = counts["frames"], counts["inferences"], None
        people = quality.peers(files["poses"])
    written = clips.facts(files["video"])["frames"]
    if not facts["frames"] == frames == written:
        raise Failure(
            f"{contestant.name} read {frames} and wrote {written} of the {facts['frames']} frames of {clip.name}; "
            "times of different work cannot be compared"
        )
    run = {
        "wall_seconds": measured.wall_seconds,
        "frames_per_second": frames / measured.wall_seconds,
        "cpu_ms_per_frame": measured.cpu_seconds * 1e3 / frames,
        "peak_rss_bytes": measured.peak_rss_bytes,
        "load_average": measured.load_average,
        "found": {"people": counts["people"], "tracks": tracks, "frames_drawn": counts["frames_drawn"], "inferences": inferences},
    }
    return run, people


def _figures(runs):
    """Spreads over the rounds, and what was found in the first; `repeatable` says whether the others found the same people.

    Not by as many inferences: Halfpipe's detector looks ahead where somebody is lost, and what is given up may have begun or not.
    """
    names = ("wall_seconds", "frames_per_second", "cpu_ms_per_frame", "peak_rss_bytes", "load_average")
    found = runs[0]["found"]
    return {**{name: spread(run[name] for run in runs) for name in names}, **found, "repeatable": all(_people(run["found"]) == _people(found) for run in runs)}


def _people(found):
    return {name: value for name, value in found.items() if name != "inferences"}


def _ratios(runs):
    rates = {name: [run["frames_per_second"] for run in group] for name, group in runs.items()}
    cpu = {name: [run["cpu_ms_per_frame"] for run in group] for name, group in runs.items()}
    # who finds more people has more to do
    bodies = {name: [run["found"]["people"] / run["wall_seconds"] for run in group] for name, group in runs.items()}
    found = []
    for own, rivals, target in TARGETS:
        there = [c.name for c in rivals if c.name in rates]
        if own.name not in rates or not there:
            continue
        best = max(there, key=lambda name: spread(rates[name])["median"])
        found.append(
            {
                "of": own.name,
                "over": best,
                "frames_per_second": ratios(rates[own.name], rates[best]),
                "bodies_per_second": ratios(bodies[own.name], bodies[best]) if min(bodies[best]) > 0 else None,
                "cpu_per_frame": ratios(cpu[own.name], cpu[best]),
                "target": target,
            }
        )
    return found


def text(result):
    """What a person reads."""
    rows = []
    for name, f in result["contestants"].items():
        inferences = f["inferences"]
        rows.append(
            [
                name,
                ranged(f["frames_per_second"], 2),
                ranged(f["cpu_ms_per_frame"], 0),
                mib(f["peak_rss_bytes"]["highest"]),
                f"{f['people']}{'' if f['repeatable'] else ' (varies)'}",
                "-" if f["tracks"] is None else f["tracks"],
                f["frames_drawn"],
                f"{inferences['detector']} + {inferences['landmarks']}" if inferences else "its own",
            ]
        )
    head = f"{result['clip']}: {result['width']}x{result['height']}, {result['frames']} frames, {result['rounds']} rounds, median (lowest to highest)"
    heads = ["", "frames/s", "CPU-ms a frame", "peak RSS, MiB", "bodies", "tracks", "frames drawn", "inferences"]
    parts = [head, table(heads, rows)]
    if result["ratios"]:
        ratio = lambda figure: ranged(figure, 2) if figure else "-"
        rows = [
            [r["of"], r["over"], ratio(r["frames_per_second"]), f"{r['target']:g}", _met(r), ratio(r["bodies_per_second"]), ratio(r["cpu_per_frame"])]
            for r in result["ratios"]
        ]
        parts.append(table(["", "against", "frames/s ratio", "at least", "met", "bodies/s ratio", "CPU-ms a frame ratio"], rows))
    parts.append(quality.text(result["quality"]))
    return "\n\n".join(part for part in parts if part)


def _met(ratio):
    """Whether the median reaches the target, and whether every round does."""
    figure, target = ratio["frames_per_second"], ratio["target"]
    if figure["lowest"] >= target:
        return "yes"
    return "in the median" if figure["median"] >= target else "no"
