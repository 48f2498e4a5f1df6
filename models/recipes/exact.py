"""Small vector algebra whose results are the same bits on every machine.

The files that the recipes make are pinned by sha256, so their numbers may not depend on the processor. IEEE 754 fixes
the result of + - * / and the square root, but not the order in which a BLAS or a vectorised reduction adds up, nor the
last bit of sines and powers. Everything here (and in the recipes that import it) therefore uses elementwise operations
in a written order: no matmul, einsum, dot, sum, mean or linalg.
"""

import numpy as np


def dot3(a, b):
    """Dot product over the last axis, of length 3."""
    return (a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]) + a[..., 2] * b[..., 2]


def length3(a):
    """Euclidean length over the last axis, of length 3."""
    return np.sqrt(dot3(a, a))


def matmul3(a, b):
    """Product of 3x3 matrices (or a 3x3 matrix and a 3xM one) over the last two axes."""
    columns = a[..., :, 0:1] * b[..., 0:1, :]
    columns = columns + a[..., :, 1:2] * b[..., 1:2, :]
    return columns + a[..., :, 2:3] * b[..., 2:3, :]


def mean_rows(a):
    """Mean over the first axis, added up row by row."""
    total = np.zeros(a.shape[1:])
    for row in a:
        total = total + row
    return total / len(a)


def turn_between(a, b):
    """The smallest rotation f64[3, 3] that turns direction `a` into direction `b` (which may not be opposite)."""
    a, b = a / length3(a), b / length3(b)
    x, y, z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return (np.eye(3) + cross) + matmul3(cross, cross) / (1.0 + dot3(a, b))


def to_grid(a, step):
    """`a` rounded to whole multiples of `step`, as float32."""
    return (np.rint(a / step) * step).astype(np.float32)
