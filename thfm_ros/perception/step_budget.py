# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How many people one step measures, and whom, so that the step takes a limited time.

The cost of a crop and that of everything after the crops are learnt from the steps before. Who is
measured follows from how old each person's last measurement is: near and quick people wait less,
no person waits for ever.
"""

import math
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import NamedTuple

from thfm_ros.config import FOLLOW_CAMERA
from thfm_ros.contract import Clip
from thfm_ros.perception.camera_period import CameraPeriod

_RISE, _FALL = 0.5, 0.2  # learning rates of the estimated costs
_PROPOSAL_CROPS = 2  # of a new person, on average: the first one is moved until it fits
_SHARE = 0.9  # of the camera's period: steps vary, and an image that waits is soon overtaken
_SHORTEST_PERIOD_S = 1 / 30  # people who are measured more often are worth more than more results
_LONGEST_INTERVAL_S = 0.25  # between measurements of a person who walks: more results, but wrong
_FORGET = 0.995  # per step: a cost between steps that is not seen again
_LONGEST_BETWEEN_S = 0.5
_NEAR, _QUICK = 2.0, 1.0  # additional urgency of a person who fills the image, or moves by its size
_NEW = 8.0  # factor: a track that is not confirmed yet ends soon without a measurement


class Candidate(NamedTuple):
    """A tracked person who could be measured."""

    track_id: str
    age_s: float  # since the last measurement
    size: float  # longer side of the box / height of the image
    speed: float  # of the box, longer sides per second
    is_new: bool  # not confirmed yet

    @property
    def urgency(self) -> float:
        """Grows with time: near and quick people are measured up to four times as often."""
        factor = 1 + _NEAR * min(self.size, 1.0) + _QUICK * min(self.speed, 1.0)
        return self.age_s * factor * (_NEW if self.is_new else 1.0)


class StepBudget:
    """The time of one step; a step calls `begin`, `proposals`, `choose`, `crops`,
    `proposals_done` and `end`.

    At least as many tracked people as run in parallel, and one new one if there are any, are
    measured in each step, so that a budget which is too small for that delays, but never stops.

    Args:
        budget_ms: time of a step; 0: no limit, all people are measured in every step;
            `FOLLOW_CAMERA`: steps and what is done between them take less than the camera's
            period, but as many people are measured as it needs to measure each of them every
            quarter of a second; all, where even that takes longer.
        clock: seconds.
        parallel: number of crops of tracked people that run at the same time.
    """

    def __init__(self, budget_ms: float, clock: Callable[[], float], *, parallel: int = 1) -> None:
        self._budget_ms, self._clock, self._parallel = budget_ms, clock, parallel
        self._period = CameraPeriod()
        self._begun_s = self._crops_ended_s = self._ended_s = 0.0
        self._newest_ns = 0  # stamp of the image of the last step
        # Estimates: of crops that run in parallel, after the crops of a step, and between steps.
        self._crop_s = self._rest_s = self._between_s = 0.0
        self._limit_s = math.inf  # of the present step

    def begin(self, clip: Clip) -> None:
        """A step with ``clip`` begins."""
        self._begun_s = self._crops_ended_s = self._clock()
        self._limit_s = self._budget_ms * 1e-3 if self._budget_ms > 0 else math.inf
        if self._budget_ms == FOLLOW_CAMERA:
            self._period.update(clip, self._begun_s)
            self._learn_between(clip)
            if (period_s := self._period.seconds) is not None:
                self._limit_s = _SHARE * max(period_s, _SHORTEST_PERIOD_S) - self._between_s

    def proposals(self, waiting: int, tracked: int) -> int:
        """How many of the ``waiting`` proposals get their crops in this step."""
        if not self._is_limited or tracked == 0:
            return waiting
        rounds = self._rounds_left() - -(-tracked // self._parallel)
        return min(waiting, max(1, rounds // _PROPOSAL_CROPS))

    def choose(self, candidates: Sequence[Candidate], proposals: int) -> Set[str]:
        """The ids of the people who are measured, beside that number of proposals."""
        ids = [candidate.track_id for candidate in candidates]
        if not self._is_limited:
            return set(ids)
        of_proposals = _PROPOSAL_CROPS * proposals  # the tracked people wait for the next step
        # A round takes hardly longer with as many crops as run in parallel than with one.
        rounds = max(self._rounds_left() - of_proposals, 1)
        count = max(rounds * self._parallel, self._needed(len(ids)) - of_proposals)
        urgent = sorted(candidates, key=lambda candidate: -candidate.urgency)
        return {candidate.track_id for candidate in urgent[:count]}

    @contextmanager
    def crops(self, count: int) -> Iterator[None]:
        """The block runs ``count`` crops of tracked people."""
        begun_s = self._clock()
        yield
        self._crops_ended_s = self._clock()
        if count:
            rounds = -(-count // self._parallel)
            self._crop_s = _learnt(self._crop_s, (self._crops_ended_s - begun_s) / rounds)

    def proposals_done(self) -> None:
        """The crops of new people have run, whose cost is not that of every step."""
        self._crops_ended_s = self._clock()

    def end(self) -> None:
        """A step ends: what came after the crops is known."""
        self._ended_s = self._clock()
        self._rest_s = _learnt(self._rest_s, self._ended_s - self._crops_ended_s)

    @property
    def _is_limited(self) -> bool:
        return self._limit_s < math.inf and self._crop_s > 0

    def _needed(self, people: int) -> int:
        """How many of them to measure in each step, so that none waits for too long."""
        period_s = self._period.seconds
        if self._budget_ms != FOLLOW_CAMERA or period_s is None:
            return 0
        fixed_s = self._rest_s + self._between_s
        for count in range(1, people):
            step_s = fixed_s + self._crop_s * -(-count // self._parallel)
            if people / count * max(step_s, period_s) <= _LONGEST_INTERVAL_S:
                return count
        return people

    def _rounds_left(self) -> int:
        """How often crops can run in parallel in what is left of the step."""
        left_s = self._limit_s - (self._clock() - self._begun_s) - self._rest_s
        return max(int(left_s / max(self._crop_s, 1e-9) + 1e-6), 0)

    def _learn_between(self, clip: Clip) -> None:
        """Learn how long results are published between two steps.

        Only if an image was overtaken meanwhile is it known that nothing else was waited for.
        """
        last_ns, self._newest_ns = self._newest_ns, clip.newest.stamp_ns
        between_s = self._begun_s - self._ended_s
        if self._ended_s == 0 or between_s > _LONGEST_BETWEEN_S:
            return  # the first step, or nothing was asked for
        if any(last_ns < frame.stamp_ns for frame in clip.frames[:-1]):
            self._between_s = _learnt(self._between_s, between_s)
        else:
            self._between_s = min(self._between_s * _FORGET, between_s)


def _learnt(estimate: float, value: float) -> float:
    """A new estimate."""
    if estimate == 0:
        return value
    return estimate + (_RISE if value > estimate else _FALL) * (value - estimate)
