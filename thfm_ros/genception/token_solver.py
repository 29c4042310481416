# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which joint each row of an unnamed token table is, and the affine map of its values.

The model is ``table[f, r] = matrix @ points[f, joint(r)] + offset`` for all frames f and rows r:
one joint per row and one map for the whole table. The map includes the order and sign of the axes,
units and origin. The assignment is found by the Hungarian algorithm, the map by least squares, in
turns. Numpy and scipy only; nothing here knows a network.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

_MAX_ITERATIONS = 50
_TRIM = 3.0
"""Rows whose error is so many times the median row's do not enter the map: they may be points that
our skeleton does not have."""


class AffineAssignment(NamedTuple):
    """``table[f, r] = matrix @ points[f, joints[r]] + offset``."""

    joints: Int[np.ndarray, "r"]  # index of the joint of each row
    matrix: Float[np.ndarray, "d a"]
    offset: Float[np.ndarray, "d"]


def solve_assignment(
    table: Float[np.ndarray, "f r d"], points: Float[np.ndarray, "f k a"]
) -> AffineAssignment:
    """The assignment and the map with the least squared error among several starts.

    Args:
        table: rows of unknown meaning, r at most k.
        points: of all joints in the same frames, in any units.

    Returns:
        The best solution found. Noise has one too: judge it on other frames.
    """
    moments = _Moments.of(_standardized(table), _standardized(points))
    start = _starting_assignment(table, points)
    joints, error, affine = _refined(moments, start)
    for signs in _sign_changes(points.shape[2]):
        # Mirrored bodies resemble bodies, so the search can end in a mirrored solution.
        other = _refined(moments, _assigned(moments, affine * [*signs, 1.0]))
        if other[1] < error:
            joints, error, _ = other
    return with_map(table, points, joints)


def with_map(
    table: Float[np.ndarray, "f r d"],
    points: Float[np.ndarray, "f k a"],
    joints: Int[np.ndarray, "r"],
) -> AffineAssignment:
    """The least-squares map of a given assignment, without the rows that do not fit it."""
    spread = table.std((0, 1)) + 1e-12
    moments = _Moments.of(_standardized(table), _standardized(points))
    _, _, used = _trimmed_map(moments, joints)
    x = points[:, joints[used]].reshape(-1, points.shape[2])
    y = (table[:, used] / spread).reshape(-1, table.shape[2])
    design = np.concatenate([x, np.ones((len(x), 1))], 1)
    solution = np.linalg.lstsq(design, y, rcond=None)[0] * spread
    return AffineAssignment(joints, solution[:-1].T, solution[-1])


class _Moments(NamedTuple):
    """Second moments over the frames: all that errors and least squares depend on."""

    points: Float[np.ndarray, "k a1 a1"]  # with a coordinate of 1, which the offset multiplies
    mixed: Float[np.ndarray, "k r d a1"]
    table: Float[np.ndarray, "r"]

    @staticmethod
    def of(table: Float[np.ndarray, "f r d"], points: Float[np.ndarray, "f k a"]) -> "_Moments":
        extended = np.concatenate([points, np.ones((*points.shape[:2], 1))], 2)
        by_joint = extended.transpose(1, 2, 0)  # [k, a1, f]
        count = len(table)
        rows = table.reshape(count, -1)
        mixed = (by_joint @ rows / count).reshape(*by_joint.shape[:2], *table.shape[1:])
        return _Moments(
            by_joint @ by_joint.swapaxes(1, 2) / count,
            mixed.transpose(0, 2, 3, 1),
            (table**2).mean(0).sum(1),
        )

    def errors(self, affine: Float[np.ndarray, "d a1"]) -> Float[np.ndarray, "r k"]:
        """Mean squared error of each row if it is each joint."""
        cross = np.einsum("krda,da->rk", self.mixed, affine)
        own = np.einsum("da,kab,db->k", affine, self.points, affine)
        return np.asarray(np.maximum(self.table[:, None] - 2 * cross + own, 0.0))


def _standardized(values: Float[np.ndarray, "f n d"]) -> Float[np.ndarray, "f n d"]:
    return np.asarray((values - values.mean((0, 1))) / (values.std((0, 1)) + 1e-12))


def _sign_changes(axes: int) -> list[Float[np.ndarray, "a"]]:
    """Every reflection of the axes but the identity."""
    signs = np.array(np.meshgrid(*([1.0, -1.0],) * axes, indexing="ij")).reshape(axes, -1).T
    return list(signs[1:])


def _starting_assignment(
    table: Float[np.ndarray, "f r d"], points: Float[np.ndarray, "f k a"]
) -> Int[np.ndarray, "r"]:
    """By how much of each row's change over time each joint explains by a map of its own.

    That share does not depend on the common map, which is not known yet.
    """
    changes = (table - table.mean(0)).reshape(len(table), -1)  # [f, r d]
    energy = (changes**2).reshape(table.shape).sum((0, 2)) + 1e-9
    bases, values, _ = np.linalg.svd((points - points.mean(0)).transpose(1, 0, 2), False)
    bases = bases * (values > 1e-9 * max(float(values.max()), 1e-9))[:, None]
    projected = bases.swapaxes(1, 2) @ changes  # [k, a, r d]
    shares = (projected**2).sum(1).reshape(points.shape[1], *table.shape[1:]).sum(2).T
    return np.asarray(linear_sum_assignment(-shares / energy[:, None])[1])


def _refined(
    moments: _Moments, joints: Int[np.ndarray, "r"]
) -> tuple[Int[np.ndarray, "r"], float, Float[np.ndarray, "d a1"]]:
    """Map and assignment in turns until the assignment stays; with the error and the map."""
    for _ in range(_MAX_ITERATIONS):
        affine, error, _ = _trimmed_map(moments, joints)
        found = _assigned(moments, affine)
        if np.array_equal(found, joints):
            break
        joints = found
    return joints, error, affine


def _assigned(moments: _Moments, affine: Float[np.ndarray, "d a1"]) -> Int[np.ndarray, "r"]:
    """The joints that fit the rows best under a map, each at most once."""
    cost = moments.errors(affine)
    # A row that is no joint of ours is far from all of them, and must not take another row's joint
    # because it is a little less far from that one.
    nearest, second = np.partition(cost, 1, axis=1)[:, :2].T
    cap = _TRIM * (np.median(nearest) + np.median(second - nearest))
    return np.asarray(linear_sum_assignment(np.minimum(cost, cap))[1])


def _trimmed_map(
    moments: _Moments, joints: Int[np.ndarray, "r"]
) -> tuple[Float[np.ndarray, "d a1"], float, Bool[np.ndarray, "r"]]:
    """Least squares over all rows, then over those that fit: the map, its error, the rows used."""
    rows = np.arange(len(joints))
    used = np.ones(len(joints), bool)
    for _ in range(3):
        own = moments.points[joints[used]].sum(0)
        mixed = moments.mixed[joints[used], rows[used]].sum(0)
        affine = np.linalg.lstsq(own, mixed.T, rcond=1e-12)[0].T
        by_row = moments.errors(affine)[rows, joints]
        middle = float(np.median(by_row))
        # Never less than half of the rows, so that a few that fit by chance do not decide.
        fits = by_row <= max(_TRIM * middle, 1e-12)
        if np.array_equal(fits, used):
            break
        used = fits
    return affine, float(np.minimum(by_row, _TRIM * middle).mean()), used
