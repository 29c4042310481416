# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How many people one step measures, and whom, so that the step takes a limited time.

The cost of a crop and that of everything after the crops are learnt from the steps before. Who is
measured follows from how old each person's last measurement is: near and quick people wait less,
no person waits for ever.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import NamedTuple

_RISE, _FALL = 0.5, 0.2  # learning rates of the estimated costs
_PROPOSAL_CROPS = 2  # of a new person, on average: the first one is moved until it fits
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

    At least one tracked person, and one new one if there are any, is measured in each step, so
    that a budget which is too small for that delays, but never stops.

    Args:
        budget_ms: time of a step; 0: no limit, all people are measured in every step.
        clock: seconds.
    """

    def __init__(self, budget_ms: float, clock: Callable[[], float]) -> None:
        self._budget_s, self._clock = budget_ms * 1e-3, clock
        self._begun_s = self._crops_ended_s = 0.0
        self._crop_s = self._rest_s = 0.0  # estimates: of a crop, and after the crops of a step

    def begin(self) -> None:
        """A step begins."""
        self._begun_s = self._crops_ended_s = self._clock()

    def proposals(self, waiting: int, tracked: int) -> int:
        """How many of the ``waiting`` proposals get their crops in this step."""
        if self._budget_s == 0 or tracked == 0 or self._crop_s == 0:
            return waiting
        spare = self._crops_left() - tracked
        return min(waiting, max(1, spare // _PROPOSAL_CROPS))

    def choose(self, candidates: Sequence[Candidate], proposals: int) -> Set[str]:
        """The ids of the people who are measured, beside that number of proposals."""
        ids = [candidate.track_id for candidate in candidates]
        if self._budget_s == 0 or self._crop_s == 0:
            return set(ids)
        count = max(1, self._crops_left() - _PROPOSAL_CROPS * proposals)
        urgent = sorted(candidates, key=lambda candidate: -candidate.urgency)
        return {candidate.track_id for candidate in urgent[:count]}

    @contextmanager
    def crops(self, count: int) -> Iterator[None]:
        """The block runs ``count`` crops of tracked people."""
        begun_s = self._clock()
        yield
        self._crops_ended_s = self._clock()
        if count:
            self._crop_s = _learnt(self._crop_s, (self._crops_ended_s - begun_s) / count)

    def proposals_done(self) -> None:
        """The crops of new people have run, whose cost is not that of every step."""
        self._crops_ended_s = self._clock()

    def end(self) -> None:
        """A step ends: what came after the crops is known."""
        self._rest_s = _learnt(self._rest_s, self._clock() - self._crops_ended_s)

    def _crops_left(self) -> int:
        left_s = self._budget_s - (self._clock() - self._begun_s) - self._rest_s
        return max(int(left_s / max(self._crop_s, 1e-9) + 1e-6), 0)


def _learnt(estimate: float, value: float) -> float:
    """A new estimate."""
    if estimate == 0:
        return value
    return estimate + (_RISE if value > estimate else _FALL) * (value - estimate)
