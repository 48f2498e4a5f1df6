"""Memory of long clips, and of 1080p. Takes half an hour and more, so it runs only when it is asked for."""

from runner import clips
from runner.figures import mib

FRAMES, TIMES = 300, 100
LIMIT_1080P = 1 << 30
FLAT = 1.1


def run(desk, person, demo):
    """Peak memory of the host at 300 frames, 100 times as many, and at 1080p."""
    times = 3 if desk.quick else TIMES
    short = clips.cut(person, FRAMES, desk.scratch / "m-short.mp4", start=50, filters="scale=384:-2")
    long = clips.repeated(short, times, desk.scratch / "m-long.mp4")
    peaks = [desk.run(clip)[1]["peak_rss_bytes"] for clip in (short, long)]
    large = clips.cut(demo, 30 if desk.quick else 230, desk.scratch / "m-1080p.mp4", filters="scale=1920:1080")
    return {
        "frames": [FRAMES, FRAMES * times],
        "peak_rss_bytes": peaks,
        "long_over_short": peaks[1] / peaks[0],
        "peak_rss_bytes_1080p": desk.run(large)[1]["peak_rss_bytes"],
        "targets": {"long_over_short": FLAT, "peak_rss_bytes_1080p": LIMIT_1080P},
    }


def text(result):
    short, long = result["peak_rss_bytes"]
    return (
        f"memory: {mib(short)} MiB for {result['frames'][0]} frames, {mib(long)} MiB for {result['frames'][1]} (ratio {result['long_over_short']:.2f}, "
        f"target: at most {result['targets']['long_over_short']:g}); 1080p {mib(result['peak_rss_bytes_1080p'])} MiB (target: below {mib(LIMIT_1080P)})"
    )
