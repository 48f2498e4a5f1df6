"""How good poses are: how far apart two results are, how well bodies project onto landmarks, and how far from the makers' landmarks.

Distances are parts of the diagonal of the box around a person's landmarks, so that near and far people count alike.
"""

import json
import math
import statistics

from runner.figures import table

VISIBLE = 0.5
# People whose landmarks are further apart on average are two people.
SAME_PERSON = 0.25
# Joints of the body that a landmark stands for: name, number.
JOINTS = {"shoulder": 11, "elbow": 13, "wrist": 15, "hip": 23, "knee": 25, "ankle": 27}


def _person(landmarks, joints, names, camera):
    """Landmarks as (x, y, visibility), and the mean distance of projected joints from them, a part of the diagonal; none without a body."""
    xs, ys = [p[0] for p in landmarks], [p[1] for p in landmarks]
    diagonal = max(math.hypot(max(xs) - min(xs), max(ys) - min(ys)), 1e-6)
    error = None
    if joints:
        focal, (cx, cy) = camera
        distances = []
        for name, left in JOINTS.items():
            for side, at in (("left", left), ("right", left + 1)):
                x, y, z = joints[names.index(f"{side}_{name}")]
                if landmarks[at][2] > VISIBLE:
                    distances.append(math.hypot(focal * x / z + cx - landmarks[at][0], focal * y / z + cy - landmarks[at][1]))
        error = statistics.fmean(distances) / diagonal if distances else None
    return {"landmarks": landmarks, "diagonal": diagonal, "reprojection": error}


def halfpipes(path):
    """People by frame, out of poses.jsonl; bodies without landmarks were filled in."""
    with open(path, encoding="utf-8") as lines:
        header = json.loads(next(lines))
        camera, names = (header["camera"]["focal"], header["camera"]["center"]), header["skeleton"]["joint_names"]
        frames = []
        for line in lines:
            people = [p for p in json.loads(line)["people"] if p.get("pose") and p.get("landmarks2d")]
            frames.append([_person(p["landmarks2d"], p["pose"]["joints3d"], names, camera) for p in people])
    return frames


def peers(path):
    """People by frame, out of a peer's file."""
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    camera = data["focal"], (data["width"] / 2, data["height"] / 2)
    return [[_person(p["landmarks2d"], p.get("joints3d"), data["joint_names"], camera) for p in people] for people in data["frames"]]


def _apart(a, b):
    """Mean distance of the landmarks that both see, a part of the second's diagonal; none where there are none."""
    seen = [(p, q) for p, q in zip(a["landmarks"], b["landmarks"], strict=True) if min(p[2], q[2]) > VISIBLE]
    return statistics.fmean(math.hypot(p[0] - q[0], p[1] - q[1]) for p, q in seen) / b["diagonal"] if seen else None


def _matched(ours, theirs):
    """Distances of those of `theirs` that somebody of `ours` is, each taken once."""
    pairs = sorted((d, i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs) if (d := _apart(a, b)) is not None and d < SAME_PERSON)
    taken, distances = set(), []
    for distance, i, j in pairs:
        if ("ours", i) not in taken and ("theirs", j) not in taken:
            taken |= {("ours", i), ("theirs", j)}
            distances.append(distance)
    return distances


def _percentile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else None


def compare(found, own, equal, reference):
    """Each contestant by itself, against the makers' landmarks, and against both of Halfpipe's runs."""
    result = {}
    for name, frames in found.items():
        errors = [p["reprojection"] for people in frames for p in people if p["reprojection"] is not None]
        entry = {"reprojection_median": statistics.median(errors) if errors else None, "reprojection_p95": _percentile(errors, 0.95)}
        for label, other in (("halfpipe", own), ("equal_work", equal)):
            if other in found and other != name:
                apart = [d for a, b in zip(found[other], frames, strict=True) for d in _matched(a, b)]
                entry[f"seen_by_{label}"] = len(apart) / max(sum(map(len, frames)), 1)
                entry[f"from_{label}_median"] = statistics.median(apart) if apart else None
                entry[f"from_{label}_p95"] = _percentile(apart, 0.95)
        if reference:
            entry["from_makers_pixels"] = _from_makers(frames, reference)
        result[name] = entry
    return result


def _from_makers(frames, reference):
    """Mean distance from the makers' own landmarks of a clip with one person, pixels."""
    distances = [
        math.hypot(p[0] - q[0], p[1] - q[1]) for people, makers in zip(frames, reference, strict=True) for person in people[:1] for p, q in zip(person["landmarks"], makers, strict=True)
    ]
    return statistics.fmean(distances) if distances else None


def text(result):
    """In percent of the diagonal of a person's landmarks."""
    percent = lambda value: "-" if value is None else f"{100 * value:.2f}"
    share = lambda value: "-" if value is None else f"{100 * value:.1f}"
    makers = any("from_makers_pixels" in entry for entry in result.values())
    rows = []
    for name, entry in result.items():
        row = [name, f"{percent(entry['reprojection_median'])} / {percent(entry['reprojection_p95'])}"]
        row += [f"{percent(entry.get('from_equal_work_median'))} / {percent(entry.get('from_equal_work_p95'))}", share(entry.get("seen_by_equal_work"))]
        row += [share(entry.get("seen_by_halfpipe"))]
        pixels = entry.get("from_makers_pixels")
        rows.append(row + ([f"{pixels:.1f}" if pixels is not None else "-"] if makers else []))
    heads = ["quality, % of the person's diagonal", "joints from landmarks, median / p95", "landmarks from equal work, median / p95"]
    heads += ["its people that equal work has too, %", "that Halfpipe has too, %"]
    return table(heads + (["landmarks from their makers', pixels"] if makers else []), rows)
