"""Both bodies: the rig file by itself, and the ONNX graph against the rig and against geometry known beforehand."""

import collections
import unittest

import numpy as np

from tests import support
from tests.support import random_rotation, read_rig, rotation_about, run, session

# The 24 joints that SMPL names, in its order.
SMPL_JOINTS = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot neck "
    "left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hand right_hand"
).split()
SMPL_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
PAIRED_LANDMARKS = "eye ear heel toe index pinky thumb".split()


class BodyCase(unittest.TestCase):
    """A body by its catalog name: its entry, rig tensors and metadata, and a session of its graph."""

    name = "halfpipe_body"

    @classmethod
    def setUpClass(cls):
        (cls.entry,) = [entry for entry in support.entries("body") if entry["name"] == cls.name]
        cls.rig, cls.metadata = read_rig(cls.entry["rig"])
        cls.network = session(cls.entry["file"])


class RigTest(BodyCase):
    """The rig file by itself."""

    def test_counts(self):
        self.assertEqual(len(self.rig["v_template"]), self.entry["vertices"])
        self.assertEqual(len(self.rig["faces"]), self.entry["faces"])
        self.assertEqual(self.rig["shapedirs"].shape, (self.entry["vertices"], 3, len(self.metadata["shape_names"])))
        self.assertEqual(len(self.metadata["shape_names"]), self.entry["inputs"][1]["dims"][1])

    def test_joints_are_smpls(self):
        self.assertEqual(self.metadata["joint_names"], SMPL_JOINTS)
        self.assertEqual(self.rig["parents"].tolist(), SMPL_PARENTS)
        self.assertTrue(all(parent < joint for joint, parent in enumerate(self.rig["parents"])))

    def test_landmarks_are_complete_and_on_their_side(self):
        expected = {"nose", *(f"{side}_{name}" for side in ("left", "right") for name in PAIRED_LANDMARKS)}
        self.assertEqual(set(self.metadata["landmark_names"]), expected)
        place = dict(zip(self.metadata["landmark_names"], self.rig["v_template"][self.rig["landmark_vertex"]]))
        for name in PAIRED_LANDMARKS:
            left, right = place[f"left_{name}"], place[f"right_{name}"]
            self.assertGreater(left[0], 0.02, name)
            np.testing.assert_allclose(left, right * [-1, 1, 1], atol=0.01, err_msg=name)
        self.assertGreater(place["nose"][2], place["left_ear"][2])
        self.assertGreater(place["left_toe"][2], place["left_heel"][2] + 0.15)

    def test_landmarks_are_those_of_the_large_body(self):
        large, _ = read_rig("halfpipe_body.rig.safetensors")
        places = [rig["v_template"][rig["landmark_vertex"]] for rig in (large, self.rig)]
        np.testing.assert_array_equal(places[0], places[1])

    def test_weights_add_up_to_one(self):
        np.testing.assert_allclose(self.rig["skin_weight"].sum(axis=1), 1, atol=1e-6)
        self.assertGreaterEqual(self.rig["skin_weight"].min(), 0)
        self.assertLess(self.rig["skin_index"].max(), len(SMPL_JOINTS))

    def test_surface_is_closed_and_faces_outwards(self):
        faces, vertices = self.rig["faces"], self.rig["v_template"].astype(np.float64)
        edges = collections.Counter((int(face[corner]), int(face[(corner + 1) % 3])) for face in faces for corner in range(3))
        self.assertEqual(set(edges.values()), {1}, "two faces run along an edge in the same direction")
        self.assertTrue(all((b, a) in edges for a, b in edges), "an edge has a face on one side only")
        self.assertEqual(set(faces.ravel().tolist()), set(range(len(vertices))))
        a, b, c = (vertices[faces[:, corner]] for corner in range(3))
        litres = (a * np.cross(b, c)).sum() / 6 * 1000
        self.assertGreater(litres, 45)
        self.assertLess(litres, 75)

    def test_height(self):
        self.assertAlmostEqual(float(np.ptp(self.rig["v_template"][:, 1])), 1.66, delta=0.02)

    def test_bind_rotations_are_rotations(self):
        for rotation in self.rig["bind_rotation"].astype(np.float64):
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
            self.assertGreater(np.linalg.det(rotation), 0)


def posed_by_formula(rig: dict, rotations, shape) -> tuple:
    """Vertices and joints of one body, joint by joint and vertex by vertex as SMPL's paper writes it, in float64."""
    rest = rig["v_template"].astype(np.float64) + rig["shapedirs"].astype(np.float64) @ shape
    joints = rig["j_template"].astype(np.float64) + rig["j_shapedirs"].astype(np.float64) @ shape
    bind = rig["bind_rotation"].astype(np.float64)
    turns, places = [], []
    for joint, parent in enumerate(rig["parents"]):
        if parent < 0:
            turns.append(rotations[joint])
            places.append(joints[joint])
        else:
            turns.append(turns[parent] @ rotations[joint])
            places.append(places[parent] + turns[parent] @ bind[parent].T @ (joints[joint] - joints[parent]))
    vertices = np.zeros_like(rest)
    for vertex, (indices, weights) in enumerate(zip(rig["skin_index"], rig["skin_weight"])):
        for joint, weight in zip(indices, weights):
            vertices[vertex] += weight * (turns[joint] @ bind[joint].T @ (rest[vertex] - joints[joint]) + places[joint])
    return vertices, np.array(places)


