#!/usr/bin/env python3
"""Measures Halfpipe against what a user would otherwise write in Python, and against its own floor: `make bench`.

Parts: versus, drawing, floor, server, growth, overlap; memory only where it is named. Figures are medians over rounds with the lowest and
highest in brackets, and ratios are taken within a round, since other work on the machine slows a whole round. Nothing else should run
meanwhile: the load before each run is printed and written.

    python3 tests/peers/bench.py                          everything but memory, three rounds; about an hour on two cores
    python3 tests/peers/bench.py --quick                  one round on cuts of the clips: does it all work?
    python3 tests/peers/bench.py --only versus --rounds 5
    python3 tests/peers/bench.py --only memory            300 and 30,000 frames, and 1080p

Writes bench.json and bench.md, the same for people, into the output folder after every part.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peer import x264
from runner import clips, drawing, environment, floor, growth, memory, server, summary, versus
from runner.desk import Desk
from runner.failure import Failure

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PARTS = ("versus", "drawing", "floor", "server", "growth", "overlap", "memory")
DEFAULT = PARTS[:-1]
LOOP_SECONDS = 60
# Parts that need the peers' environment.
OF_PEERS = ("drawing", "floor")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--halfpipe", type=Path, default=REPOSITORY / "target/release/halfpipe")
    parser.add_argument("--drawer", type=Path, default=REPOSITORY / "target/release/examples/meshes", help="halfpipe-render's example of that name")
    parser.add_argument("--guests", type=Path, default=os.environ.get("HALFPIPE_GUESTS") or REPOSITORY / "target/guests")
    parser.add_argument("--models", type=Path, default=os.environ.get("HALFPIPE_MODELS") or environment.cache() / "models")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "out/bench", help="folder of bench.json and bench.md")
    parser.add_argument("--scratch", type=Path, help="folder for videos meanwhile; the system's otherwise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop-rounds", type=int, default=1, help="of the 60 s clip, on which one round takes about 20 minutes; 0 leaves it out")
    parser.add_argument("--detector-size", type=int, default=384, help="what the peers' detector reads, and Halfpipe's for equal work; pixels, longer side")
    parser.add_argument("--preset", default=x264.PRESET, help="x264's, for Halfpipe and peers alike (versus)")
    parser.add_argument("--samples", type=int, choices=(1, 4), default=1, help="of a pixel, for Halfpipe and the tuned peers alike (versus); pyrender's own are 4")
    parser.add_argument("--quick", action="store_true", help="one round on cuts of the clips, without the 60 s clip")
    parser.add_argument("--only", type=lambda text: text.split(","), default=DEFAULT, help=f"parts, with commas between: {', '.join(PARTS)}")
    parser.add_argument("--no-peers", action="store_true", help="Halfpipe alone: no Python environments are made")
    args = parser.parse_args()
    unknown = [part for part in args.only if part not in PARTS]
    if unknown or args.rounds < 1 or args.loop_rounds < 0:
        parser.error(f"parts are {', '.join(PARTS)}; rounds at least 1")
    return args


class Bench:
    """The parts, in order, and what they found so far."""

    def __init__(self, args, scratch):
        self.args, self.rounds = args, 1 if args.quick else args.rounds
        python = mediapipe = None
        if not args.no_peers:
            python = environment.python_for("requirements.txt")
            try:
                mediapipe = environment.python_for("requirements-mediapipe.txt")
            except Failure as e:
                print(f"[bench] without MediaPipe: {e}", file=sys.stderr)
        places = (args.halfpipe.resolve(), args.guests.resolve(), args.models.resolve(), args.drawer.resolve())
        for place in places[: 4 if python else 3]:
            if not place.exists():
                raise Failure(f"{place} is missing; run `make bench`, which builds it")
        cores = len(os.sched_getaffinity(0))
        self.desk = Desk(*places, scratch, cores, args.quick, python, mediapipe, args.detector_size, args.preset, args.samples)
        self.demo = environment.cache() / "clips/sports2d_demo.mp4"
        fixtures = REPOSITORY / "tests/fixtures/clips"
        self.squats, self.person = fixtures / "tfjs_pose_squats.mp4", fixtures / "intel_one_by_one_person.mp4"
        if not self.demo.exists():
            raise Failure(f"{self.demo} is missing; run `make clips`")
        self.makers = json.loads((fixtures / "tfjs_pose_squats.full.json").read_text(encoding="utf-8"))
        settings = {"detector_size": args.detector_size, "preset": args.preset, "samples": args.samples}
        facts = {**settings, "machine": self.machine(cores), "versions": self.versions()}
        self.report = {"schema": "halfpipe.bench/2", "quick": args.quick, **facts, "failures": {}}
        self.pages = []

    def machine(self, cores):
        cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), "unknown")
        return {"cpu": cpu, "cores": cores, "system": platform.platform(), "load_average_before": os.getloadavg()[0], "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}

    def versions(self):
        """Of what is compared; the provenance in Halfpipe's reports says more."""
        found = {"python": platform.python_version(), "ffmpeg": _first_line(["ffmpeg", "-version"]), "halfpipe": _first_line([self.args.halfpipe, "--version"])}
        for name, python in (("peers", self.desk.python), ("mediapipe", self.desk.mediapipe)):
            if python:
                found[name] = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout.split()
        return found

    def run(self):
        for part in self.args.only:
            if part in OF_PEERS and not self.desk.python:
                print(f"[bench] {part} is left out: it needs the peers' environment", flush=True)
                continue
            begun = time.monotonic()
            print(f"[bench] {part}", flush=True)
            try:
                self.report[part], text = getattr(self, part)()
            except Failure as e:
                # the other parts are worth having
                text = f"{part} failed: {e}"
                self.report["failures"][part] = str(e)
            print(f"\n{text}\n\n[bench] {part} took {time.monotonic() - begun:.0f} s\n", flush=True)
            self.pages.append(text)
            self.write()
        print(summary.text(self.report), flush=True)
        print(f"\n[bench] written: {self.args.output / 'bench.json'}, {self.args.output / 'bench.md'}", flush=True)
        if failed := self.report["failures"]:
            raise Failure(f"no figures of {', '.join(failed)}: {'; '.join(failed.values())}")

    def write(self):
        self.args.output.mkdir(parents=True, exist_ok=True)
        (self.args.output / "bench.json").write_text(json.dumps(self.report, indent=1) + "\n", encoding="utf-8")
        m = self.report["machine"]
        head = f"{m['cores']} cores, {m['cpu']}, load {m['load_average_before']:.1f} before the start, {m['begun']}"
        (self.args.output / "bench.md").write_text("\n\n".join([head, summary.text(self.report), *self.pages]) + "\n", encoding="utf-8")

    def short(self, clip, frames, start=0.0):
        """The clip, or a cut of it where only the bench itself is tried."""
        return clips.cut(clip, frames, self.desk.scratch / f"cut-{clip.name}", start) if self.args.quick else clip

    def versus(self):
        squats = self.short(self.squats, 10)
        fields = [(squats, self.rounds, versus.ALL, self.makers[:10] if self.args.quick else self.makers)]
        if not self.args.quick:
            fields.insert(0, (self.demo, self.rounds, versus.ALL, None))
            if self.args.loop_rounds:
                loop = clips.loop(self.demo, LOOP_SECONDS, self.desk.scratch / "sports2d_demo_60s.mp4")
                fields.append((loop, self.args.loop_rounds, versus.LONG, None))
        results = []
        for clip, rounds, field, reference in fields:
            print(f"  {clip.name}", flush=True)
            results.append(versus.compare(self.desk, clip, rounds, field, reference))
        return results, "\n\n".join(map(versus.text, results))

    def drawing(self):
        results = []
        for clip in (self.short(self.demo, 16, start=4), self.short(self.squats, 10)):
            _, _, files = self.desk.run(clip, name="drawing")
            results.append(drawing.compare(self.desk, files["poses"], self.rounds))
        return results, "\n\n".join(map(drawing.text, results))

    def floor(self):
        results = [floor.compare(self.desk, clip, self.rounds) for clip in (self.short(self.demo, 16, start=4), self.short(self.squats, 10))]
        return results, "\n\n".join(map(floor.text, results))

    def server(self):
        squats = self.short(self.squats, 10)
        result = {"jobs": server.jobs(self.desk, squats, 2 if self.args.quick else 10), "two": server.two(self.desk, squats, self.rounds)}
        return result, server.text(result)

    def growth(self):
        result = {
            "length": growth.length(self.desk, self.person, 2 if self.args.quick else 20, self.rounds),
            "people": growth.people(self.desk, self.squats, self.rounds),
        }
        return result, growth.text(result)

    def overlap(self):
        """`halfpipe bench`: the pipeline against running it one frame at a time."""
        named = [self.short(self.squats, 10)] if self.args.quick else []
        command = [self.desk.halfpipe, "bench", "--repeats", str(self.rounds), *named]
        environ = {**os.environ, **self.desk.environment()}
        done = subprocess.run([*command, "--json"], env=environ, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"`halfpipe bench` failed: {done.stderr.strip().splitlines()[-1]}")
        result = json.loads(done.stdout)
        lines = ["overlapped against one frame at a time (`halfpipe bench` prints the whole of it):"]
        for clip in result["clips"]:
            for r in clip["ratios"]:
                f = r["frames_per_second"]
                lines.append(f"  {Path(clip['clip']).name}: {r['variant']} over {r['over']}: {f['median']:.2f} ({f['lowest']:.2f} to {f['highest']:.2f})")
        return result, "\n".join(lines)

    def memory(self):
        result = memory.run(self.desk, self.person, self.demo)
        return result, memory.text(result)


def _first_line(command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main():
    args = arguments()
    try:
        with tempfile.TemporaryDirectory(dir=args.scratch, prefix="halfpipe-bench-") as scratch:
            Bench(args, Path(scratch)).run()
    except Failure as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
