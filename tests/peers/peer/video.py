"""Frames in through OpenCV, frames out through an ffmpeg process."""

import contextlib
import fcntl
import subprocess

import cv2
import numpy as np

from peer import x264

PIPE_BYTES = 1 << 20


def open_video(path):
    """The reader, and the video's width, height and frames a second."""
    reader = cv2.VideoCapture(path)
    if not reader.isOpened():
        raise SystemExit(f"{path} cannot be opened")
    facts = [reader.get(fact) for fact in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)]
    return reader, int(facts[0]), int(facts[1]), facts[2] or 30.0


class Encoder:
    """H.264 at the preset and quality that Halfpipe uses."""

    def __init__(self, path, width, height, rate, preset, quality):
        source = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", f"{rate:.6f}", "-i", "-"]
        even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"] if width % 2 or height % 2 else []
        codec = ["-an", *x264.arguments(preset, quality), "-movflags", "+faststart"]
        command = ["ffmpeg", "-y", "-loglevel", "error", *source, *even, *codec, path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def write(self, frame):
        """One frame, uint8 BGR."""
        rest = memoryview(np.ascontiguousarray(frame)).cast("B")
        while rest:  # an unbuffered pipe may take a part
            rest = rest[self.process.stdin.write(rest) :]

    def close(self):
        """Waits for the file to be whole."""
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit("ffmpeg could not write the video")
