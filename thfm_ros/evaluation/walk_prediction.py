# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How well `predict_to: now` says where the pelvis and the wrists are, on rendered walks.

`python scripts/evaluate_walks.py DIR` prints the table; see `walk_velocity` for the films.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Body, Perception, PerceptionError
from thfm_ros.evaluation.walk_velocity import (
    COVERED,
    HORIZONS_S,
    SETTLED_S,
    perceptions,
    tallest,
    walk_files,
)
from thfm_ros.geometry import unpack_covariance
from thfm_ros.loading import Pipeline
from thfm_ros.skeleton import Joint

AHEAD_S = (0.0, *HORIZONS_S)
_HIPS = [Joint.LEFT_HIP, Joint.RIGHT_HIP]
_WRISTS = [Joint.LEFT_WRIST, Joint.RIGHT_WRIST]
_POINTS = {"pelvis": slice(0, 1), "wrists": slice(1, 3)}


class Errors(NamedTuple):
    """Of pelvis, left and right wrist, at `AHEAD_S`; metres."""

    error_m: Float64[np.ndarray, "t a 3 3"]
    covariance_m2: Float64[np.ndarray, "t a 3 3 3"]


@dataclass(frozen=True)
class PredictedWalk:
    """Pelvis, left and right wrist of one film, at each frame and `AHEAD_S` later; metres, optical
    frame. NaN where the person was not detected, and of the truth beyond the film."""

    estimate_m: Float64[np.ndarray, "t a 3 3"]
    covariance_m2: Float64[np.ndarray, "t a 3 3 3"]
    true_m: Float64[np.ndarray, "t a 3 3"]

    def errors(self, *, unmoved: bool) -> Errors:
        """Of the positions; ``unmoved``: of those that are true of the image."""
        at = slice(0, 1) if unmoved else slice(None)
        error = self.estimate_m[:, at] - self.true_m
        return Errors(error, np.broadcast_to(self.covariance_m2[:, at], (*error.shape, 3)))

    def motion_errors(self, *, unmoved: bool) -> Errors:
        """Of the motion since the image, which an error of the person's size hardly changes.

        ``unmoved``: of no motion, whose covariance is unknown.
        """
        position = self.errors(unmoved=unmoved)
        growth = position.covariance_m2 - self.covariance_m2[:, :1]
        growth = np.full_like(growth, np.nan) if unmoved else growth
        return Errors(position.error_m - position.error_m[:, :1], growth)


def predicted_walks(pipeline: Pipeline, folder: Path) -> Iterator[PredictedWalk]:
    """Perceive each film of the folder, and predict in each frame.

    Raises:
        PerceptionError: there is no film, or it was rendered without joints.
    """
    for file in walk_files(folder):
        with np.load(file) as arrays:
            if "joints_m" not in arrays:
                raise PerceptionError(f"{file} has no joints_m: an older version made it. Render.")
            joints, fps = arrays["joints_m"].astype(np.float64), float(arrays["fps"])
            focal_px = float(arrays["focal_px"])
        bodies: list[list[Body | None]] = []
        for perception in perceptions(pipeline, file.with_suffix(".mp4"), focal_px, fps):
            seen = tallest(perception)
            bodies.append([_predicted(pipeline, perception, seen, ahead) for ahead in AHEAD_S])
        yield predicted_walk_of(bodies, joints[: len(bodies)], fps)


def _predicted(
    pipeline: Pipeline, perception: Perception, seen: Body | None, ahead_s: float
) -> Body | None:
    """The person whom the frame shows, later."""
    later = pipeline.predicted(perception, perception.stamp_ns + round(ahead_s * 1e9))
    return next((b for b in later.bodies if seen is not None and b.id == seen.id), None)


def predicted_walk_of(
    bodies: Sequence[Sequence[Body | None]], joints_m: Float64[np.ndarray, "t k 3"], fps: float
) -> PredictedWalk:
    """The film whose frames have these ``bodies`` at `AHEAD_S`; None: not detected."""
    shape = (len(bodies), len(AHEAD_S), 3)
    estimate, packed = np.full((*shape, 3), np.nan), np.full((*shape, 6), np.nan)
    for index, of_frame in enumerate(bodies):
        for ahead, body in enumerate(of_frame):
            if body is not None:
                estimate[index, ahead] = [body.root_m, *body.positions_m[_WRISTS]]
                packed[index, ahead] = [body.root_covariance_m2, *body.covariances_m2[_WRISTS]]
    points = np.concatenate([joints_m[:, _HIPS].mean(1, keepdims=True), joints_m[:, _WRISTS]], 1)
    seconds = np.arange(len(bodies)) / fps
    true = [_interpolated(seconds, points, ahead_s) for ahead_s in AHEAD_S]
    walk = PredictedWalk(estimate, unpack_covariance(packed), np.stack(true, axis=1))
    settled = seconds >= SETTLED_S
    return PredictedWalk(
        walk.estimate_m[settled], walk.covariance_m2[settled], walk.true_m[settled]
    )


def _interpolated(
    seconds: Float64[np.ndarray, " t"], points: Float64[np.ndarray, "t 3 3"], ahead_s: float
) -> Float64[np.ndarray, "t 3 3"]:
    flat = points.reshape(len(points), -1).T
    later = [np.interp(seconds + ahead_s, seconds, x, np.nan, np.nan) for x in flat]
    return np.stack(later, axis=1).reshape(points.shape)


def prediction_error_table(walks: Sequence[PredictedWalk]) -> str:
    """Root mean square errors in metres, and in brackets the share of the errors that lie within
    the 95 % ellipsoid of the covariance, as Markdown."""
    head = [f"{1000 * ahead:g} ms" for ahead in AHEAD_S]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for point, rows in _POINTS.items():
        for name, unmoved in (("predicted", False), ("as in the image", True)):
            positions = [walk.errors(unmoved=unmoved) for walk in walks]
            motions = [walk.motion_errors(unmoved=unmoved) for walk in walks]
            for of, errors in (("", positions), ("motion since the image, ", motions)):
                cells = [_cell(errors, ahead, rows) for ahead in range(len(AHEAD_S))]
                lines.append(f"| {point}, {of}{name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(errors: Sequence[Errors], ahead: int, points: slice) -> str:
    """RMS error, and the share of the errors within the ellipsoid, if there is a covariance."""
    error = np.concatenate([each.error_m[:, ahead, points].reshape(-1, 3) for each in errors])
    covariance = np.concatenate(
        [each.covariance_m2[:, ahead, points].reshape(-1, 3, 3) for each in errors]
    )
    known = np.isfinite(error).all(axis=1)
    error, covariance = error[known], covariance[known]
    if not len(error):
        return "nan"
    text = f"{np.sqrt((error**2).sum(axis=1).mean()):.3f}"
    if not np.isfinite(covariance).all() or not covariance.any():  # none at the image itself
        return text
    solved = np.linalg.solve(covariance, error[..., None])[..., 0]
    return f"{text} ({((error * solved).sum(axis=1) < COVERED).mean():.2f})"
