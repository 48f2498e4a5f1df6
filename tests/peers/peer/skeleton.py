"""MediaPipe's own pose solution: one person, followed, a 2D skeleton drawn by its drawing utilities. No body.

Its networks are in its package, so the options about models, detector and renderer are taken and not used.
"""

from peer import command  # first: it sets what NumPy reads when it is imported

import cv2
import mediapipe

from peer.clock import StageClock
from peer.video import Encoder, open_video

COMPLEXITY = {"lite": 0, "full": 1, "heavy": 2}


def main():
    args = command.arguments(__doc__)
    clock = StageClock()
    solution, drawing = mediapipe.solutions.pose, mediapipe.solutions.drawing_utils
    style = mediapipe.solutions.drawing_styles.get_default_pose_landmarks_style()
    network = solution.Pose(model_complexity=COMPLEXITY[args.landmarks])
    reader, width, height, rate = open_video(args.input)
    encoder = Encoder(args.output, width, height, rate, args.preset, args.quality)
    frames, drawn = [], 0
    while True:
        with clock("decode"):
            there, frame = reader.read()
        if not there:
            break
        with clock("landmarks"):
            found = network.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).pose_landmarks
        people = []
        if found:
            with clock("draw"):
                drawing.draw_landmarks(frame, found, solution.POSE_CONNECTIONS, landmark_drawing_spec=style)
            drawn += 1
            people = [{"landmarks2d": [[round(p.x * width, 2), round(p.y * height, 2), round(p.visibility, 3)] for p in found.landmark]}]
        with clock("encode"):
            encoder.write(frame)
        frames.append(people)
    with clock("encode"):
        encoder.close()
    network.close()
    command.write_poses(args, (width, height), [], frames)
    command.report(frames, drawn, {}, clock)


if __name__ == "__main__":
    main()
