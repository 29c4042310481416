# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Find what an unnamed token table means, from frames whose joints are known; or refuse.

Each hypothesis is a layout of the table, a space and the columns that hold it. It is solved
(`token_solver`) on two thirds of the clips and tested on the others, so that what fits by chance
does not count. Numpy and scipy only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.token_map import LAYOUTS, SPACES, TokenMap, rows_of
from thfm_ros.genception.token_solver import AffineAssignment, solve_assignment, with_map
from thfm_ros.skeleton import FLIP_PAIRS, JOINT_NAMES, Joint

MIN_CLIPS, MIN_FRAMES = 12, 48
"""Fewer clips or frames do not determine an order of 33 rows."""
MIN_JOINTS = 8
MAX_RESIDUAL = 0.5
"""Largest RMS error on held-out frames, in units of the variation of the poses. The error of a
table without information is at least 1."""
MAX_ROW_RESIDUAL = 0.75
"""The same for one row; rows above are no joint of our skeleton."""
MAX_OF_BASELINE = 0.6
"""The error must also be below this share of the error of each joint's mean position."""
MIN_SWAP_RATIO = 1.1
"""How many times the error must be if all left and right joints are swapped."""


class TokenCalibrationError(GenceptionError):
    """The table cannot be understood from these frames; the text says why."""


@dataclass(frozen=True)
class KnownPoses:
    """The joints of one person in every frame."""

    positions_m: Float[np.ndarray, "f k 3"]  # optical frame
    pixels: Float[np.ndarray, "f k 2"]  # of the network image
    image_width: int  # of the network image
    clip: Int[np.ndarray, "f"]  # number of the clip of each frame

    def points(self, space: str) -> Float[np.ndarray, "f k a"]:
        """The joints in one of `SPACES`."""
        if space == "image":
            return np.asarray(self.pixels / self.image_width, np.float64)
        positions = np.asarray(self.positions_m, np.float64)
        root = positions[:, [Joint.PELVIS]] if space == "root_relative" else 0.0
        return np.asarray(positions - root)


def calibrate(
    table: str, values: Float[np.ndarray, "f *r"], poses: KnownPoses, prompt: str
) -> TokenMap:
    """The meaning of a table with the least error on held-out clips.

    Args:
        table: its name, for the result.
        values: its values in every frame of ``poses``.
        poses: the joints that the frames show.
        prompt: task with whose prompt it was predicted, for the result.

    Raises:
        TokenCalibrationError: too few frames, or no meaning explains the values of other frames.
    """
    _check(table, values, poses)
    fitted, held_out = _split(poses.clip)
    found: list[TokenMap] = []
    reasons: dict[float, str] = {}
    for layout, rows, columns, space in _hypotheses(values[0].size, values[0].shape):
        if found and layout != found[0].layout:
            break  # the axes lie otherwise only if nothing else fits
        cells = rows_of(values, rows, layout)[..., columns]
        if cells.reshape(-1, len(columns)).std(0).min() < 1e-9:
            reasons[np.inf] = "its values never change"
            continue
        points = poses.points(space)
        solved = solve_assignment(cells[fitted], points[fitted])
        verdict = _Verdict.of(cells, points, solved, fitted, held_out)
        if verdict.problem:
            reasons[verdict.residual] = f"as {space}, {verdict.problem}"
            continue
        found.append(
            TokenMap(
                table=table,
                layout=layout,
                space=space,
                columns=columns,
                joints=verdict.names,
                matrix=tuple(tuple(row) for row in verdict.solved.matrix.tolist()),
                offset=tuple(verdict.solved.offset.tolist()),
                residual=verdict.residual,
                baseline=verdict.baseline,
                joint_residuals=tuple(verdict.row_errors.tolist()),
                frames=len(values),
                prompt=prompt,
            )
        )
    if not found:
        reason = reasons[min(reasons)] if reasons else "it has too few values per frame for joints"
        raise TokenCalibrationError(
            f"{table} cannot be read as joints: {reason}. The checkpoint's card is not changed. "
            "More --clips help against noise only."
        )
    return min(found, key=lambda each: each.residual)


def _check(table: str, values: Float[np.ndarray, "f *r"], poses: KnownPoses) -> None:
    clips = len(np.unique(poses.clip))
    if len(values) < MIN_FRAMES or clips < MIN_CLIPS:
        raise TokenCalibrationError(
            f"{len(values)} frames of {clips} clips do not determine the order of the joints: at "
            f"least {MIN_FRAMES} frames of {MIN_CLIPS} clips are needed. Give more --clips."
        )
    if not np.isfinite(values).all():
        raise TokenCalibrationError(f"{table} has values that are not finite.")


