"""What all parts of the bench share: where things are, scratch space, and how Halfpipe and the peers are called."""

import json
from dataclasses import dataclass
from pathlib import Path

from peer import x264
from runner.environment import PEERS
from runner.process import measure


@dataclass
class Desk:
    """One bench."""

    halfpipe: Path
    guests: Path
    models: Path
    # draws meshes of a folder: an example of halfpipe-render
    drawer: Path
    scratch: Path
    cores: int
    quick: bool
    # interpreters of the two environments; none where they could not be made
    python: str | None
    mediapipe: str | None
    # longer side of what the peers' detector reads
    detector_size: int
    # how everybody encodes, and how many samples a pixel of the bodies has
    preset: str = x264.PRESET
    samples: int = 1

    def environment(self):
        return {"HALFPIPE_GUESTS": str(self.guests), "HALFPIPE_MODELS": str(self.models)}

    def equal_work(self):
        """Options for the peers' policy: the detector on every frame at their size, both landmark passes for everybody."""
        options = {"detector_frames": 1, "landmark_passes": 2, "detector_sizes": f"[{self.detector_size}]"}
        return [word for name, value in options.items() for word in ("--set", f"{name}={value}")]

    def alike(self):
        """Options for the quality that the peers have too."""
        return ["--preset", self.preset, "--set", f"supersample={2 if self.samples == 4 else 1}"]

    def run(self, clip, more=(), name="halfpipe"):
        """Runs a job; gives the measured run, its report, and the files it wrote."""
        video, poses = self.scratch / f"{name}.mp4", self.scratch / f"{name}.jsonl"
        command = [self.halfpipe, "run", clip, "-y", "-q", "--json", "-o", video, "--poses", poses, *more]
        measured = measure(command, env=self.environment())
        return measured, json.loads(measured.stdout), {"video": video, "poses": poses}

    def peer(self, module, arguments, python=None):
        """Runs a module of the peers."""
        return measure([python or self.python, "-m", f"peer.{module}", *map(str, arguments)], cwd=PEERS, env={"PYTHONDONTWRITEBYTECODE": "1"})
