"""HMR2's network: a made-up checkpoint is exported and run, and gives what PyTorch gives for it."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime

from recipes.errors import Failure
from recipes.hmr2 import network, proof
from recipes.hmr2.checkpoint import Checkpoint
from recipes.hmr2.weights import RELEASED, expected, sizes_of
from tests import support
from tests.hmr2 import golden, made_up


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest number wanted."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class NetworkTest(unittest.TestCase):
    """The exported graph against PyTorch's outputs."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        made_up.write_checkpoint(cls.folder / "hmr2.ckpt", made_up.tensors(made_up.REDUCED))
        cls.checkpoint = Checkpoint(cls.folder / "hmr2.ckpt")
        cls.pictures, cls.golden = golden.pictures(), golden.load()

    def export(self, half: bool, external: bool = False) -> onnxruntime.InferenceSession:
        sizes = sizes_of(self.checkpoint.shapes(), self.checkpoint.path, any_size=True)
        self.files = network.write(self.checkpoint, sizes, self.folder / f"{half}_{external}.onnx", half, external)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(self.files[0], options, providers=["CPUExecutionProvider"])

    def assert_matches(self, session, tolerance: float):
        together = support.run(session, img=self.pictures)
        alone = [support.run(session, img=picture[None]) for picture in self.pictures]
        for name, extents in network.OUTPUTS:
            with self.subTest(name):
                self.assertEqual(together[name].shape, (golden.BATCH, *extents[1:]))
                self.assertEqual(together[name].dtype, np.float32)
                self.assertLess(relative(together[name], self.golden[name]), tolerance)
                one_by_one = np.concatenate([outputs[name] for outputs in alone])
                self.assertLess(relative(one_by_one, together[name]), 1e-5, "a batch of one differs from a batch of eight")

    def test_float32_matches_pytorch(self):
        self.assert_matches(self.export(half=False), 1e-4)

    def test_float16_matches_pytorch(self):
        self.assert_matches(self.export(half=True), 1e-2)

    def test_weights_may_lie_in_a_file_of_their_own(self):
        session = self.export(half=False, external=True)
        self.assertEqual([path.name for path in self.files], ["False_True.onnx", "False_True.onnx.data"])
        self.assertLess(self.files[0].stat().st_size, self.files[1].stat().st_size / 20)
        self.assert_matches(session, 1e-4)

    def test_the_pictures_differ_in_their_outputs(self):
        # or a network that ignores its input would match as well
        for name, _ in network.OUTPUTS:
            self.assertGreater(self.golden[name].std(axis=0).max(), 1e-2, name)

    def test_columns_outside_are_not_looked_at(self):
        session = self.export(half=False)
        changed = self.pictures.copy()
        changed[:, :, :, :32] = changed[:, :, :, 224:] = 9
        for name, values in support.run(session, img=changed).items():
            np.testing.assert_array_equal(values, support.run(session, img=self.pictures)[name])

    def test_numbers_too_large_for_float16_are_refused(self):
        def large():
            for name, array in made_up.tensors(made_up.REDUCED):
                yield name, array * 1e6 if name.endswith("blocks.1.mlp.fc1.weight") else array

        made_up.write_checkpoint(self.folder / "large.ckpt", large())
        with self.assertRaisesRegex(Failure, r"blocks\.1\.mlp\.fc1\.weight.*too large for float16.*--fp16"):
            network.write(Checkpoint(self.folder / "large.ckpt"), made_up.REDUCED, self.folder / "large.onnx", half=True)


class ParityTest(unittest.TestCase):
    """The comparison of float16 with float32."""

    @staticmethod
    def outputs(angle: float) -> dict:
        turn = support.rotation_about([0, 0, 1], angle).astype(np.float32)
        rotations = np.tile(turn, (2, 24, 1, 1))
        return {"global_orient": rotations[:, :1], "body_pose": rotations[:, 1:], "betas": np.ones((2, 10)), "pred_cam": np.ones((2, 3))}

    def test_differences_are_told(self):
        half = self.outputs(0.3 + 0.002)
        half["betas"] = half["betas"] * 0.995
        report = proof.compare(half, self.outputs(0.3))
        self.assertAlmostEqual(report["largest_angle_degrees"], np.degrees(0.002), places=4)
        self.assertAlmostEqual(report["betas"]["relative"], 0.005, places=6)
        self.assertEqual(report["pred_cam"]["relative"], 0)

    def test_too_large_a_difference_is_an_error(self):
        half = self.outputs(0.3)
        half["pred_cam"] = half["pred_cam"] * 1.02
        with self.assertRaisesRegex(Failure, "leave out --fp16"):
            proof.compare(half, self.outputs(0.3))
        with self.assertRaisesRegex(Failure, "leave out --fp16"):
            proof.compare({**half, "pred_cam": half["pred_cam"] * np.nan}, self.outputs(0.3))

    def test_outputs_that_are_no_poses_are_errors(self):
        proof.check(self.outputs(0.3))
        with self.assertRaisesRegex(Failure, "no rotation"):
            proof.check({**self.outputs(0.3), "body_pose": np.ones((2, 23, 3, 3))})
        with self.assertRaisesRegex(Failure, "not finite in betas"):
            proof.check({**self.outputs(0.3), "betas": np.full((2, 10), np.inf)})


class WeightsTest(unittest.TestCase):
    """The table of tensors."""

    def test_the_released_network(self):
        # 4D-Humans' checkpoint has so many tensors under backbone. and smpl_head., with so many numbers
        shapes = expected(RELEASED)
        self.assertEqual(len(shapes), 503)
        self.assertEqual(sum(int(np.prod(shape)) for shape in shapes.values()), 670_459_194)
        self.assertEqual(shapes["backbone.blocks.31.mlp.fc1.weight"], (5120, 1280))
        self.assertEqual(shapes["smpl_head.transformer.transformer.layers.5.1.fn.to_kv.weight"], (1024, 1280))


class CheckpointTest(unittest.TestCase):
    """The reader against a file that torch.save wrote."""

    def test_tensors_of_every_kind(self):
        checkpoint = Checkpoint(golden.SAMPLES)
        count = np.arange(12, dtype=np.float32).reshape(3, 4)
        kinds = {"plain", "transposed", "part", "spread", "half", "bfloat16", "double", "long", "parameter"}
        self.assertEqual(set(checkpoint.shapes()), kinds | {"scalar"})
        for name in kinds:
            with self.subTest(name):
                np.testing.assert_array_equal(checkpoint.read(name), count)
                self.assertEqual(checkpoint.read(name).dtype, np.float32)
        np.testing.assert_array_equal(checkpoint.read("scalar"), np.float32(7))
