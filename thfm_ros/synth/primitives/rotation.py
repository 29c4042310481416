# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rotation matrices [..., 3, 3], and smooth noise for varying motion. Pure functions."""

import numpy as np
from jaxtyping import Float

Array = Float[np.ndarray, "..."]
TINY = 1e-9


def normalized(vectors: Float[np.ndarray, "*b n"]) -> Float[np.ndarray, "*b n"]:
    """Scale vectors along the last axis to length one; a zero vector stays zero."""
    out: np.ndarray = vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + TINY)
    return out


def from_axis_angle(
    vectors: Float[np.ndarray, "*b 3"] | list[float],
) -> Float[np.ndarray, "*b 3 3"]:
    """Rodrigues' formula: the direction is the axis, the length the angle in radians."""
    vectors = np.asarray(vectors, dtype=np.float64)
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors / (angle[..., 0] + TINY), -1, 0)
    zero = np.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    cross = np.stack(rows, axis=-1).reshape(*x.shape, 3, 3)
    out: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return out


def axis_rotation(axis: str, radians: float | Array) -> Float[np.ndarray, "*b 3 3"]:
    """Rotation about a coordinate axis, "x", "y" or "z"."""
    vectors = np.zeros((*np.shape(radians), 3))
    vectors[..., "xyz".index(axis)] = radians
    return from_axis_angle(vectors)


def from_quaternion(quaternions: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 3 3"]:
    """Rotation matrices of quaternions (x, y, z, w) of any non-zero length."""
    x, y, z, w = np.moveaxis(normalized(np.asarray(quaternions, dtype=np.float64)), -1, 0)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return np.stack(rows, axis=-1).reshape(*x.shape, 3, 3)


def to_quaternion(matrices: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 4"]:
    """Unit quaternions (x, y, z, w) with w >= 0."""
    m = np.asarray(matrices, dtype=np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Four candidates, each scaled by a different component; the largest is the most accurate.
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = np.stack(
        [
            np.stack([1 + xx - yy - zz, d, e, a], axis=-1),
            np.stack([d, 1 - xx + yy - zz, f, b], axis=-1),
            np.stack([e, f, 1 - xx - yy + zz, c], axis=-1),
            np.stack([a, b, c, 1 + xx + yy + zz], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.einsum("...ii->...i", candidates), axis=-1)
    picked = np.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]
    picked = np.where(picked[..., 3:] < 0, -picked, picked)
    return normalized(picked)


def to_axis_angle(matrices: Float[np.ndarray, "*b 3 3"]) -> Float[np.ndarray, "*b 3"]:
    """The shortest rotation as axis times angle in radians."""
    quaternions = to_quaternion(matrices)
    sine = np.linalg.norm(quaternions[..., :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., 3:])
    out: np.ndarray = quaternions[..., :3] / (sine + TINY) * angle
    return out


def rotation_between(
    start: Float[np.ndarray, "*b 3"], end: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 3 3"]:
    """The smallest rotation that takes the direction ``start`` to ``end``."""
    axis = np.cross(normalized(np.asarray(start, float)), normalized(np.asarray(end, float)))
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    cosine = np.sum(
        normalized(np.asarray(start, float)) * normalized(np.asarray(end, float)), axis=-1
    )
    return from_axis_angle(axis / (sine + TINY) * np.arctan2(sine, cosine[..., None]))


def orthonormal_frame(
    direction: Float[np.ndarray, "*b 3"], hinge: Float[np.ndarray, "*b 3"]
) -> Float[np.ndarray, "*b 3 3"]:
    """Columns: the direction, the hinge orthogonalised to it, and their cross product."""
    first = normalized(np.asarray(direction, float))
    second = normalized(hinge - first * np.sum(first * hinge, axis=-1, keepdims=True))
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def smooth_noise(
    rng: np.random.Generator, frames: int, channels: int, scale: float, width: int = 12
) -> Float[np.ndarray, "frames channels"]:
    """Gaussian noise of standard deviation ``scale``, smooth over about ``width`` frames."""
    white = rng.standard_normal((frames + 4 * width, channels))
    window = np.hanning(2 * width + 1)
    window /= np.sqrt((window**2).sum())
    columns = [np.convolve(white[:, c], window, "same") for c in range(channels)]
    return scale * np.stack(columns, axis=1)[2 * width : 2 * width + frames]
