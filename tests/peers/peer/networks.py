"""The two networks on ONNX Runtime: MoveNet MultiPose finds people, BlazePose gives the landmarks of each.

What the outputs mean is told in models/README.md.
"""

import cv2
import numpy as np
import onnxruntime

KEYPOINTS, LANDMARKS = 17, 33
STRIDE = 4  # pixels of the detector's input a cell of its heat maps
PEAK_WINDOW = 5
CROP = 256
HEATMAP = 64
REFINE_REACH = 3
MARGIN = 1.25  # crops are this much larger than the circle around a person
HIPS, SHOULDERS = [11, 12], [5, 6]  # of the detector's key points


def session(path, threads):
    """`threads` 0 is one a core. Idle threads do not spin: they would take the cores from whoever works."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Detector:
    """People as (score, box x0 y0 x1 y1, key points [17, (x, y, score)]), pixels of the frame."""

    def __init__(self, path, long_side, least_score=0.3, overlap=0.5, threads=0):
        self.net = session(path, threads)
        self.outputs = [output.name for output in self.net.get_outputs()]
        self.long_side, self.least_score, self.overlap = long_side, least_score, overlap
        self.runs = 0

    def __call__(self, frame):
        image, scale = self.prepare(frame)
        self.runs += 1
        return self.decode(dict(zip(self.outputs, self.net.run(None, {"image": image}), strict=True)), scale)

    def prepare(self, frame):
        """The input f32[1, 3, H, W], and frame pixels a heat map cell along x and y."""
        height, width = frame.shape[:2]
        shrink = self.long_side / max(height, width)
        w, h = round(width * shrink), round(height * shrink)
        canvas = np.zeros((-(-h // 32) * 32, -(-w // 32) * 32, 3), np.uint8)
        canvas[:h, :w] = cv2.resize(frame, (w, h), interpolation=cv2.INTER_AREA)
        image = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
        return image, np.array([width / w, height / h]) * STRIDE

    def decode(self, heads, scale):
        """Peaks of the centre map, the boxes there without those that cover a better one, and their key points."""
        center = heads["center"][0, 0]
        grid = np.array(center.shape[::-1])
        peaks = (center >= cv2.dilate(center, np.ones((PEAK_WINDOW, PEAK_WINDOW), np.uint8))) & (center > self.least_score)
        ys, xs = np.nonzero(peaks)
        best_first = np.argsort(-center[ys, xs])
        ys, xs = ys[best_first], xs[best_first]
        sizes = np.maximum(heads["box_scale"][0][::-1, ys, xs].T, 0)
        middles = np.stack([xs, ys], 1) + heads["box_offset"][0][::-1, ys, xs].T
        cells = np.concatenate([middles - sizes / 2, middles + sizes / 2], 1)
        people = []
        for i in _without_covered(cells, self.overlap):
            keypoints = self._keypoints(heads, (xs[i], ys[i]), np.clip(cells[i], 0, np.tile(grid, 2)), grid)
            if keypoints is not None:
                keypoints[:, :2] *= scale
                people.append((float(center[ys[i], xs[i]]), cells[i] * np.tile(scale, 2), keypoints))
        return people

    def _keypoints(self, heads, peak, box, grid):
        """Where each key point's heat map, weighted by the distance from its regressed place, is highest in the box."""
        (x0, y0), (x1, y1) = np.ceil(box[:2]).astype(int), np.minimum(np.ceil(box[2:]).astype(int), grid)
        if x1 <= x0 or y1 <= y0:
            return None
        regressed = heads["kpt_regress"][0, :, peak[1], peak[0]].reshape(KEYPOINTS, 2)
        spread = 0.3 * grid.min()
        near_y = np.exp(-((np.arange(y0, y1) - (peak[1] + regressed[:, :1])) ** 2) / spread)
        near_x = np.exp(-((np.arange(x0, x1) - (peak[0] + regressed[:, 1:])) ** 2) / spread)
        weighted = (heads["kpt_heatmap"][0][:, y0:y1, x0:x1] * near_y[:, :, None] * near_x[:, None, :]).reshape(KEYPOINTS, -1)
        best = weighted.argmax(1)
        ky, kx = y0 + best // (x1 - x0), x0 + best % (x1 - x0)
        each = np.arange(KEYPOINTS)
        offset = heads["kpt_offset"][0].reshape(KEYPOINTS, 2, *grid[::-1])[each, :, ky, kx]
        return np.stack([kx + offset[:, 1], ky + offset[:, 0], weighted[each, best]], 1).astype(np.float64)


