"""Decodes pseudo-random MoveNet heads and BlazePose outputs with numpy and prints what came out as JSON. See README.md."""
import json

import numpy as np


class Lcg:
    def __init__(self, seed):
        self.state = seed

    def fill(self, shape, low, high):
        n = int(np.prod(shape))
        out = np.empty(n, np.float32)
        for i in range(n):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            out[i] = np.float32(low) + np.float32(high - low) * np.float32((self.state >> 8) / 2**24)
        return out.reshape(shape)


def movenet(o, sx, sy, threshold, nms, topk=100):
    c = o["center"]
    h, w = c.shape
    pad = np.pad(c, 2, constant_values=-1)
    dilated = np.max([pad[i:i + h, j:j + w] for i in range(5) for j in range(5)], 0)
    ys, xs = np.nonzero((c >= dilated) & (c > threshold))
    order = np.argsort(-c[ys, xs], kind="stable")[:topk]
    people = []
    yy, xx = np.mgrid[:h, :w]
    for y, x in zip(ys[order], xs[order]):
        bh, bw = np.maximum(o["box_scale"][:, y, x].astype(float), 0)
        oy, ox = o["box_offset"][:, y, x].astype(float)
        cy, cx = y + oy, x + ox
        box = np.array([(cx - bw / 2) * sx, (cy - bh / 2) * sy, (cx + bw / 2) * sx, (cy + bh / 2) * sy])
        if any(iou(box, p["box"]) > nms for p in people):
            continue
        inside = (yy >= np.clip(cy - bh / 2, 0, h)) & (yy < np.clip(cy + bh / 2, 0, h)) & (xx >= np.clip(cx - bw / 2, 0, w)) & (xx < np.clip(cx + bw / 2, 0, w))
        points = []
        for j in range(17):
            ry, rx = y + float(o["kpt_regress"][2 * j, y, x]), x + float(o["kpt_regress"][2 * j + 1, y, x])
            m = o["kpt_heatmap"][j] * np.exp(-((yy - ry) ** 2 + (xx - rx) ** 2) / (0.3 * min(h, w))) * inside
            ky, kx = np.unravel_index(np.argmax(m), m.shape)
            points.append([(kx + o["kpt_offset"][2 * j + 1, ky, kx]) * sx, (ky + o["kpt_offset"][2 * j, ky, kx]) * sy, m[ky, kx]])
        people.append(dict(score=float(c[y, x]), box=box, keypoints=np.array(points)))
    return people


def iou(a, b):
    iw, ih = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if iw <= 0 or ih <= 0:
        return 0.0
    return iw * ih / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - iw * ih)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(float)))


def blazepose(lm, heat, world, roi):
    center, side, rotation = roi
    lm, heat = lm.reshape(39, 5).astype(float), sigmoid(heat)
    for i in range(39):
        cx, cy = int(lm[i, 0] / 256 * 64), int(lm[i, 1] / 256 * 64)
        if not (0 <= cx < 64 and 0 <= cy < 64):
            continue
        x0, x1, y0, y1 = max(0, cx - 3), min(64, cx + 4), max(0, cy - 3), min(64, cy + 4)
        p = heat[i, y0:y1, x0:x1]
        if p.max() >= 0.5:
            yy, xx = np.mgrid[y0:y1, x0:x1]
            lm[i, 0], lm[i, 1] = (p * xx).sum() / p.sum() / 64 * 256, (p * yy).sum() / p.sum() / 64 * 256
    co, si = np.cos(rotation), np.sin(rotation)
    turn = np.array([[co, -si], [si, co]])
    image = ((lm[:, :2] / 256 - 0.5) * side) @ turn.T + center
    world = world.reshape(39, 3).astype(float)
    world[:, :2] = world[:, :2] @ turn.T
    d = image[34] - image[33]
    angle = np.pi / 2 - np.arctan2(-d[1], d[0])
    following = [*image[33], 2 * np.hypot(*d) * 1.25, (angle + np.pi) % (2 * np.pi) - np.pi]
    return dict(image=image[:33], depth=lm[:33, 2] / 256 * side, visibility=sigmoid(lm[:33, 3]), world=world[:33], alignment=image[33:35], next_roi=following)


def crop_from_keypoints(kp):
    hip, shoulder = kp[[11, 12], :2].mean(0), kp[[5, 6], :2].mean(0)
    d = shoulder - hip
    angle = np.pi / 2 - np.arctan2(-d[1], d[0])
    radius = np.hypot(*(kp[kp[:, 2] > 0.1, :2] - hip).T).max() * 1.15
    return [*hip, 2 * radius * 1.25, (angle + np.pi) % (2 * np.pi) - np.pi]


def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    if isinstance(v, np.ndarray):
        return plain(v.tolist())
    return round(float(v), 5)


def main():
    r = Lcg(2024)
    n, h, w = 2, 24, 32
    o = dict(
        center=r.fill((n, 1, h, w), 0, 1), box_scale=r.fill((n, 2, h, w), 4, 14), box_offset=r.fill((n, 2, h, w), -0.5, 0.5),
        kpt_regress=r.fill((n, 34, h, w), -5, 5), kpt_heatmap=r.fill((n, 17, h, w), 0, 1), kpt_offset=r.fill((n, 34, h, w), -0.5, 0.5))
    # a frame of 1280x720 in an input of 128x96: the scaled picture is 128x72
    sx, sy = 1280 / 128 * 4, 720 / 72 * 4
    frames = []
    for f in range(n):
        people = movenet({k: (v[f, 0] if k == "center" else v[f]) for k, v in o.items()}, sx, sy, 0.9, 0.5)
        frames.append([dict(p, roi=crop_from_keypoints(p["keypoints"])) for p in people])
    r = Lcg(77)
    rois = [([640.0, 360.0], 500.0, 0.0), ([100.0, 50.0], 320.0, 2.5), ([900.0, 700.0], 800.0, -1.1)]
    n = len(rois)
    lm, presence, heat, world = r.fill((n, 195), -20, 276), r.fill((n, 1), 0, 1), r.fill((n, 39, 64, 64), -12, 0.25), r.fill((n, 117), -1, 1)
    lm = lm.reshape(n, 39, 5)
    lm[..., 3:] = (lm[..., 3:] - 128) / 40
    people = [dict(blazepose(lm[i], heat[i], world[i], rois[i]), presence=presence[i, 0]) for i in range(n)]
    print(json.dumps(plain(dict(movenet=frames, blazepose=people)), separators=(",", ":")))


if __name__ == "__main__":
    main()
