"""Bodies drawn with pyrender off screen (EGL, hence Mesa's software renderer where there is no GPU) and blended onto a frame."""

import os

import cv2
import numpy as np

from peer.rotations import cross, unit

COLOURS = [(166, 189, 219), (219, 178, 158), (178, 219, 168), (217, 166, 217), (217, 209, 153)]
SHEET = 64  # a rectangle is rounded up to this, so that buffers of few sizes are needed
PYRENDERS_SAMPLES = 4


class Renderer:
    """What each level of care means:

    `new`   a new OffscreenRenderer a frame, meshes through trimesh, the whole frame: what 4D-Humans' demo does
    `kept`  the same with one renderer that is kept
    `tuned` one renderer, normals by NumPy, only the rectangle around the bodies

    `samples` a pixel are 4, pyrender's own, or 1, which is what Halfpipe takes on a software renderer.
    """

    def __init__(self, width, height, faces, care, clock, samples=PYRENDERS_SAMPLES):
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        import pyrender  # here, since it looks at the variable when it is imported

        self.pyrender, self.clock, self.care = pyrender, clock, care
        self.width, self.height, self.focal, self.faces = width, height, 1.1 * max(width, height), faces
        if samples != PYRENDERS_SAMPLES:
            _take_one_sample()
        if care == "tuned":
            flat = faces.ravel()
            order = np.argsort(flat, kind="stable")
            self.face_of_corner = order // 3
            self.first_corner = np.searchsorted(flat[order], np.arange(faces.max() + 1))
        self.materials = [
            pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, roughnessFactor=1.0, alphaMode="OPAQUE", baseColorFactor=(*(np.array(c) / 255), 1.0))
            for c in COLOURS
        ]
        self.kept = None if care == "new" else self._open(width, height)
        self.scene = self._new_scene()

    def overlay(self, frame, vertices, opacity):
        """Blends bodies f32[N, V, 3] (OpenGL's camera axes, metres) onto a BGR frame in place; says whether a pixel changed."""
        if not len(vertices):
            return False
        with self.clock("render"):
            x0, y0, x1, y1 = self._rectangle(vertices)
            if x1 <= x0 or y1 <= y0:
                return False
            layer = self.draw(vertices, (x0, y0, x1, y1))
        with self.clock("blend"):
            part = frame[y0:y1, x0:x1]
            keep = cv2.cvtColor(255 - cv2.convertScaleAbs(layer[..., 3], alpha=opacity), cv2.COLOR_GRAY2BGR)
            # colours are premultiplied: frame * (1 - opacity alpha) + opacity rgb
            ink = cv2.convertScaleAbs(cv2.cvtColor(layer, cv2.COLOR_RGBA2BGR), alpha=opacity)
            part[...] = cv2.add(cv2.multiply(part, keep, scale=1 / 255), ink)
        return bool(layer[..., 3].any())

    def draw(self, vertices, rectangle):
        """uint8 RGBA of the rectangle (x0, y0, x1, y1) of the frame."""
        x0, y0, x1, y1 = rectangle
        if self.care == "tuned":
            left, top = x0, y0
            width, height = (-(-side // SHEET) * SHEET for side in (x1 - x0, y1 - y0))
        else:
            left, top, width, height = 0, 0, self.width, self.height
        renderer = self.kept or self._open(width, height)
        scene, camera = self.scene if self.kept else self._new_scene()
        renderer.viewport_width, renderer.viewport_height = width, height
        camera.cx, camera.cy = self.width / 2 - left, self.height / 2 - top
        nodes = [scene.add(self._mesh(body, self.materials[i % len(self.materials)])) for i, body in enumerate(vertices)]
        colour, _ = renderer.render(scene, flags=self.pyrender.RenderFlags.RGBA)
        if self.kept:
            for node in nodes:
                scene.remove_node(node)
        else:
            renderer.delete()
        return colour[y0 - top : y1 - top, x0 - left : x1 - left]

    def close(self):
        if self.kept:
            self.kept.delete()

    def _open(self, width, height):
        return self.pyrender.OffscreenRenderer(viewport_width=width, viewport_height=height, point_size=1.0)

    def _new_scene(self):
        scene = self.pyrender.Scene(bg_color=[0.0] * 4, ambient_light=(0.3,) * 3)
        camera = self.pyrender.IntrinsicsCamera(fx=self.focal, fy=self.focal, cx=self.width / 2, cy=self.height / 2, zfar=1e12)
        scene.add(camera, pose=np.eye(4))
        for turn in np.arange(3) * 2 * np.pi / 3:  # three lights, 30 degrees off the camera's axis
            z = np.array([np.sin(np.pi / 6) * np.cos(turn), np.sin(np.pi / 6) * np.sin(turn), np.cos(np.pi / 6)])
            x = unit(np.array([-z[1], z[0], 0.0]))
            pose = np.eye(4)
            pose[:3, :3] = np.stack([x, np.cross(z, x), z], 1)
            scene.add(self.pyrender.DirectionalLight(color=np.ones(3), intensity=1.0), pose=pose)
        return scene, camera

    def _mesh(self, body, material):
        if self.care != "tuned":
            import trimesh

            return self.pyrender.Mesh.from_trimesh(trimesh.Trimesh(body.copy(), self.faces.copy()), material=material)
        a, b, c = (body[self.faces[:, corner]] for corner in range(3))
        normals = unit(np.add.reduceat(cross(b - a, c - a)[self.face_of_corner], self.first_corner, axis=0))
        primitive = self.pyrender.Primitive(positions=body, normals=normals, indices=self.faces, material=material, mode=4)
        return self.pyrender.Mesh([primitive])

    def _rectangle(self, vertices):
        away = np.maximum(-vertices[..., 2], 0.05)
        x, y = vertices[..., 0] / away * self.focal + self.width / 2, -vertices[..., 1] / away * self.focal + self.height / 2
        clip = lambda value, most: int(np.clip(value, 0, most))
        return clip(x.min() - 2, self.width), clip(y.min() - 2, self.height), clip(x.max() + 3, self.width), clip(y.max() + 3, self.height)


def _take_one_sample():
    """pyrender has no option for it: makes its buffers hold one sample a pixel in place of four."""
    import pyrender.renderer as module

    original = module.glRenderbufferStorageMultisample

    def with_one(target, samples, *rest):
        return original(target, 0 if samples == PYRENDERS_SAMPLES else samples, *rest)

    module.glRenderbufferStorageMultisample = with_one
