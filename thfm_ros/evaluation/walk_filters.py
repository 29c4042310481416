# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What limits the velocity of people: the errors of positions, and what filters make of them.

    python scripts/evaluate_walks.py DIR --filters

prints the tables for the walks of `python -m thfm_ros.synth.walks`. Each walk's mean error of the
scale is taken out of all positions, as in the last column of the velocity's table.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Body
from thfm_ros.evaluation.walk_velocity import (
    SETTLED_S,
    perceptions,
    read_truth,
    tallest,
    walk_files,
)
from thfm_ros.geometry import unpack_covariance
from thfm_ros.loading import Pipeline
from thfm_ros.perception.root_filter import RootFilter
from thfm_ros.perception.size_reference import SizeReference
from thfm_ros.size_error import size_covariance

BANDS_HZ = ((0.3, 1.0), (1.0, 2.5), (2.5, 5.0), (5.0, 15.0))
DENSITIES = (0.05, 0.1, 0.15, 0.3, 0.6)
"""Spectral densities of the acceleration that are compared, m^2/s^3."""
LAG_S = 0.15
SPEED_M_S, START_S, STOP_S, CHANGE_S = 1.2, 1.0, 1.9, 0.4
_LEAST_S = 2.3  # shorter parts do not count
_TAPS = 30  # frames that the best linear filter sees
_RIDGE = 30.0  # its regularisation, towards the mean of all differences


@dataclass(frozen=True)
class MeasuredWalk:
    """One walk; metres, optical frame."""

    true_m: Float64[np.ndarray, "t 3"]
    root_m: Float64[np.ndarray, "t 3"]  # as the filter gets it, the error of the scale taken out
    covariance_m2: Float64[np.ndarray, "t 3 3"]
    fps: float

    def axes(self) -> Float64[np.ndarray, "t 3 3"]:
        """Unit vectors along the line of sight, across it, and the third direction, as rows."""
        ray = self.true_m / np.linalg.norm(self.true_m, axis=1, keepdims=True)
        across = np.stack([ray[:, 2], np.zeros(len(ray)), -ray[:, 0]], axis=1)
        across /= np.linalg.norm(across, axis=1, keepdims=True)
        return np.stack([ray, across, np.cross(ray, across)], axis=1)

    def true_velocity(self, lag_s: float) -> Float64[np.ndarray, "t 3"]:
        """The true velocity ``lag_s`` before each frame; NaN beyond the film."""
        times = np.arange(len(self.true_m)) / self.fps
        ends = [
            np.stack([np.interp(times + at, times, x, np.nan, np.nan) for x in self.true_m.T], 1)
            for at in (1 / self.fps - lag_s, -1 / self.fps - lag_s)
        ]
        return np.asarray((ends[0] - ends[1]) * self.fps / 2)


def measured_walk(
    bodies: Sequence[Body], true_m: Float64[np.ndarray, "t 3"], fps: float
) -> MeasuredWalk:
    """What the filter gets of unsmoothed bodies, one per frame."""
    size = SizeReference()
    root = np.array([each.root_m / size.relative_size(each.positions_m) for each in bodies], float)
    scale = np.mean(np.linalg.norm(root, axis=1) / np.linalg.norm(true_m, axis=1))
    covariances = [
        unpack_covariance(each.root_covariance_m2) - size_covariance(each.root_m) for each in bodies
    ]
    return MeasuredWalk(true_m, root / scale, np.array(covariances), fps)


def walks_for_filters(pipeline: Pipeline, folder: Path) -> Iterator[MeasuredWalk]:
    """Perceive each film of the folder, with a pipeline that does not smooth.

    Of a film only the longest part counts in which the person is detected in every frame.

    Raises:
        PerceptionError: there is no film.
    """
    for file in walk_files(folder):
        true_m, fps, focal_px = read_truth(file)
        found = perceptions(pipeline, file.with_suffix(".mp4"), focal_px, fps)
        bodies = [tallest(each) for each in found]
        missed = [-1, *(i for i, body in enumerate(bodies) if body is None), len(bodies)]
        begin, end = max(itertools.pairwise(missed), key=lambda each: each[1] - each[0])
        part = [body for body in bodies[begin + 1 : end] if body is not None]
        if len(part) >= _LEAST_S * fps:
            yield measured_walk(part, true_m[begin + 1 : end], fps)


def starting_and_stopping(walk: MeasuredWalk, seed: int) -> MeasuredWalk:
    """The errors of a walk, on a person who stands, walks and stands again in one direction."""
    times = np.arange(len(walk.true_m)) / walk.fps
    speed = np.clip((times - START_S) / CHANGE_S, 0, 1) - np.clip((times - STOP_S) / CHANGE_S, 0, 1)
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    way = np.cumsum(SPEED_M_S * speed / walk.fps)[:, None] * [np.cos(angle), 0, np.sin(angle)]
    true_m = walk.true_m.mean(axis=0) + way
    return MeasuredWalk(true_m, true_m + walk.root_m - walk.true_m, walk.covariance_m2, walk.fps)


