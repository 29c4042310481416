# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The metric scale of a relative depth map of a whole scene, from the people in it.

A network for whole scenes gives depth up to an unknown factor; the depth of people is known in
metres from their size and the calibration. Their ratio on the pixels of people is that factor.
"""

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt16

MIN_PIXELS = 40
"""A person with fewer usable pixels has no say."""
AGREEMENT = 0.15
"""Largest logarithm of a pixel's ratio to the median of its person, to agree with it."""
MIN_AGREEING = 0.5
"""Least share of agreeing pixels of a person, and of agreeing people."""
PEOPLE_AGREEMENT = 0.35
"""Largest logarithm of a person's ratio to the median of all people, to agree with it."""
_JUMP = 0.25
_REMEMBERED = 15  # fits
_MAX_AGE_NS = 5_000_000_000
_EDGE_REACH = 3  # pixels


@dataclass(frozen=True)
class ScaleFit:
    """Metres per unit of relative depth in one frame; NaN with a ``problem`` if it is unknown."""

    scale: float
    people: int  # that agree
    pixels: int  # of those people, that agree
    problem: str = ""


def _refused(problem: str) -> ScaleFit:
    return ScaleFit(float("nan"), 0, 0, problem)


def fit_scale(
    relative: Float[np.ndarray, "h w"],
    metric_m: Float[np.ndarray, "h w"],
    instances: UInt16[np.ndarray, "h w"],
    people: int,
) -> ScaleFit:
    """The scale that takes ``relative`` to ``metric_m`` on the pixels of people.

    Args:
        relative: depth along +Z in any unit; values that are not positive are unknown.
        metric_m: depth of people in metres; NaN elsewhere.
        instances: index of the person of each pixel; other values are background.
        people: number of people.

    Returns:
        The median over the people whose pixels agree, of each person's median; refused if too few
        pixels or people agree.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(metric_m / relative)
    usable = np.isfinite(ratios) & (relative > 0) & _inner(instances)
    medians, counts = [], []
    for index in range(people):
        mine = ratios[usable & (instances == index)]
        if len(mine) < MIN_PIXELS:
            continue
        median = float(np.median(mine))
        agreeing = int((np.abs(mine - median) < AGREEMENT).sum())
        if agreeing >= max(MIN_PIXELS, MIN_AGREEING * len(mine)):
            medians.append(median)
            counts.append(agreeing)
    if not medians:
        if not people:
            return _refused("there is no person in the image")
        return _refused(
            f"no person has {MIN_PIXELS} pixels on which the relative depth agrees with theirs"
        )
    near = np.abs(np.array(medians) - np.median(medians)) < PEOPLE_AGREEMENT
    if near.sum() < MIN_AGREEING * len(medians):
        return _refused(f"the {len(medians)} people of the image disagree about the scale")
    scale = float(np.exp(np.median(np.array(medians)[near])))
    return ScaleFit(scale, int(near.sum()), int(np.array(counts)[near].sum()))


def _inner(instances: UInt16[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels whose neighbours are of the same person: at outlines two depths are mixed."""
    kernel = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(instances, kernel) == cv2.dilate(instances, kernel))


class SteadyScale:
    """The scale over time: the median of recent fits.

    Two fits in a row that differ from it by more than a quarter begin anew, because the unit of
    the relative depth has changed. Without a fit for five seconds of the stream it is unknown.
    ``problem`` says why the last fit was refused; empty if it was not.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._logs: deque[float] = deque(maxlen=_REMEMBERED)
        self._outlier: float | None = None
        self._newest_ns = 0

    def reset(self) -> None:
        """Forget all fits: a new stream, whose unit is another."""
        self.__init__()  # type: ignore[misc]

    def update(self, fit: ScaleFit, stamp_ns: int) -> float:
        """Add the fit of a frame; the scale to use for it, NaN if it is unknown."""
        self.problem = fit.problem
        if np.isfinite(fit.scale):
            self._add(float(np.log(fit.scale)))
            self._newest_ns = stamp_ns
        elif self._logs and abs(stamp_ns - self._newest_ns) > _MAX_AGE_NS:
            self._logs.clear()
        return float(np.exp(np.median(self._logs))) if self._logs else float("nan")

    def _add(self, value: float) -> None:
        differs = bool(self._logs) and abs(value - float(np.median(self._logs))) > _JUMP
        if differs and self._outlier is not None and abs(value - self._outlier) < _JUMP:
            self._logs.clear()
            self._logs.append(self._outlier)
            differs = False
        self._outlier = value if differs else None
        if not differs:
            self._logs.append(value)


def without_jumps(
    depth_m: Float32[np.ndarray, "h w"], max_jump: float
) -> Float32[np.ndarray, "h w"]:
    """Depth with NaN where it jumps between neighbours by more than a share of itself.

    A network blurs outlines, and points there float between two surfaces. Inverse depth is linear
    over a plane, so its steps are compared with those three pixels away on either side: a slanted
    floor has no jump however steep it is.
    """
    with np.errstate(divide="ignore"):
        inverse = np.where(depth_m > 0, 1 / depth_m, np.nan)
    jumps = _jumps_down(inverse, max_jump) | _jumps_down(inverse.T, max_jump).T
    return np.where(jumps, np.float32(np.nan), depth_m).astype(np.float32)


def _jumps_down(inverse: Float[np.ndarray, "h w"], max_jump: float) -> Bool[np.ndarray, "h w"]:
    """Both pixels of every jump between a row and the next."""
    out = np.zeros(inverse.shape, bool)
    if len(inverse) < 2:
        return out
    steps = np.abs(np.diff(inverse, axis=0))
    padded = np.pad(steps, ((_EDGE_REACH, _EDGE_REACH), (0, 0)), constant_values=np.nan)
    smallest = np.fmin(padded[: -2 * _EDGE_REACH], padded[2 * _EDGE_REACH :])
    excess = steps - np.nan_to_num(smallest, nan=0.0)
    is_jump = excess > max_jump * np.fmin(inverse[:-1], inverse[1:])
    out[:-1] |= is_jump
    out[1:] |= is_jump
    return out


def person_masks(
    mask: Float32[np.ndarray, "h w"],
    instances: UInt16[np.ndarray, "h w"],
    boxes: Float[np.ndarray, "p 4"],
    *,
    threshold: float,
    background: int,
) -> UInt16[np.ndarray, "h w"]:
    """Cut a mask of all people by what another network says who is where.

    A pixel of the mask belongs to the person whom ``instances`` has there; where it has none, to
    the person whose box alone contains the pixel.

    Args:
        mask: probability of "person".
        instances: index of the person of each pixel, or ``background``.
        boxes: of the people, pixels of these maps.
        threshold: of the mask.
        background: value of pixels of no person, in input and output.
    """
    height, width = mask.shape
    boxed = np.full(mask.shape, background, np.uint16)
    count = np.zeros(mask.shape, np.uint8)
    for index, box in enumerate(np.nan_to_num(boxes)):
        x0, y0 = np.floor(np.clip(box[:2], 0, [width, height])).astype(int)
        x1, y1 = np.ceil(np.clip(box[2:], 0, [width, height])).astype(int)
        boxed[y0:y1, x0:x1] = index
        count[y0:y1, x0:x1] += 1
    boxed[count != 1] = background
    person = np.where(instances == background, boxed, instances)
    return np.where(mask > threshold, person, background).astype(np.uint16)
