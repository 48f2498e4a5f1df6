"""How the price grows: with the length of a clip, and with the people in it."""

from runner import clips, floor
from runner.figures import mib, ranged, ratios, spread, table

LENGTH_TARGET = 0.10
PEOPLE = (1, 2, 5, 10)
# What is done for each person of a frame.
PER_PERSON = ("nn.crops", "nn.infer.pose_landmark_", "nn.infer.halfpipe_body", "draw: normals", "draw: place", "draw: submit", "draw: device", "draw: blend")
SHORT_FRAMES = 300


def length(desk, clip, times, rounds):
    """Frames/s of 300 frames and of the same ones `times` over."""
    frames = 60 if desk.quick else SHORT_FRAMES
    short = clips.cut(clip, frames, desk.scratch / "short.mp4", start=50)
    long = clips.repeated(short, times, desk.scratch / "long.mp4")
    rates, peaks = {short: [], long: []}, {short: [], long: []}
    for _ in range(rounds):
        for video, figures in rates.items():
            _, report, _ = desk.run(video)
            figures.append(report["frames_per_second"])
            peaks[video].append(report["peak_rss_bytes"])
    return {
        "clip": clip.name,
        "frames": [frames, frames * times],
        "rounds": rounds,
        "frames_per_second": [spread(rates[short]), spread(rates[long])],
        "long_over_short": ratios(rates[long], rates[short]),
        "peak_rss_bytes": [max(peaks[short]), max(peaks[long])],
        "target": LENGTH_TARGET,
    }


def people(desk, clip, rounds):
    """CPU time a frame with 1 to 10 people, beside what explains it: one person's stages times as many, and a fuller picture to decode and encode."""
    counts = PEOPLE[::3] if desk.quick else PEOPLE
    frames = 20 if desk.quick else 100
    videos = {count: clips.crowd(clip, count, frames, desk.scratch / f"crowd{count}.mp4") for count in counts}
    runs, codec = {count: [] for count in counts}, {count: [] for count in counts}
    for _ in range(rounds):
        for count, video in videos.items():
            _, report, _ = desk.run(video, ["--people", str(count)])
            runs[count].append(report)
    for count, video in videos.items():
        with floor.drawn(desk, video, ["--people", str(count)]) as pictures:
            for report in runs[count]:
                codec[count].append(1e3 * (floor.decode(video) + floor.encode(pictures, report)) / frames)
    codec = {count: spread(values)["median"] for count, values in codec.items()}
    one = spread(_per_frame(r, _person_seconds(r)) / max(_bodies(r), 1e-9) for r in runs[counts[0]])["median"]
    base = spread(_per_frame(r, r["cpu_seconds"]) for r in runs[counts[0]])["median"]
    rows = {}
    for count, reports in runs.items():
        cpu = spread(_per_frame(r, r["cpu_seconds"]) for r in reports)
        rows[count] = {
            "frames_per_second": spread(r["frames_per_second"] for r in reports),
            "cpu_ms_per_frame": cpu,
            "bodies_per_frame": spread(_bodies(r) for r in reports)["median"],
            "codec_alone_cpu_ms_per_frame": codec[count],
            "explained_cpu_ms_per_frame": base + one * (count - counts[0]) + codec[count] - codec[counts[0]],
        }
    return {"clip": clip.name, "frames": frames, "rounds": rounds, "stages_of_one_person_ms": one, "people": rows}


def _per_frame(report, seconds):
    return 1e3 * seconds / report["counts"]["frames"]


def _bodies(report):
    return report["counts"]["people"] / report["counts"]["frames"]


def _person_seconds(report):
    busy = sum(stage["busy_seconds"] for name, stage in report["stages"].items() if name.startswith(PER_PERSON))
    return busy + sum(report["sandbox"]["cpu_seconds"].values())


def text(result):
    grown, crowd = result["length"], result["people"]
    rates, peaks = grown["frames_per_second"], grown["peak_rss_bytes"]
    lines = [
        f"length, {grown['clip']}: {grown['frames'][0]} frames {ranged(rates[0], 2)} frames/s, {mib(peaks[0])} MiB; {grown['frames'][1]} frames "
        f"{ranged(rates[1], 2)} frames/s, {mib(peaks[1])} MiB; ratio {ranged(grown['long_over_short'], 3)} (target: within {100 * grown['target']:g} %)",
        f"people side by side, {crowd['clip']}, {crowd['frames']} frames; the stages of one person cost {crowd['stages_of_one_person_ms']:.1f} ms a frame:",
    ]
    rows = [
        [
            n,
            f"{f['bodies_per_frame']:.2f}",
            ranged(f["frames_per_second"], 2),
            ranged(f["cpu_ms_per_frame"], 1),
            f"{f['explained_cpu_ms_per_frame']:.1f}",
            f"{f['codec_alone_cpu_ms_per_frame']:.1f}",
        ]
        for n, f in crowd["people"].items()
    ]
    return "\n".join(lines) + "\n\n" + table(["people", "bodies drawn a frame", "frames/s", "CPU-ms a frame", "explained", "decoding and encoding alone"], rows)