def _without_covered(boxes, overlap):
    """Indices of the boxes that no earlier kept one covers by more than `overlap` (intersection over union)."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    kept = []
    for i, box in enumerate(boxes):
        others = boxes[kept]
        sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
        common = np.prod(np.clip(sides, 0, None), 1)
        if not (common > overlap * (areas[i] + areas[kept] - common)).any():
            kept.append(i)
    return kept


def _turn(direction):
    """Rotation of a crop in which `direction` (x right, y down) points up, -pi to pi."""
    return (np.pi / 2 - np.arctan2(-direction[1], direction[0]) + np.pi) % (2 * np.pi) - np.pi


def crop_from_keypoints(keypoints, box):
    """(centre, side, rotation) of the square that BlazePose wants, from the detector's key points."""
    hip, shoulder = keypoints[HIPS, :2].mean(0), keypoints[SHOULDERS, :2].mean(0)
    seen = keypoints[:, 2] > 0.1
    radius = 1.15 * np.hypot(*(keypoints[seen, :2] - hip).T).max() if seen.any() else (box[3] - box[1]) / 2
    up = shoulder - hip
    return hip, 2 * radius * MARGIN, _turn(up) if np.hypot(*up) >= 1e-3 else 0.0


def crop_from_landmarks(points):
    """The same from BlazePose's own alignment points: 33 the middle of the hips, 34 on the circle around the person."""
    up = points[34] - points[33]
    return points[33], 2 * np.hypot(*up) * MARGIN, _turn(up)


class Landmarker:
    """BlazePose on all crops of a frame at once."""

    def __init__(self, path, threads=0):
        self.net = session(path, threads)
        self.crops = 0

    def __call__(self, frame, rois):
        """Presence [N], image points [N, 39, 2] in pixels, visibility [N, 39], world points [N, 39, 3] in metres, camera axes."""
        image, rotations = self.prepare(frame, rois)
        self.crops += len(rois)
        outputs = self.net.run(["landmarks", "presence", "heatmap", "world_landmarks"], {"image": image})
        return self.decode(outputs, rois, rotations)

    def prepare(self, frame, rois):
        """Crops f32[N, 3, 256, 256] and their rotations [N, 2, 2]."""
        image = np.empty((len(rois), 3, CROP, CROP), np.float32)
        rotations = np.empty((len(rois), 2, 2))
        for i, (center, side, angle) in enumerate(rois):
            rotations[i] = turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            step = turn * side / CROP
            start = center - step @ np.full(2, CROP / 2 - 0.5) - 0.5
            crop = cv2.warpAffine(
                frame, np.column_stack([step, start]), (CROP, CROP), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT
            )
            image[i] = crop[:, :, ::-1].transpose(2, 0, 1)
        image *= np.float32(1 / 255)
        return image, rotations

    @staticmethod
    def decode(outputs, rois, rotations):
        """Landmarks in the frame, refined by the heat map where that is sure."""
        landmarks, presence, heatmap, world = outputs
        n = len(rois)
        landmarks = landmarks.reshape(n, 39, 5).astype(np.float64)
        _refine(landmarks, heatmap)
        centers = np.stack([roi[0] for roi in rois])[:, None]
        sides = np.array([roi[1] for roi in rois])[:, None, None]
        back = rotations.transpose(0, 2, 1)
        points = ((landmarks[:, :, :2] / CROP - 0.5) * sides) @ back + centers
        world = world.reshape(n, 39, 3).astype(np.float64)
        world[:, :, :2] = world[:, :, :2] @ back
        return presence[:, 0], points, sigmoid(landmarks[:, :, 3]), world


def _refine(landmarks, heatmap):
    """Moves each landmark to the centroid of the heat map's 7 x 7 cells around it, where their highest is at least 0.5."""
    cells = np.trunc(landmarks[:, :, :2] / CROP * HEATMAP).astype(int)
    inside = ((cells >= 0) & (cells < HEATMAP)).all(-1)
    cells = np.clip(cells, 0, HEATMAP - 1)
    width = 2 * REFINE_REACH + 1
    padded = np.pad(heatmap, ((0, 0), (0, 0), *[(REFINE_REACH, REFINE_REACH)] * 2), constant_values=-1e4)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (width, width), axis=(2, 3))
    rows, columns = np.arange(len(landmarks))[:, None], np.arange(landmarks.shape[1])[None]
    weights = sigmoid(np.clip(windows[rows, columns, cells[..., 1], cells[..., 0]], -80, 80).astype(np.float64))
    offsets = np.arange(-REFINE_REACH, REFINE_REACH + 1)
    total = weights.sum((2, 3))
    sure = inside & (weights.max((2, 3)) >= 0.5)
    for axis, along in ((0, weights.sum(2)), (1, weights.sum(3))):
        refined = (along @ offsets / np.maximum(total, 1e-12) + cells[..., axis]) / HEATMAP * CROP
        landmarks[..., axis] = np.where(sure, refined, landmarks[..., axis])
