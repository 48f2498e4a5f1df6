"""How Halfpipe encodes, for peers that shall encode the same way. Standard library only: the runner uses it too."""

# what a job leaves open is the default of host/media (EncodeOptions)
PRESET, QUALITY = "superfast", 20


def arguments(preset=None, quality=None):
    """ffmpeg's arguments, as in host/media/src/ffmpeg/encode_args.rs."""
    preset, quality = preset or PRESET, QUALITY if quality is None else quality
    tree = ["-x264-params", "mbtree=1:rc-lookahead=10"] if preset in ("ultrafast", "superfast") else []
    return ["-c:v", "libx264", "-preset", preset, "-crf", str(quality), *tree, "-pix_fmt", "yuv420p"]