def _split(clip: Int[np.ndarray, "f"]) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]]:
    """Indices of the frames to fit and of those held out: every third clip."""
    order = np.unique(clip, return_inverse=True)[1]
    is_held_out = order % 3 == 2
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _hypotheses(
    size: int, shape: tuple[int, ...]
) -> Iterator[tuple[str, int, tuple[int, ...], str]]:
    """Layout, number of rows, columns and space of everything that a table may be."""
    widths = {shape[-1], 2, 3} if len(shape) == 2 else {2, 3}
    for layout in LAYOUTS:
        for width in sorted(width for width in widths if width > 1 and size % width == 0):
            rows = size // width
            if not MIN_JOINTS <= rows <= len(JOINT_NAMES):
                continue
            for space, axes in SPACES.items():
                for columns in combinations(range(min(width, 4)), axes):
                    yield layout, rows, columns, space


@dataclass(frozen=True)
class _Verdict:
    """A solution and its errors on held-out frames, per unit of the variation of the poses."""

    solved: AffineAssignment
    names: tuple[str, ...]  # "" for rows that do not fit
    row_errors: Float[np.ndarray, "r"]  # in units of the points
    residual: float
    baseline: float
    problem: str  # why it is refused; empty if it is not

    @staticmethod
    def of(
        cells: Float[np.ndarray, "f r d"],
        points: Float[np.ndarray, "f k a"],
        solved: AffineAssignment,
        fitted: Int[np.ndarray, "n"],
        held_out: Int[np.ndarray, "m"],
    ) -> "_Verdict":
        variation = _pose_variation(points[fitted])
        squared = _row_errors(cells[held_out], points[held_out], solved)
        share = np.sqrt((squared / variation**2).mean(1))
        kept = share <= MAX_ROW_RESIDUAL
        names = tuple(
            JOINT_NAMES[joint] if fits else ""
            for joint, fits in zip(solved.joints, kept, strict=True)
        )
        row_errors = np.sqrt(squared.sum(1))
        if kept.sum() < MIN_JOINTS:
            text = f"only {kept.sum()} of {len(kept)} rows follow a joint"
            return _Verdict(solved, names, row_errors, float(share.mean()), np.nan, text)
        residual = float(np.sqrt((share[kept] ** 2).mean()))
        joints = solved.joints[kept]
        mean = points[fitted].mean(0)[joints]
        off = (points[held_out][:, joints] - mean) / variation
        baseline = float(np.sqrt((off**2).mean()))
        problem = _problem(residual, baseline)
        if not problem:
            swapped = np.array(FLIP_PAIRS)[solved.joints]
            other = with_map(cells[fitted], points[fitted], swapped)
            swapped_errors = _row_errors(cells[held_out], points[held_out], other)[kept]
            ratio = float(np.sqrt((swapped_errors / variation**2).mean())) / max(residual, 1e-12)
            if ratio < MIN_SWAP_RATIO:
                problem = (
                    f"left and right cannot be told apart: swapped, the error is {ratio:.2f} "
                    "times as large"
                )
        return _Verdict(solved, names, row_errors, residual, baseline, problem)


def _problem(residual: float, baseline: float) -> str:
    if residual > MAX_RESIDUAL:
        return (
            f"the error on held-out frames is {residual:.2f} of the variation of the poses, more "
            f"than {MAX_RESIDUAL}"
        )
    if residual > MAX_OF_BASELINE * baseline:
        return (
            f"the error on held-out frames is {residual:.2f}, that of each joint's mean position "
            f"{baseline:.2f}"
        )
    return ""


def _pose_variation(points: Float[np.ndarray, "f k a"]) -> Float[np.ndarray, "a"]:
    """Standard deviation per axis of the joints around their means, relative to the pelvis.

    Where a person stands varies more than how; only the latter tells joints apart.
    """
    relative = points - points[:, [Joint.PELVIS]]
    return np.asarray(np.sqrt(((relative - relative.mean(0)) ** 2).mean((0, 1))) + 1e-9)


def _row_errors(
    cells: Float[np.ndarray, "f r d"], points: Float[np.ndarray, "f k a"], solved: AffineAssignment
) -> Float[np.ndarray, "r a"]:
    """Mean squared error of each row per axis of the points; huge if the map has no inverse."""
    if np.linalg.cond(solved.matrix) > 1e6:
        return np.full((cells.shape[1], points.shape[2]), 1e12)
    read = (cells - solved.offset) @ np.linalg.inv(solved.matrix).T
    return np.asarray(((read - points[:, solved.joints]) ** 2).mean(0))


def report_lines(found: Mapping[str, TokenMap]) -> list[str]:
    """A table of what was found, for people."""
    lines = []
    for name, each in found.items():
        unit, scale = ("% of the image's width", 100) if each.space == "image" else ("mm", 1000)
        known = sum(map(bool, each.joints))
        lines.append(
            f"{name}: {known} of {len(each.joints)} rows are joints, {each.space}, error "
            f"{each.residual:.3f} of the poses' variation (each joint's mean: {each.baseline:.3f})"
        )
        for row, (joint, error) in enumerate(zip(each.joints, each.joint_residuals, strict=True)):
            lines.append(f"  row {row:2d}  {joint or '-':<16} {error * scale:8.1f} {unit}")
    return lines
