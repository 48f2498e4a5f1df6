"""The work on one frame."""

from pathlib import Path

import numpy as np

from peer import command, networks
from peer import rotations as rot
from peer.body import FLIP, Body
from peer.clock import StageClock
from peer.fit import Fitter

LEAST_PRESENCE, LEAST_DISTANCE = 0.5, 0.3


class Pipeline:
    """One frame: detect, crop, landmarks, fit, skin."""

    def __init__(self, args, clock=None, threads=0):
        models = Path(args.models)
        self.clock, self.passes = clock or StageClock(), args.landmark_passes
        self.detector = networks.Detector(models / "movenet_multipose.onnx", args.detector_size, threads=threads)
        self.landmarker = networks.Landmarker(models / f"pose_landmark_{args.landmarks}.onnx", threads)
        self.body = Body(command.rig_file(args))
        self.fitter = Fitter(self.body)

    def __call__(self, frame):
        """The people as JSON, and their bodies f32[N, V, 3] in OpenGL's camera axes."""
        height, width = frame.shape[:2]
        focal, center = 1.1 * max(width, height), np.array([width / 2, height / 2])
        nobody = [], np.empty((0, *self.body.template.shape), np.float32)
        with self.clock("detect"):
            rois = [networks.crop_from_keypoints(keypoints, box) for _, box, keypoints in self.detector(frame)]
        with self.clock("landmarks"):
            for _ in range(self.passes):
                if not rois:
                    return nobody
                presence, image, visibility, world = self.landmarker(frame, rois)
                here = np.nonzero(presence >= LEAST_PRESENCE)[0]
                image, visibility, world = image[here], visibility[here], world[here]
                looked_at = [rois[i] for i in here]
                rois = [networks.crop_from_landmarks(points) for points in image]
            if not rois:
                return nobody
        with self.clock("fit"):
            # landmarks stand in the axes of a camera that looks straight at the crop
            rays = np.array([[*(roi[0] - center) / focal, 1.0] for roi in looked_at])
            world = world[:, :33] @ rot.between(np.array([0, 0, 1.0]), rays).swapaxes(1, 2)
            local, translation, betas = self.fitter(world, image, visibility, focal, center)
            near = translation[:, 2] > LEAST_DISTANCE
            local, translation, betas, image, visibility = (a[near] for a in (local, translation, betas, image, visibility))
        with self.clock("skin"):
            vertices, joints = self.body.mesh(local, betas)
            vertices += (translation * FLIP)[:, None].astype(np.float32)
            joints = joints * FLIP + translation[:, None]
            landmarks = np.concatenate([image[:, :33], visibility[:, :33, None]], 2)
            fields = dict(landmarks2d=landmarks.round(2), rotations=rot.log(local).round(5), betas=betas.round(4))
            fields |= dict(translation=translation.round(4), joints3d=joints.round(4))
            people = [{name: values[i].tolist() for name, values in fields.items()} for i in range(len(joints))]
        return people, vertices[np.argsort(vertices[:, :, 2].mean(1))]

    def inferences(self):
        """Rows that each network read."""
        return {"detector": self.detector.runs, "landmarks": self.landmarker.crops}
