"""SMPL as a body: a made-up file in SMPL's form is imported, and gives what smplx gives for it."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime

from recipes.body import JOINTS, PARENTS
from recipes.hmr2 import smpl
from tests import support
from tests.hmr2 import golden, made_up
from tests.safetensors import decode

# The names of OpenPose's BODY_25 model, in its order (poseParametersRender.hpp), as this project writes names.
OPENPOSE_25 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee right_ankle "
    "left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe "
    "right_small_toe right_heel"
).split()


class BodyTest(unittest.TestCase):
    """Graph and rig of the made-up SMPL."""

    @classmethod
    def setUpClass(cls):
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.arrays = made_up.smpl_arrays()
        made_up.write_smpl_pickle(folder / "smpl.pkl", cls.arrays)
        made_up.write_smpl_npz(folder / "smpl.npz", cls.arrays)
        cls.read = {path: smpl.read(folder / path) for path in ("smpl.pkl", "smpl.npz")}
        cls.files = smpl.make(cls.read["smpl.pkl"], "smpl_neutral")
        cls.session = onnxruntime.InferenceSession(cls.files["smpl_neutral.onnx"], providers=["CPUExecutionProvider"])
        cls.rig, cls.metadata = decode(cls.files["smpl_neutral.rig.safetensors"])
        cls.golden = golden.load()

    def pose(self, rotations, shape) -> dict:
        return support.run(self.session, rotations=np.float32(rotations), shape=np.float32(shape))

    def test_both_forms_of_file_say_the_same(self):
        for field in ("v_template", "faces", "weights", "shapedirs", "posedirs", "regressor"):
            np.testing.assert_array_equal(getattr(self.read["smpl.pkl"], field), getattr(self.read["smpl.npz"], field), field)

    def test_vertices_and_joints_are_those_of_smplx(self):
        posed = self.pose(self.golden["rotations"], self.golden["shape"])
        self.assertGreater(np.abs(self.golden["vertices"][1:] - self.golden["vertices"][:1]).max(), 0.5, "the poses should differ")
        for name in ("vertices", "joints", "openpose"):
            with self.subTest(name):
                np.testing.assert_allclose(posed[name], self.golden[name], rtol=0, atol=1e-5)

    def test_one_body_is_posed_as_in_a_batch(self):
        together = self.pose(self.golden["rotations"], self.golden["shape"])
        for index in range(golden.BATCH):
            alone = self.pose(self.golden["rotations"][index : index + 1], self.golden["shape"][index : index + 1])
            for name, values in alone.items():
                np.testing.assert_allclose(values[0], together[name][index], rtol=0, atol=1e-6)

    def test_blend_shapes_are_at_work(self):
        # or the comparison above would say little about them
        arrays = {**self.arrays, "posedirs": self.arrays["posedirs"] * 0}
        plain = smpl.Smpl(
            *(arrays[name] for name in ("v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor")),
        )
        session = onnxruntime.InferenceSession(smpl.make(plain, "plain")["plain.onnx"], providers=["CPUExecutionProvider"])
        posed = support.run(session, rotations=self.golden["rotations"], shape=self.golden["shape"])
        self.assertGreater(np.abs(posed["vertices"] - self.golden["vertices"]).max(), 1e-2)
        np.testing.assert_allclose(posed["joints"], self.golden["joints"], rtol=0, atol=1e-5)

    def test_openpose_has_its_names_and_order(self):
        self.assertEqual(list(smpl.OPENPOSE), OPENPOSE_25)

    def test_openpose_is_where_its_names_say(self):
        # a body whose left and right, up and down are told apart: left knee lifted, right arm down
        rotations = np.tile(np.eye(3), (1, 24, 1, 1))
        rotations[0, JOINTS.index("left_hip")] = support.rotation_about([1, 0, 0], -1.2)
        rotations[0, JOINTS.index("right_shoulder")] = support.rotation_about([0, 0, 1], 1.2)
        posed = self.pose(rotations, np.zeros((1, 10)))
        place = dict(zip(OPENPOSE_25, posed["openpose"][0]))
        joint = dict(zip(JOINTS, posed["joints"][0]))
        for name in OPENPOSE_25:
            same = "pelvis" if name == "mid_hip" else name
            if same in joint:
                np.testing.assert_array_equal(place[name], joint[same], name)
        for name in ("eye", "ear", "big_toe", "small_toe", "heel"):
            self.assertGreater(place[f"left_{name}"][0], place[f"right_{name}"][0] + 0.03, name)
        self.assertGreater(place["left_knee"][2], place["right_knee"][2] + 0.2)
        self.assertLess(place["right_wrist"][1], place["left_wrist"][1] - 0.3)
        self.assertGreater(place["nose"][2], place["neck"][2] + 0.05)
        self.assertGreater(place["nose"][1], place["neck"][1])
        for side, outwards in (("left", 1), ("right", -1)):
            self.assertGreater(place[f"{side}_ear"][0] * outwards, place[f"{side}_eye"][0] * outwards)
            self.assertGreater(place[f"{side}_small_toe"][0] * outwards, place[f"{side}_big_toe"][0] * outwards)
        self.assertGreater(place["right_big_toe"][2], place["right_heel"][2] + 0.15)

    def test_ports_have_the_contract_of_the_default_body(self):
        ports = [(port.name, port.shape) for port in (*self.session.get_inputs(), *self.session.get_outputs())]
        self.assertEqual(
            ports,
            [
                ("rotations", ["N", 24, 3, 3]),
                ("shape", ["N", 10]),
                ("vertices", ["N", 6890, 3]),
                ("joints", ["N", 24, 3]),
                ("openpose", ["N", 25, 3]),
            ],
        )

    def test_the_rig_is_that_of_the_graph(self):
        self.assertEqual(self.metadata["joint_names"], JOINTS)
        self.assertEqual(self.metadata["shape_names"], [f"beta{index}" for index in range(10)])
        self.assertEqual(self.rig["parents"].tolist(), PARENTS)
        np.testing.assert_array_equal(self.rig["bind_rotation"], np.tile(np.eye(3), (24, 1, 1)))
        shape = np.random.default_rng(7).normal(size=10)
        posed = self.pose(np.tile(np.eye(3), (1, 24, 1, 1)), shape[None])
        np.testing.assert_allclose(self.rig["v_template"] + self.rig["shapedirs"] @ shape, posed["vertices"][0], atol=2e-6)
        np.testing.assert_allclose(self.rig["j_template"] + self.rig["j_shapedirs"] @ shape, posed["joints"][0], atol=2e-6)
        np.testing.assert_array_equal(self.rig["faces"], self.arrays["f"])
        dense = np.zeros((6890, 24))
        np.put_along_axis(dense, self.rig["skin_index"].astype(int), self.rig["skin_weight"], axis=1)
        np.testing.assert_allclose(dense, self.arrays["weights"], atol=1e-6)

    def test_landmarks_are_on_their_side(self):
        place = dict(zip(self.metadata["landmark_names"], self.rig["v_template"][self.rig["landmark_vertex"]]))
        self.assertEqual(len(place), 15)
        for name in "eye ear heel toe pinky index thumb".split():
            self.assertGreater(place[f"left_{name}"][0], 0.02, name)
            self.assertLess(place[f"right_{name}"][0], -0.02, name)
        self.assertGreater(place["left_toe"][2], place["left_heel"][2] + 0.15)
        self.assertGreater(place["nose"][2], place["left_ear"][2])
