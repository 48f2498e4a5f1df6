"""The pose networks see the person in a real frame where their makers say it is."""

import json
import unittest

import numpy as np

from tests import support
from tests.support import run, session

# Pixels of the clip; the makers of BlazePose allow 28 in their own test of this clip.
SQUATS_TOLERANCE_PX = 28.0


class NetworkTest(unittest.TestCase):
    """The pose networks on a real frame."""

    def test_movenet_finds_the_person(self):
        reference = json.loads((support.CLIPS / "tfjs_pose_squats.full.json").read_text())
        network = session("movenet_multipose.onnx")
        heads = run(network, image=support.planes(support.squats_frame(0, 288, 512), 1))
        self.assertEqual(heads["center"].shape, (1, 1, 128, 72))
        row, column = np.unravel_index(np.argmax(heads["center"][0, 0]), (128, 72))
        self.assertGreater(heads["center"][0, 0, row, column], 0.3)
        # Key points 11 and 12 are the hips in COCO's order, 23 and 24 in BlazePose's; 10 px of the clip make a cell.
        for coco, blazepose in ((11, 23), (12, 24)):
            dy, dx = heads["kpt_regress"][0, 2 * coco : 2 * coco + 2, row, column]
            found = np.array([column + dx, row + dy]) * 10
            self.assertLess(np.linalg.norm(found - reference[0][blazepose][:2]), 60)

    def test_movenet_takes_any_multiple_of_32(self):
        network = session("movenet_multipose.onnx")
        for height, width in ((256, 256), (160, 416)):
            heads = run(network, image=np.zeros((2, 3, height, width), np.float32))
            self.assertEqual(heads["kpt_heatmap"].shape, (2, 17, height // 4, width // 4))

    def test_landmarks_are_where_the_makers_say(self):
        reference = json.loads((support.CLIPS / "tfjs_pose_squats.full.json").read_text())
        for size in ("lite", "full", "heavy"):
            with self.subTest(size):
                network = session(f"pose_landmark_{size}.onnx")
                for index in (0, 20, 40):
                    # The 720x1280 clip, a fifth of its size, in the middle of a square: 5 px of the clip a pixel.
                    crop = np.zeros((256, 256, 3), np.uint8)
                    crop[:, 56:200] = support.squats_frame(index, 144, 256)
                    outputs = run(network, image=support.planes(crop, 1 / 255))
                    self.assertGreater(outputs["presence"][0, 0], 0.9)
                    points = outputs["landmarks"].reshape(39, 5)[:33, :2]
                    errors = np.linalg.norm((points - [56, 0]) * 5 - np.array(reference[index])[:, :2], axis=1)
                    self.assertLess(errors.mean(), SQUATS_TOLERANCE_PX)

    def test_a_batch_gives_what_its_pictures_give(self):
        rng = np.random.default_rng(3)
        pictures = rng.random((3, 3, 256, 256), dtype=np.float32)
        for entry in support.entries("model"):
            network = session(entry["file"])
            scale = np.float32(1 / (255 * entry["std"][0]))
            together = run(network, image=pictures * scale)
            for index in range(3):
                alone = run(network, image=pictures[index : index + 1] * scale)
                for name, values in alone.items():
                    with self.subTest(entry["name"], output=name):
                        np.testing.assert_allclose(together[name][index], values[0], rtol=1e-3, atol=1e-3)