def velocity_errors(walk: MeasuredWalk, density: float, lag_s: float) -> Float64[np.ndarray, "n 3"]:
    """Errors of the filter with this density, along the walk's axes, m/s."""
    root_filter = RootFilter(acceleration_density=density)
    velocity = np.zeros_like(walk.root_m)
    for index, (root, covariance) in enumerate(zip(walk.root_m, walk.covariance_m2, strict=True)):
        root_filter.update(round(1e9 + index * 1e9 / walk.fps), root, covariance)
        velocity[index] = root_filter.predict(0.0).velocity_m_s
    return _settled(walk, velocity - walk.true_velocity(lag_s))


def _settled(walk: MeasuredWalk, error: Float64[np.ndarray, "t 3"]) -> Float64[np.ndarray, "n 3"]:
    along = np.einsum("tij,tj->ti", walk.axes(), error)[round(SETTLED_S * walk.fps) :]
    return np.asarray(along[np.isfinite(along).all(axis=1)])


def density_table(walks: Sequence[MeasuredWalk]) -> str:
    """Root mean square errors of the filter by its density, as Markdown."""
    changing = [starting_and_stopping(walk, seed) for seed, walk in enumerate(walks)]
    rows = ["| density, m^2/s^3 | as they walk: 0 ms | 150 ms | start and stop: 0 ms | 150 ms |"]
    rows.append("|---|---|---|---|---|")
    for density in DENSITIES:
        errors = [
            _rms([velocity_errors(walk, density, lag) for walk in some])
            for some in (walks, changing)
            for lag in (0.0, LAG_S)
        ]
        rows.append(f"| {density:g} | {' | '.join(f'{each:.3f}' for each in errors)} |")
    return "\n".join(rows)


def band_table(walks: Sequence[MeasuredWalk]) -> str:
    """Errors of positions by frequency and axis, and as velocities, as Markdown."""
    length = min(len(walk.true_m) for walk in walks)
    window = np.hanning(length)[:, None]
    power = np.zeros((length // 2 + 1, 3))
    for walk in walks:
        error = np.einsum("tij,tj->ti", walk.axes(), walk.root_m - walk.true_m)[:length]
        spectrum = np.abs(np.fft.rfft((error - error.mean(axis=0)) * window, axis=0)) ** 2
        power += 2 * spectrum / (length * (window**2).sum()) / len(walks)
    hertz = np.fft.rfftfreq(length, 1 / walks[0].fps)
    rows = ["| Hz | position: along, across, vertical, m | as velocity, m/s |", "|---|---|---|"]
    for low, high in BANDS_HZ:
        chosen = (hertz >= low) & (hertz < high)
        squared = (2 * np.pi * hertz[chosen, None]) ** 2
        cells = [np.sqrt(power[chosen].sum(axis=0)), np.sqrt((power[chosen] * squared).sum(axis=0))]
        texts = [", ".join(f"{each:.3f}" for each in cell) for cell in cells]
        rows.append(f"| {low:g} to {high:g} | {texts[0]} | {texts[1]} |")
    return "\n".join(rows)


def best_linear_errors(walks: Sequence[MeasuredWalk], lag_s: float) -> Float64[np.ndarray, "n 3"]:
    """Errors of the linear filter of the last second that is best for all other walks, per axis."""
    inputs, targets, owners = [], [], []
    for number, walk in enumerate(walks):
        axes, velocity = walk.axes(), walk.true_velocity(lag_s)
        steps = np.diff(walk.root_m, axis=0) * walk.fps
        for index in range(_TAPS, len(steps) + 1):
            if np.isfinite(velocity[index]).all():
                inputs.append(steps[index - _TAPS : index] @ axes[index].T)
                targets.append(axes[index] @ velocity[index])
                owners.append(number)
    x, y, owner = np.array(inputs), np.array(targets), np.array(owners)
    errors = np.zeros_like(y)
    for number in range(len(walks)):
        known, held_out = owner != number, owner == number
        for axis in range(3):
            a = x[known][:, :, axis]
            normal = a.T @ a + _RIDGE * np.eye(_TAPS)
            taps = np.linalg.solve(normal, a.T @ y[known, axis] + _RIDGE / _TAPS)
            errors[held_out, axis] = x[held_out][:, :, axis] @ taps - y[held_out, axis]
    return errors


def filter_report(walks: Sequence[MeasuredWalk]) -> str:
    """All tables, as Markdown."""
    best = best_linear_errors(walks, LAG_S)
    axes = ", ".join(f"{each:.3f}" for each in np.sqrt((best**2).mean(axis=0)))
    return "\n\n".join(
        [
            density_table(walks),
            band_table(walks),
            f"The linear filter of one second that is best for the other walks, at 150 ms: "
            f"{_rms([best]):.3f} m/s (along, across, vertical: {axes}).",
        ]
    )


def _rms(errors: Sequence[Float64[np.ndarray, "n 3"]]) -> float:
    return float(np.sqrt((np.concatenate(errors) ** 2).sum(axis=1).mean()))
