"""The README's performance table, out of everything a bench found."""

from runner.figures import mib, ranged, table


def text(report):
    """Two tables: frames/s of everybody on every clip, and each target beside what was measured. Parts that did not run are left out."""
    return "\n\n".join(part for part in (_contestants(report), _targets(report)) if part)


def _contestants(report):
    clips = report.get("versus")
    if not clips:
        return ""
    names = list(dict.fromkeys(name for clip in clips for name in clip["contestants"]))
    cell = lambda f: f"{ranged(f['frames_per_second'], 1)}; {f['cpu_ms_per_frame']['median']:.0f}; {mib(f['peak_rss_bytes']['highest'])}" if f else ""
    rows = [[name, *(cell(clip["contestants"].get(name)) for clip in clips)] for name in names]
    return table(["frames/s; CPU-ms a frame; peak RSS in MiB", *(f"`{clip['clip']}`" for clip in clips)], rows)


def _targets(report):
    rows = []

    def add(what, target, *figures):
        rows.append([what, target, ", ".join(figures)])

    for ratio in report["versus"][0]["ratios"] if report.get("versus") else []:
        mine = [next((r for r in clip["ratios"] if (r["of"], r["target"]) == (ratio["of"], ratio["target"])), None) for clip in report["versus"]]
        over = "the better pool" if ratio["over"].startswith("pool") else ratio["over"]
        add(f"{ratio['of']}: frames/s over {over}", f"at least {ratio['target']:g}", *(ranged(r["frames_per_second"], 2) for r in mine if r))
        if ratio["of"] != "Halfpipe":
            add(f"{ratio['of']}: bodies/s over {over}", "", *(ranged(r["bodies_per_second"], 2) for r in mine if r and r["bodies_per_second"]))
    if drawn := report.get("drawing"):
        over = [clip["ways"]["pyrender, a new renderer a frame"]["halfpipe_over_it"] for clip in drawn]
        add("drawing alone over a new pyrender renderer a frame", f"at least {drawn[0]['target']:g}", *(ranged(f, 1) for f in over))
    if floors := report.get("floor"):
        add("wall time over the floor", f"at most {floors[0]['target']:g}", *(ranged(f["wall_over_floor"], 2) for f in floors))
        add("wall time over the floor with every core at work", "", *(ranged(f["wall_over_floor_on_all_cores"], 2) for f in floors))
    if server := report.get("server"):
        jobs, targets = server["jobs"], server["jobs"]["targets"]
        share = {name: 100 * value for name, value in jobs["sandbox_share_of_wall"].items()}
        add("guest, crossings and instantiation, without the fit, % of wall time", f"at most {100 * targets['sandbox_share_of_wall']:g}", ranged(share, 2))
        add("instantiate, us", f"at most {targets['instantiate_microseconds']:g}", ranged(jobs["instantiate_microseconds"], 0))
        add("request to first batch on a warm server, ms", f"at most {targets['first_batch_ms']:g}", ranged(jobs["first_batch_ms"], 0))
        two = server["two"]
        add("two jobs at once over one after the other", f"at most {two['target']:g}", ranged(two["at_once_over_one_after_the_other"], 2))
    if grown := report.get("growth"):
        length = grown["length"]
        frames = length["frames"]
        add(f"frames/s, {frames[1]:,} frames over {frames[0]}", f"at least {1 - length['target']:g}", ranged(length["long_over_short"], 2))
        most = list(grown["people"]["people"].items())[-1]
        cost = f"{most[1]['cpu_ms_per_frame']['median']:.0f} of {most[1]['explained_cpu_ms_per_frame']:.0f}"
        add(f"CPU-ms a frame with {most[0]} people, of what one person and a fuller picture explain", "at most as much", cost)
    if memory := report.get("memory"):
        frames, targets = memory["frames"], memory["targets"]
        add(f"peak memory, {frames[1]:,} frames over {frames[0]}", f"at most {targets['long_over_short']:g}", f"{memory['long_over_short']:.2f}")
        add("peak memory at 1080p, MiB", f"below {mib(targets['peak_rss_bytes_1080p'])}", mib(memory["peak_rss_bytes_1080p"]))
    return table(["what", "target", "measured, in the order of the clips"], rows) if rows else ""
