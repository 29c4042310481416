# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How well the velocity of people is known on rendered walks, and their positions a moment later.

Films with the true path of the pelvis are made by `python -m thfm_ros.synth.walks`, and

    python scripts/evaluate_walks.py DIR

prints the tables. A velocity is compared with the true one some time earlier, its lag: a filter
that is smooth is late.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Body, Frame, Intrinsics, Perception, PerceptionError, Task
from thfm_ros.geometry import unpack_covariance
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import Video
from thfm_ros.perception.frame_window import FrameWindow, config_for_rate

LAGS_S = (0.0, 0.075, 0.15)
HORIZONS_S = (0.033, 0.1, 0.25, 0.5)
SETTLED_S = 0.5  # the first part of a film does not count
_HALF_WINDOW_S = 1 / 30  # a true velocity is the central difference over twice this time
COVERED = 7.815  # 95 % of the chi-squared distribution with three degrees of freedom
_RENDER = "python -m thfm_ros.synth.walks --pack PACK --out DIR"


@dataclass(frozen=True)
class Walk:
    """One film, frame by frame; metres, optical frame; NaN where the person was not detected."""

    seconds: Float64[np.ndarray, "t"]
    true_m: Float64[np.ndarray, "t 3"]
    root_m: Float64[np.ndarray, "t 3"]
    velocity: Float64[np.ndarray, "t 3"]
    velocity_covariance: Float64[np.ndarray, "t 3 3"]

    @property
    def scale(self) -> float:
        """The mean ratio of estimated to true distance: the error of the person's size."""
        ratio = np.linalg.norm(self.root_m, axis=1) / np.linalg.norm(self.true_m, axis=1)
        known = ratio[np.isfinite(ratio)]
        return float(known.mean()) if len(known) else float("nan")

    def true_velocity(self, lag_s: float) -> Float64[np.ndarray, "t 3"]:
        """The true velocity ``lag_s`` before each frame; NaN beyond the film."""
        half = _HALF_WINDOW_S
        change = _at(self, self.true_m, half - lag_s) - _at(self, self.true_m, -half - lag_s)
        return np.asarray(change / (2 * half))

    def difference(self, seconds: float) -> Float64[np.ndarray, "t 3"]:
        """The change of the estimated root in the last ``seconds``, per second."""
        return np.asarray((self.root_m - _at(self, self.root_m, -seconds)) / seconds)

    def true_change(self, seconds: float) -> Float64[np.ndarray, "t 3"]:
        """How far the person moves in the next ``seconds``; NaN where the film ends before."""
        return np.asarray(_at(self, self.true_m, seconds) - self.true_m)


def _at(walk: Walk, values: Float64[np.ndarray, "t 3"], offset_s: float) -> np.ndarray:
    """Values interpolated at other times; NaN beyond the film."""
    at = walk.seconds + offset_s
    return np.stack([np.interp(at, walk.seconds, x, np.nan, np.nan) for x in values.T], axis=1)


def measured_walks(pipeline: Pipeline, folder: Path) -> Iterator[Walk]:
    """Perceive each film of the folder.

    Raises:
        PerceptionError: there is no film.
    """
    for file in walk_files(folder):
        true = read_truth(file)
        bodies = _perceived(pipeline, file.with_suffix(".mp4"), true.focal_px, true.fps)
        yield walk_of(bodies, true.pelvis_m[: len(bodies)], true.fps)


class WalkTruth(NamedTuple):
    """How a film was rendered."""

    pelvis_m: Float64[np.ndarray, "t 3"]  # optical frame
    fps: float
    focal_px: float


def read_truth(file: Path) -> WalkTruth:
    """The truth about one film, one of `walk_files`."""
    with np.load(file) as arrays:
        return WalkTruth(arrays["pelvis_m"], float(arrays["fps"]), float(arrays["focal_px"]))


def walk_files(folder: Path) -> list[Path]:
    """The files with the truth about each film of the folder, whose films have the suffix .mp4.

    Raises:
        PerceptionError: there is none.
    """
    files = sorted(folder.glob("walk_*.npz"))
    if not files:
        raise PerceptionError(f"There is no walk_NN.npz in {folder}. Render some: {_RENDER}")
    return files


def walk_of(bodies: Sequence[Body | None], true_m: Float64[np.ndarray, "t 3"], fps: float) -> Walk:
    """The measurements of one film; None where the person was not detected."""
    rows = np.full((len(bodies), 12), np.nan)
    for row, body in zip(rows, bodies, strict=True):
        if body is not None:
            row[:] = np.concatenate([body.root_m, body.velocity_m_s, body.velocity_covariance])
    covariances = unpack_covariance(rows[:, 6:])
    return Walk(np.arange(len(rows)) / fps, true_m, rows[:, :3], rows[:, 3:6], covariances)


