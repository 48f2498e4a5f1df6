"""A body fitted to BlazePose's landmarks: shape from limb lengths, a closed-form pose, then Gauss-Newton on 2D and 3D landmarks.

The same method and weights as guest/kit/src/fit (problem.rs says what is minimised), over all people of a frame at once.
"""

import numpy as np

from peer import rotations as rot
from peer.body import FLIP
from peer.rotations import apply, columns, cross, dot, length, unit

# Fitted points: joint or surface point of the body, BlazePose's landmark, share of a visible landmark's weight.
_LIMBS = "shoulder 11 elbow 13 wrist 15 hip 23 knee 25 ankle 27".split()
JOINT_POINTS = [(f"{side}_{name}", int(at) + k) for name, at in zip(_LIMBS[::2], _LIMBS[1::2], strict=True) for k, side in enumerate(("left", "right"))]
FACE = [("nose", 0), ("left_eye", 2), ("right_eye", 5), ("left_ear", 7), ("right_ear", 8)]
FEET = [("left_heel", 29), ("right_heel", 30), ("left_toe", 31), ("right_toe", 32)]
FINGERS = [("left_index", 19), ("right_index", 20), ("left_pinky", 17), ("right_pinky", 18)]
SURFACE_POINTS = FACE + FEET + FINGERS
POINTS = len(JOINT_POINTS) + len(SURFACE_POINTS)
SHARES = np.repeat([1.0, 0.5, 1.0, 0.3], [len(JOINT_POINTS), len(FACE), len(FEET), len(FINGERS)])
HIPS = slice(6, 8)  # among the fitted points

FREE = "pelvis spine1 spine3 neck".split() + [
    f"{side}_{name}" for name in "hip knee ankle shoulder elbow wrist collar".split() for side in ("left", "right")
]
# Limbs whose lengths say what shape a body has: joints and landmarks of both ends.
_SEGMENTS = [("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip")]
SEGMENTS = [(f"{side}_{a}", f"{side}_{b}") for a, b in _SEGMENTS for side in ("left", "right")]
SEGMENTS += [("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")]
SHAPES = {"height": 0.02, "leg_length": 0.06, "arm_length": 0.06, "torso_length": 0.06, "shoulder_width": 0.03, "hip_width": 0.03}

IMAGE_WEIGHT, WORLD_WEIGHT, PRIOR_WEIGHT, DAMPING = 10.0, 1.8, 0.35, 1e-4
LEAST_VISIBILITY, SIZE_WEIGHT = 0.02, 0.3


