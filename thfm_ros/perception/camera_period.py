# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The time between two images of a live camera, from their stamps."""

from collections import deque
from itertools import pairwise
from statistics import median

from thfm_ros.contract import Clip

_DIFFERENCES = 15  # the median follows another rate after half as many images
_STEPS = 32
_CERTAIN_S = 1.0  # of stamps, after which the pace of the stamps is known
_SAME_PACE = (0.8, 1.25)  # clock / stamps: within it they differ by delays, not by their pace


class CameraPeriod:
    """The period of a camera, in seconds of the clock that also times the steps.

    It is the median of the newest differences of stamps, so that images that were lost, or a jump
    of the stamps, hardly change it. Stamps of a simulation, or of a bag that is played slowly, run
    at another pace than the clock: how far both advance from step to step tells by how much.
    """

    def __init__(self) -> None:
        self._differences_s: deque[float] = deque(maxlen=_DIFFERENCES)
        self._steps: deque[tuple[float, float]] = deque(maxlen=_STEPS)  # clock and newest stamp
        self._newest_ns = 0
        self._epoch: int | None = None

    def update(self, clip: Clip, now_s: float) -> None:
        """A step with ``clip`` begins at ``now_s`` of the clock.

        The images of the clip that were overtaken count, too.
        """
        if clip.epoch != self._epoch:
            self._epoch, self._newest_ns = clip.epoch, clip.frames[0].stamp_ns
            self._steps.clear()
        stamps_ns = [frame.stamp_ns for frame in clip.frames]
        for earlier, later in pairwise(stamps_ns):
            if later > self._newest_ns:
                self._differences_s.append((later - earlier) * 1e-9)
        self._newest_ns = stamps_ns[-1]
        self._steps.append((now_s, stamps_ns[-1] * 1e-9))

    @property
    def seconds(self) -> float | None:
        """The period; None while no two images of one stream have come."""
        if not self._differences_s:
            return None
        return median(self._differences_s) * self._pace()

    def _pace(self) -> float:
        """Seconds of the clock per second of the stamps."""
        steps = list(self._steps)
        half = len(steps) // 2
        if half == 0:
            return 1.0
        pairs = zip(steps, steps[half:], strict=False)
        pace = median(
            (now_s - was_s) / (later - earlier) for (was_s, earlier), (now_s, later) in pairs
        )
        if pace < 1 and steps[-1][1] - steps[0][1] < _CERTAIN_S:  # first steps that took long
            return 1.0
        low, high = _SAME_PACE
        return 1.0 if low < pace < high else pace
