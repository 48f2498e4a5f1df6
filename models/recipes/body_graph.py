"""Writes a body as an ONNX graph: rotations and shape in, skinned vertices and joints out.

    rotations f32[N, 24, 3, 3]   local rotations relative to the T pose, SMPL's convention; the first is the whole body's
    shape     f32[N, K]          shape parameters
    vertices  f32[N, V, 3]       metres, body axes (x to the body's left, y up, z to its front)
    joints    f32[N, 24, 3]      the same; the pelvis stays at its rest position, for translation is the caller's affair

With G_j the global rotation of joint j, t_j its place, B_j its bind rotation and J_j its rest position, a vertex v goes
to the weighted sum over its joints of G_j B_j^T (v - J_j) + t_j. SMPL's pose blend shapes, where a body has them, are added
to v beforehand: `posedirs` times the numbers of all local rotations but the first, less those of the identity.

Built to run in few, large operations on any execution provider:

- shape is one Gemm, since template and directions are linear in it; so are bone offsets and bind translations;
- forward kinematics is pointer jumping (Hillis and Steele 1986): step k multiplies every joint's transform with that of
  its 2^k-th ancestor, so 4 batched products replace a walk over 9 levels. Index 24 holds the identity, the ancestor of
  the root;
- skinning is a dense product with the transposed [24, V] weight matrix. The vertex axis is innermost, so that the
  elementwise part that follows runs over contiguous memory.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from recipes.exact import matmul3
from recipes.tfjs import finish

PRODUCER = "halfpipe models/recipes/body_graph.py"


@dataclass(frozen=True)
class Points:
    """One more output f32[N, P, 3] of joints and vertices: `indices` count the joints first, then the vertices."""

    name: str
    indices: list


class _Graph:
    """Collects nodes and constants; values are named by the caller."""

    def __init__(self):
        self.nodes = []
        self.initializers = []

    def add(self, output: str, op: str, *inputs: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def floats(self, name: str, array) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def integers(self, name: str, values) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name


def build(body, weights=None, posedirs=None, points: Points | None = None) -> bytes:
    """The ONNX file of a `recipes.body.Body`.

    `weights` [V, 24] stand in for the rig's four a vertex; `posedirs` [V, 3, 9 * 23] are pose blend shapes.
    """
    graph = _Graph()
    vertex_count, _, shape_count = body.shapedirs.shape
    joint_count = len(body.parents)
    global_transforms = _kinematics(graph, body)
    _joints(graph, global_transforms)
    _skin(graph, body, global_transforms, dense_weights(body) if weights is None else weights, posedirs)
    inputs = [
        helper.make_tensor_value_info("rotations", TensorProto.FLOAT, ["N", joint_count, 3, 3]),
        helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["N", shape_count]),
    ]
    outputs = [
        helper.make_tensor_value_info("vertices", TensorProto.FLOAT, ["N", vertex_count, 3]),
        helper.make_tensor_value_info("joints", TensorProto.FLOAT, ["N", joint_count, 3]),
    ]
    if points:
        everything = graph.add("joints_and_vertices", "Concat", "joints", "vertices", axis=1)
        graph.add(points.name, "Gather", everything, graph.integers(f"{points.name}_indices", points.indices), axis=1)
        outputs.append(helper.make_tensor_value_info(points.name, TensorProto.FLOAT, ["N", len(points.indices), 3]))
    return finish(helper.make_graph(graph.nodes, body.name, inputs, outputs, graph.initializers), PRODUCER)


def _kinematics(graph: _Graph, body) -> str:
    """Global transforms [N, 24, 4, 4] of the joints."""
    joint_count = len(body.parents)
    offsets = _linear_in_shape(graph, "bone_offset", *_bone_offsets(body))
    local = graph.add("local_3x4", "Concat", "rotations", offsets, axis=3)
    # Zero padding adds the bottom row and one more joint; the constant then writes their ones.
    local = graph.add("local_padded", "Pad", local, graph.integers("local_pads", [0, 0, 0, 0, 0, 1, 1, 0]), mode="constant")
    ones = np.zeros((joint_count + 1, 4, 4), np.float32)
    ones[:, 3, 3] = 1
    ones[joint_count] = np.eye(4)
    transforms = graph.add("local", "Add", local, graph.floats("local_ones", ones))
    ancestors = [joint_count if parent < 0 else int(parent) for parent in body.parents] + [joint_count]
    step = 0
    while any(ancestor != joint_count for ancestor in ancestors):
        indices = graph.integers(f"ancestors_{step}", ancestors)
        above = graph.add(f"above_{step}", "Gather", transforms, indices, axis=1)
        transforms = graph.add(f"chain_{step}", "MatMul", above, transforms)
        ancestors = [ancestors[ancestor] for ancestor in ancestors]
        step += 1
    starts, ends, axes = graph.integers("first_joint", [0]), graph.integers("joint_count", [joint_count]), graph.integers("joint_axis", [1])
    return graph.add("global", "Slice", transforms, starts, ends, axes)


def _joints(graph: _Graph, transforms: str):
    starts, ends, axes = graph.integers("place_start", [0, 3]), graph.integers("place_end", [3, 4]), graph.integers("place_axes", [2, 3])
    places = graph.add("places", "Slice", transforms, starts, ends, axes)
    graph.add("joints", "Squeeze", places, graph.integers("place_column", [3]))


def _skin(graph: _Graph, body, transforms: str, weights: np.ndarray, posedirs: np.ndarray | None):
    vertex_count = len(body.v_template)
    # Inverse bind transform: [B^T | -B^T J], whose translation is linear in shape.
    unbind = _linear_in_shape(graph, "unbind_offset", *_unbind_offsets(body))
    unbind = graph.add("unbind_padded", "Pad", unbind, graph.integers("unbind_pads", [0, 0, 0, 3, 0, 0, 1, 0]), mode="constant")
    rotation = np.zeros((len(body.parents), 4, 4), np.float32)
    rotation[:, :3, :3] = body.bind_rotation.transpose(0, 2, 1)
    rotation[:, 3, 3] = 1
    unbind = graph.add("unbind", "Add", unbind, graph.floats("unbind_rotation", rotation))
    skinning = graph.add("skinning", "MatMul", transforms, unbind)
    # One row per number of a transform and one column per joint: [N, 4, 4, 24].
    skinning = graph.add("skinning_by_number", "Transpose", skinning, perm=[0, 2, 3, 1])
    rows = graph.integers("number_axes", [1, 2])
    turns = graph.add("turns", "Slice", skinning, graph.integers("turn_start", [0, 0]), graph.integers("turn_end", [3, 3]), rows)
    shifts = graph.add("shifts", "Slice", skinning, graph.integers("shift_start", [0, 3]), graph.integers("shift_end", [3, 4]), rows)
    shifts = graph.add("shifts_flat", "Squeeze", shifts, graph.integers("shift_column", [2]))
    weights_by_joint = graph.floats("weights", weights.T)
    vertex_turns = graph.add("vertex_turns", "MatMul", turns, weights_by_joint)  # [N, 3, 3, V]
    vertex_shifts = graph.add("vertex_shifts", "MatMul", shifts, weights_by_joint)  # [N, 3, V]
    rest = graph.add(
        "rest_flat",
        "Gemm",
        "shape",
        graph.floats("rest_directions", body.shapedirs.transpose(2, 1, 0).reshape(len(body.shape_names), -1)),
        graph.floats("rest_template", body.v_template.T.reshape(-1)),
    )
    if posedirs is not None:
        rest = graph.add("rest_corrected", "Add", rest, _pose_correction(graph, posedirs))
    rest = graph.add("rest", "Reshape", rest, graph.integers("rest_shape", [-1, 1, 3, vertex_count]))
    products = graph.add("products", "Mul", vertex_turns, rest)
    turned = graph.add("turned", "ReduceSum", products, graph.integers("sum_axis", [2]), keepdims=0)
    posed = graph.add("posed", "Add", turned, vertex_shifts)
    graph.add("vertices", "Transpose", posed, perm=[0, 2, 1])


def _pose_correction(graph: _Graph, posedirs: np.ndarray) -> str:
    """What the pose blend shapes add to the template, [N, 3 V] with the vertex axis innermost."""
    numbers = posedirs.shape[2]
    # The first three rows of numbers are the whole body's rotation, which changes no shape.
    flat = graph.add("rotations_flat", "Reshape", "rotations", graph.integers("rotations_shape", [-1, 9 + numbers]))
    ends = graph.integers("feature_start", [9]), graph.integers("feature_end", [9 + numbers]), graph.integers("feature_axis", [1])
    feature = graph.add("feature", "Slice", flat, *ends)
    feature = graph.add("feature_turned", "Sub", feature, graph.floats("feature_rest", np.tile(np.eye(3).ravel(), numbers // 9)))
    return graph.add("pose_correction", "MatMul", feature, graph.floats("pose_directions", posedirs.transpose(2, 1, 0).reshape(numbers, -1)))


def _linear_in_shape(graph: _Graph, name: str, template: np.ndarray, directions: np.ndarray) -> str:
    """A column vector per joint [N, 24, 3, 1] that is `template` [24, 3] plus `directions` [24, 3, K] times shape."""
    joint_count, _, shape_count = directions.shape
    flat = graph.add(
        f"{name}_flat",
        "Gemm",
        "shape",
        graph.floats(f"{name}_directions", directions.transpose(2, 0, 1).reshape(shape_count, -1)),
        graph.floats(f"{name}_template", template.reshape(-1)),
    )
    return graph.add(name, "Reshape", flat, graph.integers(f"{name}_shape", [-1, joint_count, 3, 1]))


def _bone_offsets(body) -> tuple:
    """From each joint's parent to the joint in the T pose: B_parent^T (J - J_parent); for the root its rest position."""
    template, directions = body.j_template.astype(np.float64), body.j_shapedirs.astype(np.float64)
    offsets, offset_directions = template.copy(), directions.copy()
    for joint, parent in enumerate(body.parents):
        if parent >= 0:
            turn = body.bind_rotation[parent].astype(np.float64).T
            offsets[joint] = matmul3(turn, (template[joint] - template[parent])[:, None])[:, 0]
            offset_directions[joint] = matmul3(turn, directions[joint] - directions[parent])
    return offsets, offset_directions


def _unbind_offsets(body) -> tuple:
    """-B^T J of each joint."""
    turns = body.bind_rotation.astype(np.float64).transpose(0, 2, 1)
    offsets = -matmul3(turns, body.j_template.astype(np.float64)[:, :, None])[:, :, 0]
    return offsets, -matmul3(turns, body.j_shapedirs.astype(np.float64))


def dense_weights(body) -> np.ndarray:
    """The rig's four weights a vertex as a matrix f32[V, 24]."""
    dense = np.zeros((len(body.v_template), len(body.parents)), np.float32)
    for column in range(body.skin_index.shape[1]):
        dense[np.arange(len(dense)), body.skin_index[:, column]] += body.skin_weight[:, column]
    return dense