class Fitter:
    """Fits one body to each person of a frame."""

    def __init__(self, body, steps=6):
        self.body, self.steps = body, steps
        self.landmarks = np.array([at for _, at in JOINT_POINTS + SURFACE_POINTS])
        surface = [body.vertex[name] for name, _ in SURFACE_POINTS]
        # every fitted point as one that is skinned to four bones; a joint hangs on one of them
        joint_bones = np.repeat([[body.joint(name)] for name, _ in JOINT_POINTS], 4, 1)
        self.bones = np.vstack([joint_bones, body.bones[surface]])
        self.weights = np.vstack([np.tile([1.0, 0, 0, 0], (len(JOINT_POINTS), 1)), body.weights[surface]])
        self.surface, self.surface_directions = body.template[surface].astype(np.float64), body.directions[surface].astype(np.float64)
        self.free = np.array([body.joint(name) for name in FREE])
        self.moved = self.weights * body.above[self.free][:, self.bones]  # [18, 25, 4]
        self._prepare_shape()
        self._prepare_rest_directions()

    def _prepare_shape(self):
        landmark = dict(JOINT_POINTS)
        self.ends = np.array([[landmark[a], landmark[b]] for a, b in SEGMENTS]).T
        a, b = ([self.body.joint(pair[k]) for pair in SEGMENTS] for k in (0, 1))
        self.shapes = [self.body.shape_names.index(name) for name in SHAPES]
        along = self.body.joint_template[b] - self.body.joint_template[a]
        self.lengths = length(along)
        directions = (self.body.joint_directions[b] - self.body.joint_directions[a])[:, :, self.shapes]
        self.length_gradient = np.einsum("sc,sck->sk", along / self.lengths[:, None], directions)
        self.shape_prior = np.diag(np.square(list(SHAPES.values())))

    def _prepare_rest_directions(self):
        joints, vertices, vertex = self.body.joint_template, self.body.template.astype(np.float64), self.body.vertex
        sides = ("left", "right")
        bone = lambda a, b: unit(np.stack([joints[self.body.joint(f"{s}_{b}")] - joints[self.body.joint(f"{s}_{a}")] for s in sides]))
        self.thigh, self.shin = bone("hip", "knee"), bone("knee", "ankle")
        self.foot = unit(np.stack([vertices[vertex[f"{s}_toe"]] - vertices[vertex[f"{s}_heel"]] for s in sides]))

    def __call__(self, world, image, visibility, focal, center):
        """World [N, 33, 3] (camera axes), image [N, >=33, 2], visibility [N, >=33] -> local rotations, translation (camera axes), betas."""
        betas = self.shape(world, visibility)
        start = self.closed_form(world, visibility)
        rest = self.body.rest(betas)
        bone_offsets = np.zeros((len(world), POINTS, 4, 3))
        shaped = self.surface + np.einsum("vck,nk->nvc", self.surface_directions, betas)
        bone_offsets[:, len(JOINT_POINTS) :] = shaped[:, :, None] - rest[0][:, self.bones[len(JOINT_POINTS) :]]
        weight = np.clip(visibility[:, self.landmarks], LEAST_VISIBILITY, 1) * SHARES
        targets = image[:, self.landmarks], world[:, self.landmarks]
        return *self.refine(start, (rest, bone_offsets), targets, weight, (focal, center)), betas

    def shape(self, world, visibility):
        """Betas [N, K] whose limbs are as long as the landmarks say, weighted by the less visible end."""
        a, b = self.ends
        weight = np.minimum(visibility[:, a], visibility[:, b])
        rows = weight[..., None] * self.length_gradient
        missing = weight * (length(world[:, a] - world[:, b]) - self.lengths)
        normal = rows.swapaxes(1, 2) @ rows + self.shape_prior
        betas = np.zeros((len(world), len(self.body.shape_names)))
        betas[:, self.shapes] = np.clip(np.linalg.solve(normal, rows.swapaxes(1, 2) @ missing[..., None])[..., 0], -1, 1)
        return betas

    def closed_form(self, world, visibility):
        """Local rotations [N, 24, 3, 3] straight from the landmarks: each bone along its limb, twists from joints that bend."""
        p = world * FLIP
        pair = lambda left: p[:, [left, left + 1]]
        turns = np.empty((len(p), 24, 3, 3))
        joint = self.body.joint

        def put(name, rotations):
            turns[:, [joint(f"left_{name}"), joint(f"right_{name}")]] = rotations

        shoulders, hips = pair(11), pair(23)
        pelvis = rot.frame_x(hips[:, 0] - hips[:, 1], shoulders.mean(1) - hips.mean(1))
        chest = rot.frame_y(shoulders[:, 0] - shoulders[:, 1], shoulders.mean(1) - hips.mean(1))
        bend = rot.log(pelvis.swapaxes(1, 2) @ chest)
        turns[:, joint("pelvis")], turns[:, joint("spine3")] = pelvis, chest
        for name, part in (("spine1", 1 / 3), ("spine2", 2 / 3)):
            turns[:, joint(name)] = pelvis @ rot.exp(bend * part)
        ears = p[:, 7] - p[:, 8]
        head = rot.frame_x(ears, cross(p[:, 0] - (p[:, 7] + p[:, 8]) / 2, ears)) @ rot.exp(np.array([-0.15, 0, 0]))
        turns[:, joint("neck")] = chest @ rot.exp(rot.log(chest.swapaxes(1, 2) @ head) / 2)
        turns[:, joint("head")] = head
        self._arms(chest[:, None], (shoulders, pair(13), pair(15), pair(17), pair(19)), visibility[:, [19, 20]], put)
        seen = (visibility[:, [31, 32]] > 0.3) & (visibility[:, [29, 30]] > 0.3)
        self._legs(pelvis[:, None], (hips, pair(25), pair(27), pair(29), pair(31)), seen, put)
        local = turns.copy()
        local[:, 1:] = turns[:, self.body.parents[1:]].swapaxes(-1, -2) @ turns[:, 1:]
        return local

    @staticmethod
    def _arms(chest, points, finger_visibility, put):
        shoulder, elbow, wrist, pinky, index = points
        side = np.array([1.0, -1.0])[:, None]
        upper, fore = unit(elbow - shoulder), unit(wrist - elbow)
        # the more an elbow bends, the more its plane says about the upper arm's twist
        plane = -side * cross(upper, fore)
        sure = np.clip((length(plane) - 0.15) / 0.3, 0, 1)[..., None]
        untwisted = (rot.between(apply(chest, side * np.array([1.0, 0, 0])), upper) @ chest)[..., 1]
        x = upper * side
        z = unit(cross(x, unit(untwisted * (1 - sure) + sure * unit(plane))))
        arm = columns(x, cross(z, x), z)
        forearm = rot.between(upper, fore) @ arm
        hand = rot.between(fore, unit((pinky + index) / 2 - wrist)) @ forearm
        # the palm's width says how far the hand is turned; half of that is the forearm's
        x = hand[..., 0]
        across = (index - pinky) - x * dot(index - pinky, x)[..., None]
        known = (finger_visibility > 0.5) & (length(across) > 1e-3)
        across = unit(across)
        turn = np.clip(np.arctan2(dot(cross(hand[..., 2], across), x), dot(hand[..., 2], across)), -1.6, 1.6) * known
        hand = rot.exp(x * turn[..., None]) @ hand
        rotations = {"collar": chest, "shoulder": arm, "elbow": rot.exp(fore * side * (turn / 2)[..., None]) @ forearm}
        for name, rotation in {**rotations, "wrist": hand, "hand": hand}.items():
            put(name, rotation)

    def _legs(self, pelvis, points, foot_seen, put):
        hip, knee, ankle, heel, toe = points
        thigh, shin, foot = unit(knee - hip), unit(ankle - knee), toe - heel
        untwisted = (rot.between(apply(pelvis, self.thigh), thigh) @ pelvis)[..., 0]
        # the knee's axis: from its bend where it bends, else from where the foot points
        plane = cross(thigh, shin)
        bend = length(plane)[..., None]
        by_foot = np.where((length(foot) > 1e-3)[..., None], unit(cross(-shin, foot)), untwisted)
        guess = np.where((dot(by_foot, untwisted) > 0)[..., None], unit(untwisted + by_foot), untwisted)
        sure = np.clip((bend - 0.2) / 0.4, 0, 1)
        usable = (bend > 1e-3) & (dot(plane, untwisted) > 0)[..., None]
        axis = np.where(usable, unit(guess * (1 - sure) + sure * unit(plane)), guess)
        upper = _aligned(self.thigh, thigh, axis)
        lower = _aligned(self.shin, shin, upper[..., 0])
        feet = np.where(foot_seen[..., None, None], rot.between(apply(lower, self.foot), unit(foot)) @ lower, lower)
        for name, rotation in (("hip", upper), ("knee", lower), ("ankle", feet), ("foot", feet)):
            put(name, rotation)

    def refine(self, start, shaped, targets, weight, camera):
        """Gauss-Newton over the free joints and the translation: local rotations and translation."""
        (rest, bone_offsets), (pixels, world), (focal, center) = shaped, targets, camera
        n, free = len(start), len(self.free)
        local, theta = start.copy(), np.zeros((n, free, 3))
        posed = self._points(local, rest, bone_offsets)
        translation = _translation(posed[3] * FLIP, pixels, weight, focal, center)
        seen = weight > SIZE_WEIGHT
        seen[seen.sum(1) <= 3] = True
        low, high = np.where(seen[..., None], pixels, np.inf).min(1), np.where(seen[..., None], pixels, -np.inf).max(1)
        image_weight = weight * (IMAGE_WEIGHT / length(high - low))[:, None]
        world_weight = (weight * WORLD_WEIGHT)[..., None]
        jacobian = np.zeros((n, 5 * POINTS + 3 * free, 3 * free + 3))
        residual = np.empty(jacobian.shape[:2])
        jacobian[:, 5 * POINTS :, :-3] = PRIOR_WEIGHT * np.eye(3 * free)
        for step in range(self.steps):
            if step:
                posed = self._points(local, rest, bone_offsets)
            turns, joints, parts, body_points = posed
            # a joint's turn moves a point along omega x (point - joint), with omega = G Jr(theta)
            lever = np.einsum("jmc,nmcd->njmd", self.moved, parts) - self.moved.sum(-1)[..., None] * joints[:, self.free][:, :, None]
            moves = -rot.skew(lever) @ (turns[:, self.free] @ rot.right_jacobian(theta))[:, :, None]
            moves = moves.transpose(0, 2, 3, 1, 4).reshape(n, POINTS, 3, -1) * FLIP[:, None]
            points = body_points * FLIP
            error, gradient = _projected(points + translation[:, None], pixels, image_weight, focal, center)
            jacobian[:, : 2 * POINTS, :-3] = (gradient @ moves).reshape(n, 2 * POINTS, -1)
            jacobian[:, : 2 * POINTS, -3:] = gradient.reshape(n, 2 * POINTS, 3)
            relative = moves - moves[:, HIPS].mean(1, keepdims=True)
            jacobian[:, 2 * POINTS : 5 * POINTS, :-3] = (relative * world_weight[..., None]).reshape(n, 3 * POINTS, -1)
            residual[:, : 2 * POINTS] = error.reshape(n, -1)
            apart = points - points[:, HIPS].mean(1, keepdims=True) - world
            residual[:, 2 * POINTS : 5 * POINTS] = (apart * world_weight).reshape(n, -1)
            residual[:, 5 * POINTS :] = PRIOR_WEIGHT * theta.reshape(n, -1)
            transposed = jacobian.swapaxes(1, 2)
            normal = transposed @ jacobian + DAMPING * np.eye(3 * free + 3)
            change = np.linalg.solve(normal, -transposed @ residual[..., None])[..., 0]
            theta = theta + change[:, :-3].reshape(theta.shape)
            translation = translation + change[:, -3:]
            local[:, self.free] = start[:, self.free] @ rot.exp(theta)
        return local, translation

    def _points(self, local, rest, bone_offsets):
        """Global rotations, joints, where each bone alone puts each fitted point [N, 25, 4, 3], and the points [N, 25, 3]."""
        turns, joints = self.body.pose(local, rest)
        parts = apply((turns @ self.body.unbind)[:, self.bones], bone_offsets) + joints[:, self.bones]
        return turns, joints, parts, np.einsum("mc,nmcd->nmd", self.weights, parts)