def _perceived(pipeline: Pipeline, film: Path, focal_px: float, fps: float) -> list[Body | None]:
    """The highest detected person of each frame."""
    return [tallest(each) for each in perceptions(pipeline, film, focal_px, fps)]


def perceptions(
    pipeline: Pipeline, film: Path, focal_px: float, fps: float
) -> Iterator[Perception]:
    """The bodies in each frame of a film; the next frame is perceived when it is asked for."""
    pipeline.reset()
    window = FrameWindow(config_for_rate(pipeline.config.window, fps))
    for frame in Video(film):
        height, width = frame.rgb.shape[:2]
        k = Intrinsics(focal_px, focal_px, width / 2, height / 2, width, height)
        clip = window.push(Frame(frame.rgb, frame.stamp_ns, "camera", k))
        assert clip is not None
        yield pipeline.step(clip, frozenset({Task.BODIES}))


def tallest(perception: Perception) -> Body | None:
    """The highest person detected in the frame."""
    people = [body for body in perception.bodies if body.measurement_age_s == 0]
    return max(people, key=lambda b: float(b.box[3] - b.box[1]), default=None)


def velocity_table(walks: Sequence[Walk]) -> str:
    """Root mean square errors of the velocity in m/s, as Markdown."""
    methods = {
        "`velocity`": [walk.velocity for walk in walks],
        "difference to the frame before": [walk.difference(1 / 30) for walk in walks],
        "difference over 0.3 s": [walk.difference(0.3) for walk in walks],
        "zero": [np.zeros_like(walk.true_m) for walk in walks],
    }
    head = [f"{1000 * lag:g} ms" for lag in LAGS_S] + ["150 ms, scale error taken out"]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, velocities in methods.items():
        pairs = list(zip(walks, velocities, strict=True))
        errors = [
            [_settled(walk, velocity - walk.true_velocity(lag)) for walk, velocity in pairs]
            for lag in LAGS_S
        ]
        lag = LAGS_S[-1]
        errors.append([_settled(w, v / w.scale - w.true_velocity(lag)) for w, v in pairs])
        lines.append(f"| {name} | {' | '.join(f'{_rms(each):.2f}' for each in errors)} |")
    return "\n".join(lines)


def prediction_table(walks: Sequence[Walk]) -> str:
    """Root mean square errors of the root's motion in the next moment, metres, as Markdown."""
    head = [f"{1000 * seconds:g} ms" for seconds in HORIZONS_S]
    lines = [f"| | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name, factor in (("moved with `velocity`", 1.0), ("left where it was", 0.0)):
        errors = [
            [_settled(w, factor * w.velocity * s - w.true_change(s)) for w in walks]
            for s in HORIZONS_S
        ]
        lines.append(f"| {name} | {' | '.join(f'{_rms(each):.3f}' for each in errors)} |")
    return "\n".join(lines)


def coverage(walks: Sequence[Walk]) -> float:
    """The share of frames whose error lies within the 95 % ellipsoid of the covariance, lag 0."""
    inside: list[bool] = []
    for walk in walks:
        error = walk.velocity - walk.true_velocity(0.0)
        known = np.isfinite(error).all(axis=1) & (walk.seconds >= SETTLED_S)
        solved = np.linalg.solve(walk.velocity_covariance[known], error[known][..., None])[..., 0]
        inside += ((error[known] * solved).sum(axis=1) < COVERED).tolist()
    return float(np.mean(inside)) if inside else float("nan")


def share_along_the_view(walks: Sequence[Walk]) -> float:
    """The share of the squared error of the velocity (lag 0) that lies along the line of sight."""
    along, every = 0.0, 0.0
    for walk in walks:
        error = walk.velocity - walk.true_velocity(0.0)
        known = np.isfinite(error).all(axis=1) & (walk.seconds >= SETTLED_S)
        error, ray = error[known], walk.true_m[known]
        ray = ray / np.linalg.norm(ray, axis=1, keepdims=True)
        along += float(((error * ray).sum(axis=1) ** 2).sum())
        every += float((error**2).sum())
    return along / every if every else float("nan")


def _settled(walk: Walk, error: Float64[np.ndarray, "t 3"]) -> Float64[np.ndarray, "n"]:
    """The known errors after the first moment of the film."""
    norms = np.linalg.norm(error, axis=1)[walk.seconds >= SETTLED_S]
    return np.asarray(norms[np.isfinite(norms)])


def _rms(errors: Sequence[Float64[np.ndarray, "n"]]) -> float:
    every = np.concatenate(errors)
    return float(np.sqrt(np.mean(every**2))) if len(every) else float("nan")
