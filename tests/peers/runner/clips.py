"""Clips to measure on: two real ones, and what ffmpeg makes of them."""

import json
import subprocess

from runner.failure import Failure

# Tiles of a picture with up to ten people.
COLUMNS, ROWS = 5, 2
TILE = (360, 640)


def ffmpeg(arguments, output):
    """Makes a file and gives its path."""
    command = ["ffmpeg", "-y", "-loglevel", "error", *[str(a) for a in arguments], str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"ffmpeg cannot make {output}: {done.stderr.strip()}")
    return output


def facts(clip):
    """Width, height, rate and the number of frames, counted."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-of", "json"]
    command += ["-show_entries", "stream=width,height,nb_read_packets,avg_frame_rate", str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{clip} cannot be read: {done.stderr.strip()}")
    stream = json.loads(done.stdout)["streams"][0]
    rate, per = map(int, stream["avg_frame_rate"].split("/"))
    return {"width": stream["width"], "height": stream["height"], "frames": int(stream["nb_read_packets"]), "rate": rate / max(per, 1)}


def cut(clip, frames, output, start=0.0, filters="null"):
    """The frames from `start` seconds on, encoded anew so that what comes out is exactly as long."""
    return ffmpeg(["-ss", start, "-i", clip, "-vf", filters, "-frames:v", frames, "-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-an"], output)


def repeated(clip, times, output):
    """The same clip over and over, without encoding it anew."""
    return ffmpeg(["-stream_loop", times - 1, "-i", clip, "-c", "copy", "-an"], output)


def loop(clip, seconds, output):
    """The clip over and over until `seconds` are full."""
    return ffmpeg(["-stream_loop", -1, "-t", seconds, "-i", clip, "-c", "copy", "-an"], output)


def crowd(clip, people, frames, output):
    """The clip's one person 1 to 10 times side by side, on a picture that is of one size however many there are."""
    width, height = TILE
    copies = "".join(f"[c{i}]" for i in range(people))
    chain = [f"[1:v]scale={width}:{height}:force_original_aspect_ratio=decrease,split={people}{copies}"]
    at = "0:v"
    for i in range(people):
        x, y = i % COLUMNS * width, i // COLUMNS * height
        chain.append(f"[{at}][c{i}]overlay={x}:{y}:shortest=1[o{i}]")
        at = f"o{i}"
    rate = facts(clip)["rate"]
    background = ["-f", "lavfi", "-i", f"color=gray:size={COLUMNS * width}x{ROWS * height}:rate={rate}"]
    arguments = [*background, "-stream_loop", -1, "-i", clip, "-filter_complex", ";".join(chain), "-map", f"[{at}]", "-frames:v", frames]
    return ffmpeg([*arguments, "-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-pix_fmt", "yuv420p"], output)
