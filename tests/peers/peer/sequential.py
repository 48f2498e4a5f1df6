"""The sequential peer: one process, frame by frame, decode -> detect -> landmarks -> fit -> skin -> draw -> encode."""

from peer import command  # first: it sets what NumPy reads when it is imported

from peer.clock import StageClock
from peer.draw import Renderer
from peer.pipeline import Pipeline
from peer.video import Encoder, open_video


def main():
    args = command.arguments(__doc__)
    clock = StageClock()
    work = Pipeline(args, clock)
    reader, width, height, rate = open_video(args.input)
    renderer = Renderer(width, height, work.body.faces, args.renderer, clock, args.samples)
    encoder = Encoder(args.output, width, height, rate, args.preset, args.quality)
    frames, drawn = [], 0
    while True:
        with clock("decode"):
            there, frame = reader.read()
        if not there:
            break
        people, vertices = work(frame)
        drawn += renderer.overlay(frame, vertices, args.opacity)
        with clock("encode"):
            encoder.write(frame)
        frames.append(people)
    with clock("encode"):
        encoder.close()
    renderer.close()
    command.write_poses(args, (width, height), work.body.joint_names, frames)
    command.report(frames, drawn, work.inferences(), clock)


if __name__ == "__main__":
    main()
