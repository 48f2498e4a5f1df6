"""Rotations of many joints at once; every function broadcasts over leading axes."""

import numpy as np


def cross(a, b):
    """numpy's own cross product is several times slower on small arrays."""
    a0, a1, a2 = a[..., 0], a[..., 1], a[..., 2]
    b0, b1, b2 = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], -1)


def dot(a, b):
    return (a * b).sum(-1)


def length(a):
    return np.sqrt((a * a).sum(-1))


def unit(a):
    return a / (length(a)[..., None] + 1e-9)


def apply(matrices, vectors):
    return (matrices @ vectors[..., None])[..., 0]


def columns(x, y, z):
    return np.stack([x, y, z], -1)


def skew(v):
    m = np.zeros((*v.shape, 3))
    m[..., 0, 1], m[..., 0, 2], m[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    m[..., 1, 0], m[..., 2, 0], m[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return m


def exp(v):
    """Rotation matrices of rotation vectors (Rodrigues)."""
    angle = length(v)
    k = skew(v / np.maximum(angle, 1e-9)[..., None])
    return np.eye(3) + np.sin(angle)[..., None, None] * k + (1 - np.cos(angle))[..., None, None] * (k @ k)


def log(m):
    """Rotation vectors of rotation matrices."""
    angle = np.arccos(np.clip((np.trace(m, axis1=-2, axis2=-1) - 1) / 2, -1, 1))
    twist = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    size = length(twist)
    v = twist * (angle / np.maximum(size, 1e-12))[..., None]
    half_turns = (size < 1e-6) & (angle >= 1e-6)
    if half_turns.any():
        # the axis is the eigenvector of eigenvalue 1
        symmetric = (m[half_turns] + m[half_turns].swapaxes(-1, -2)) / 2
        v[half_turns] = np.linalg.eigh(symmetric)[1][..., -1] * angle[half_turns][..., None]
    return v


def right_jacobian(v):
    """d log(exp(v)^T exp(v + dv)) / d dv at 0."""
    angle = length(v)
    large = angle > 1e-5
    a = np.where(large, angle, 1.0)
    k = skew(v)
    first = np.where(large, (1 - np.cos(a)) / a**2, 0.5)[..., None, None]
    second = np.where(large, (a - np.sin(a)) / a**3, 1 / 6)[..., None, None]
    return np.eye(3) - first * k + second * (k @ k)


def between(a, b):
    """The smallest rotation that takes direction a to direction b."""
    a, b = unit(a), unit(b)
    k, c = skew(cross(a, b)), dot(a, b)
    m = np.eye(3) + k + k @ k / np.maximum(1 + c, 1e-4)[..., None, None]
    opposite = c < -0.9999
    if opposite.any():
        m[opposite] = exp(np.pi * unit(cross(a[opposite], np.array([0.3, 0.5, 0.8]))))
    return m


def frame_x(x, near_y):
    """Axes whose x is given and whose y is as near to `near_y` as can be."""
    x = unit(x)
    z = unit(cross(x, near_y))
    return columns(x, cross(z, x), z)


def frame_y(near_x, y):
    """Axes whose y is given and whose x is as near to `near_x` as can be."""
    y = unit(y)
    z = unit(cross(near_x, y))
    return columns(cross(y, z), y, z)
