# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How metric a relative depth map of a scene becomes by the people in it, on rendered frames.

    python -m thfm_ros.evaluation.scene_depth --data data/valframes --page PAGE

No weights of a scene network are needed: a stand-in returns the true depth in units of its median,
with known distortions. What is measured is the scale, by true people and by those of nano.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.config import config_from
from thfm_ros.contract import Perception, PerceptionError, Task
from thfm_ros.evaluation.markdown_report import check_page, group_table, number, write_section
from thfm_ros.evaluation.synthetic_frames import LabelledFrame, frame_clips, run_pipeline
from thfm_ros.loading import load_pipeline
from thfm_ros.perception.dense_maps import BACKGROUND_ID
from thfm_ros.perception.depth_scale import ScaleFit, SteadyScale, fit_scale

TASKS = frozenset({Task.BODIES, Task.DEPTH, Task.INSTANCES})
SATURATION = 11.2
"""Largest relative depth that the full-size network can show, in medians."""
SECTION = "scene depth"
_FIELD, _NOISE, _OUTLIERS, _UNIT = 0.03, 0.02, 0.01, 0.02
_MIN_PIXELS = 30

Depth = Float[np.ndarray, "h w"]


def distorted(truth_m: Depth, rng: np.random.Generator) -> Depth:
    """True depth as a network might return it: relative, with known distortions.

    Divided by its median, whose error is 2 %; times a smooth random field of 3 %; noise of 2 % per
    pixel; 1 % of the pixels anything at all; nothing beyond `SATURATION`. NaN where unknown.
    """
    known = truth_m > 0
    unit = float(np.median(truth_m[known])) * np.exp(_UNIT * rng.normal())
    field = rng.normal(0, _FIELD, (4, 4)).astype(np.float32)
    smooth = cv2.resize(field, truth_m.shape[::-1], interpolation=cv2.INTER_CUBIC)
    relative = truth_m / unit * np.exp(smooth + _NOISE * rng.normal(size=truth_m.shape))
    outlier = rng.random(truth_m.shape) < _OUTLIERS
    relative[outlier] = rng.uniform(0.1, SATURATION, outlier.sum())
    return np.where(known, np.minimum(relative, SATURATION), np.nan)


@dataclass(frozen=True)
class FrameErrors:
    """Relative errors of depth in one frame, medians over pixels; NaN where there are too few."""

    people: float  # where people are, according to the ground truth
    elsewhere: float
    found: float  # on the pixels of people that nano found
    nano: float  # of nano's own depth on the same pixels


@dataclass(frozen=True)
class Case:
    """One frame with its people and a relative depth map."""

    clip: int
    stamp_ns: int
    truth_m: Depth
    relative: Depth
    people: Bool[np.ndarray, "h w"]
    perception: Perception
    true_fit: ScaleFit
    nano_fit: ScaleFit

    @staticmethod
    def of(clip: int, frame: LabelledFrame, perception: Perception, seed: int) -> "Case | None":
        """None if no person is visible: then there is nothing to compare."""
        people = np.asarray(frame.instances > 0)
        if not people.any():
            return None
        truth = frame.depth_m.astype(np.float64)
        relative = distorted(truth, np.random.default_rng((seed, clip, perception.stamp_ns)))
        numbers = np.where(people, frame.instances - 1.0, BACKGROUND_ID).astype(np.uint16)
        of_people = np.where(people & (truth > 0), truth, np.nan)
        true_fit = fit_scale(relative, of_people, numbers, int(frame.instances.max()))
        depth, instances = perception.depth_m, perception.instances
        assert depth is not None and instances is not None  # calibrated, and requested
        nano_fit = fit_scale(relative, depth, instances, len(perception.bodies))
        return Case(
            clip, perception.stamp_ns, truth, relative, people, perception, true_fit, nano_fit
        )

    def errors(self, scale: float) -> FrameErrors:
        """Of the relative depth times ``scale``."""
        saturated = self.relative >= SATURATION
        known = (self.truth_m > 0) & ~saturated
        own = self.perception.depth_m
        assert own is not None
        found = known & self.people & np.isfinite(own)
        scaled = self.relative * scale
        return FrameErrors(
            people=_error(scaled, self.truth_m, known & self.people),
            elsewhere=_error(scaled, self.truth_m, known & ~self.people),
            found=_error(scaled, self.truth_m, found),
            nano=_error(own.astype(np.float64), self.truth_m, found),
        )


def _error(depth: Depth, truth: Depth, pixels: Bool[np.ndarray, "h w"]) -> float:
    if pixels.sum() < _MIN_PIXELS:
        return float("nan")
    return float(np.median(np.abs(depth[pixels] / truth[pixels] - 1)))


def steady_scales(cases: Sequence[Case], fits: Iterable[ScaleFit]) -> list[float]:
    """The scales as the pipeline uses them: steady within each clip."""
    scales, steady, clip = [], SteadyScale(), -1
    for case, fit in zip(cases, fits, strict=True):
        if case.clip != clip:
            steady.reset()
            clip = case.clip
        scales.append(steady.update(fit, case.stamp_ns))
    return scales


def table(cases: Sequence[Case]) -> str:
    """The errors of each source of the scale beside one constant scale, in Markdown."""
    actual = [float(np.nanmedian(each.truth_m / each.relative)) for each in cases]
    constant = float(np.median(actual))
    by_source = {
        "true people": steady_scales(cases, (each.true_fit for each in cases)),
        "nano's people": steady_scales(cases, (each.nano_fit for each in cases)),
        "one constant for all clips, their median": [constant] * len(cases),
    }
    rows = []
    for name, scales in by_source.items():
        solved = [i for i, scale in enumerate(scales) if np.isfinite(scale)]
        errors = [cases[i].errors(scales[i]) for i in solved]
        means = [
            np.nanmean([getattr(each, field) for each in errors] or [np.nan])
            for field in ("people", "elsewhere", "found", "nano")
        ]
        share = f"{len(solved)} of {len(cases)}"
        rows.append([name, share, *(number(float(mean), 3) for mean in means)])
    titles = (
        "scale by", "frames with a scale", "error where people are", "elsewhere",
        "on nano's pixels of people", "nano's own depth there",
    )  # fmt: skip
    return group_table(titles, rows)


def measured(folder: Path, checkpoint: str, clips: int, seed: int) -> Iterator[Case]:
    """All frames of held-out clips in which a person is visible."""
    pipeline = load_pipeline(config_from({"engine.checkpoint": checkpoint, "track.seed": 1}))
    for each in run_pipeline(pipeline, islice(frame_clips(folder), clips), TASKS):
        case = Case.of(each.clip, each.frame, each.perception, seed)
        if case is not None:
            yield case


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the table to a page or to the terminal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of whole frames")
    parser.add_argument("--checkpoint", default="nano", help="whose bodies give the scale")
    parser.add_argument("--clips", type=int, default=192, help="at most so many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the distortions (%(default)s)")
    parser.add_argument("--page", type=Path, help="Markdown page to write the table into")
    args = parser.parse_args(arguments)
    if args.page:
        check_page(args.page, [SECTION])
    cases = list(measured(args.data, args.checkpoint, args.clips, args.seed))
    if not cases:
        raise PerceptionError(f"No frame in {args.data} shows a person.")
    clips = len({each.clip for each in cases})
    text = f"{len(cases)} frames of {clips} clips in which a person is visible.\n\n{table(cases)}"
    if args.page:
        write_section(args.page, SECTION, text)
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