class BodyGraphTest(BodyCase):
    """The ONNX graph against the rig and against geometry that is known beforehand."""

    def pose(self, rotations, shape=None):
        """Vertices and joints of a batch."""
        rotations = np.asarray(rotations, np.float32)
        shape = np.zeros((len(rotations), self.network.get_inputs()[1].shape[1])) if shape is None else shape
        outputs = run(self.network, rotations=rotations, shape=np.asarray(shape, np.float32))
        return outputs["vertices"], outputs["joints"]

    def test_agrees_with_the_formula_for_one_and_for_eight(self):
        rng = np.random.default_rng(20)
        rotations = np.array([[random_rotation(rng) for _ in SMPL_JOINTS] for _ in range(8)], np.float32)
        shape = rng.uniform(-1, 1, (8, len(self.metadata["shape_names"]))).astype(np.float32)
        vertices, joints = self.pose(rotations, shape)
        for person in range(8):
            alone = self.pose(rotations[person : person + 1], shape[person : person + 1])
            np.testing.assert_allclose(vertices[person], alone[0][0], atol=1e-6)
            np.testing.assert_allclose(joints[person], alone[1][0], atol=1e-6)
        for person in (0, 7):
            expected = posed_by_formula(self.rig, rotations[person].astype(np.float64), shape[person].astype(np.float64))
            np.testing.assert_allclose(vertices[person], expected[0], atol=1e-5)
            np.testing.assert_allclose(joints[person], expected[1], atol=1e-5)

    def test_no_person_is_a_valid_batch(self):
        vertices, joints = self.pose(np.zeros((0, len(SMPL_JOINTS), 3, 3)))
        self.assertEqual(vertices.shape, (0, len(self.rig["v_template"]), 3))
        self.assertEqual(joints.shape, (0, len(SMPL_JOINTS), 3))

    def test_bind_pose_gives_the_template(self):
        bind = self.rig["bind_rotation"].astype(np.float64)
        local = [bind[joint] if parent < 0 else bind[parent].T @ bind[joint] for joint, parent in enumerate(SMPL_PARENTS)]
        vertices, joints = self.pose([local])
        np.testing.assert_allclose(vertices[0], self.rig["v_template"], atol=1e-5)
        np.testing.assert_allclose(joints[0], self.rig["j_template"], atol=1e-5)

    def test_identity_is_the_t_pose(self):
        _, joints = self.pose([[np.eye(3)] * len(SMPL_JOINTS)])
        place = dict(zip(self.metadata["joint_names"], joints[0]))
        for side, outwards in (("left", 1), ("right", -1)):
            for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist")):
                bone = place[f"{side}_{lower}"] - place[f"{side}_{upper}"]
                np.testing.assert_allclose(bone / np.linalg.norm(bone), [outwards, 0, 0], atol=1e-5)
        np.testing.assert_allclose(place["pelvis"], 0, atol=1e-6)

    def test_a_knee_bent_by_a_right_angle(self):
        rotations = np.array([[np.eye(3)] * len(SMPL_JOINTS)] * 2)
        rotations[1, SMPL_JOINTS.index("left_knee")] = rotation_about([1, 0, 0], np.pi / 2)
        _, joints = self.pose(rotations)
        ankle, knee = SMPL_JOINTS.index("left_ankle"), SMPL_JOINTS.index("left_knee")
        straight, bent = joints[:, ankle] - joints[:, knee]
        # About the axis to the left a positive turn brings the shin, which pointed down, backwards.
        np.testing.assert_allclose(bent, [straight[0], -straight[2], straight[1]], atol=1e-5)
        self.assertLess(bent[2], -0.3)
        others = [index for index, name in enumerate(SMPL_JOINTS) if name not in ("left_ankle", "left_foot")]
        np.testing.assert_array_equal(joints[0, others], joints[1, others])

    def test_shape_parameters_do_what_they_are_called(self):
        count = len(self.metadata["shape_names"])
        rest = np.array([[np.eye(3)] * len(SMPL_JOINTS)] * (count + 1))
        vertices, joints = self.pose(rest, np.vstack([np.zeros(count), 0.5 * np.eye(count)]))
        height = np.ptp(vertices[:, :, 1], axis=1)
        change = dict(zip(self.metadata["shape_names"], height[1:] - height[0]))
        self.assertGreater(change["height"], 0.1)
        self.assertGreater(change["gender"], 0.01)
        self.assertLess(change["child"], -0.1)

        def span(name, a, b):
            places = joints[[0, 1 + self.metadata["shape_names"].index(name)]]
            lengths = np.linalg.norm(places[:, SMPL_JOINTS.index(a)] - places[:, SMPL_JOINTS.index(b)], axis=1)
            return lengths[1] - lengths[0]

        self.assertGreater(span("leg_length", "left_hip", "left_ankle"), 0.02)
        self.assertGreater(span("arm_length", "left_shoulder", "left_wrist"), 0.02)
        self.assertGreater(span("torso_length", "pelvis", "neck"), 0.01)
        self.assertGreater(span("shoulder_width", "left_shoulder", "right_shoulder"), 0.005)
        self.assertGreater(span("hip_width", "left_hip", "right_hip"), 0.005)


class SmallRigTest(RigTest):
    """The same of the small body."""

    name = "halfpipe_body_small"


class SmallBodyGraphTest(BodyGraphTest):
    """The same of the small body."""

    name = "halfpipe_body_small"