def _aligned(rest_direction, direction, axis):
    """The rotation that takes a bone's rest direction to `direction` and keeps its hinge at `axis`."""
    z = unit(cross(np.array([1.0, 0, 0]), rest_direction))
    front = unit(cross(axis, direction))
    return columns(direction, cross(front, direction), front) @ columns(rest_direction, cross(z, rest_direction), z).swapaxes(-1, -2)


def _projected(points, pixels, weight, focal, center):
    """Robust image residuals [N, 25, 2] and their derivatives by the points [N, 25, 2, 3] (Geman-McClure)."""
    inverse = 1 / points[..., 2]
    error = (points[..., :2] * inverse[..., None] * focal + center - pixels) * weight[..., None]
    robust = np.sqrt(1 + (error * error).sum(-1))
    error = error / robust[..., None]
    gradient = np.zeros((*points.shape[:2], 2, 3))
    gradient[..., 0, 0] = gradient[..., 1, 1] = inverse
    gradient[..., 0, 2], gradient[..., 1, 2] = -points[..., 0] * inverse**2, -points[..., 1] * inverse**2
    squashed = (np.eye(2) - error[..., :, None] * error[..., None, :]) / robust[..., None, None]
    return error, squashed @ (gradient * (focal * weight)[..., None, None])


def _translation(points, pixels, weight, focal, center):
    """The translation that brings the points onto their pixels, by weighted linear least squares."""
    rays = (pixels - center) / focal
    rows = np.zeros((*points.shape[:2], 2, 3))
    rows[..., 0, 0] = rows[..., 1, 1] = 1
    rows[..., :, 2] = -rays
    rows *= weight[..., None, None]
    right = weight[..., None] * (rays * points[..., 2:] - points[..., :2])
    rows, right = rows.reshape(len(points), -1, 3), right.reshape(len(points), -1, 1)
    return np.linalg.solve(rows.swapaxes(1, 2) @ rows, rows.swapaxes(1, 2) @ right)[..., 0]
