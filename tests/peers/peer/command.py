"""What every peer shares: its command line, and what it leaves behind."""

import os

# Matrices are small here; threads of the linear algebra only cost CPU time. It is read when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from pathlib import Path

from peer import x264


def arguments(about, more=lambda parser: None):
    """The command line of a peer."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--models", required=True, help="folder of Halfpipe's model files")
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True, help="the overlay video")
    parser.add_argument("--poses", required=True, help="JSON of every frame's people")
    parser.add_argument("--detector-size", type=int, default=384, help="longer side of the detector's input")
    parser.add_argument("--landmark-passes", type=int, default=2, choices=(1, 2))
    parser.add_argument("--landmarks", default="full", choices=("lite", "full", "heavy"))
    parser.add_argument("--opacity", type=float, default=0.6)
    parser.add_argument("--preset", default=x264.PRESET)
    parser.add_argument("--quality", type=int, default=x264.QUALITY)
    parser.add_argument("--renderer", default="tuned", choices=("new", "kept", "tuned"))
    parser.add_argument("--samples", type=int, default=4, choices=(1, 4), help="samples a pixel of the bodies")
    more(parser)
    return parser.parse_args()


def rig_file(args):
    """The rig of the default body."""
    return Path(args.models) / "halfpipe_body.rig.safetensors"


def write_poses(args, size, joint_names, frames):
    """`frames` holds a list of people a frame."""
    facts = {"width": size[0], "height": size[1], "focal": 1.1 * max(size), "joint_names": joint_names}
    Path(args.poses).write_text(json.dumps({**facts, "frames": frames}), encoding="utf-8")


def report(frames, drawn, inferences, clock):
    """One line of JSON on stdout, for whoever compares."""
    stages = {name: {"busy_seconds": wall, "cpu_seconds": clock.cpu[name]} for name, wall in clock.wall.items()}
    people = sum(len(frame) for frame in frames)
    print(json.dumps({"frames": len(frames), "frames_drawn": drawn, "people": people, "inferences": inferences, "stages": stages}), flush=True)
