# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People who were seen a while ago, by what they wear, so that they get their id back.

Two appearances are compared by the logarithm of a likelihood ratio, "one person" to "two people",
for which the differences of each value are taken as normal. A new person is known again only if
the best of all remembered people is likely enough, and clearly likelier than the second best:
where several wear the same, no one is known again. All of it is in memory, and forgotten after
the time that the configuration sets.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.perception.appearance import VALUES

MAX_PEOPLE = 64
"""Of more people those seen longest ago are forgotten."""

UPDATE_EVERY_NS = 500_000_000
"""A tracked person's appearance is renewed at most so often."""

MIN_REGIONS = 4
"""Fewer regions of the body that both show say too little."""

MIN_EVIDENCE = 14.0
MIN_MARGIN = 14.0
"""Logarithms of likelihood ratios: of the best, and of the best to the second best. Chosen by
`python -m thfm_ros.evaluation.reidentification`, so that no one in other clothes is taken for
someone known."""

SAME_SIGMA = np.array([8.0, 2.9, 3.8, 4.6])
DIFFERENT_SIGMA = np.array([28.8, 14.9, 17.2, 7.6])
"""Standard deviations of the difference of each of `appearance.VALUES`, of one person at two times
and of two people in different clothes; fitted by the same command."""

_LEAST = -12.0
"""A region speaks against one person by no more, so that none decides alone: light, a bag."""

_MAX_WEIGHT = 10
"""The mean appearance goes on changing as if it were of so many images."""


def evidence(a: Float[np.ndarray, "d"], b: Float[np.ndarray, "d"]) -> float:
    """How much two appearances speak for one person: the logarithm of a likelihood ratio.

    -inf if they have fewer than `MIN_REGIONS` regions in common.
    """
    difference = (a - b).reshape(-1, VALUES).astype(float)
    difference = difference[np.isfinite(difference).all(axis=1)]
    if len(difference) < MIN_REGIONS:
        return -np.inf
    change = 0.5 * difference**2 * (SAME_SIGMA**-2 - DIFFERENT_SIGMA**-2)
    per_region = (np.log(DIFFERENT_SIGMA / SAME_SIGMA) - change).sum(axis=1)
    return float(np.maximum(per_region, _LEAST).sum())


@dataclass(slots=True)
class _KnownPerson:
    appearance: Float32[np.ndarray, "d"]  # mean
    weight: Float32[np.ndarray, "d"]  # number of images of each value
    seen_ns: int  # stamp of the last detection
    updated_ns: int


class KnownPeople:
    """The appearances of the people of one stream.

    Args:
        remember_for_s: time after the last detection after which a person is forgotten.
    """

    def __init__(self, remember_for_s: float) -> None:
        self._remember_ns = round(remember_for_s * 1e9)
        self._people: dict[str, _KnownPerson] = {}

    def __len__(self) -> int:
        """Number of people who are remembered."""
        return len(self._people)

    def clear(self) -> None:
        """Forget all people."""
        self._people.clear()

    def is_due(self, track_id: str, stamp_ns: int) -> bool:
        """Whether the appearance of a tracked person should be renewed; they are seen now."""
        known = self._people.get(track_id)
        if known is None:
            return True
        known.seen_ns = stamp_ns
        return stamp_ns - known.updated_ns >= UPDATE_EVERY_NS

    def add(self, track_id: str, appearance: Float32[np.ndarray, "d"], stamp_ns: int) -> None:
        """Remember a person, or renew their appearance."""
        is_known = np.isfinite(appearance)
        known = self._people.pop(track_id, None)
        if known is not None:
            weight = np.minimum(known.weight, _MAX_WEIGHT)
            total = weight + is_known
            old = np.where(weight > 0, known.appearance, 0) * weight
            mean = (old + np.where(is_known, appearance, 0)) / np.maximum(total, 1)
            appearance = np.where(total > 0, mean, np.nan).astype(np.float32)
            is_known = total
        weights = np.asarray(is_known, np.float32)
        self._people[track_id] = _KnownPerson(appearance, weights, stamp_ns, stamp_ns)
        if len(self._people) > MAX_PEOPLE:
            del self._people[min(self._people, key=lambda each: self._people[each].seen_ns)]

    def likeness(self, track_id: str, appearance: Float32[np.ndarray, "d"]) -> float:
        """`evidence` that this is a remembered person; 0 if too little is known of one of them."""
        known = self._people.get(track_id)
        found = -np.inf if known is None else evidence(appearance, known.appearance)
        return found if np.isfinite(found) else 0.0

    def forget_old(self, stamp_ns: int) -> None:
        """Forget people who were seen too long ago, or later than now: time went backwards."""
        for track_id, known in list(self._people.items()):
            if not 0 <= stamp_ns - known.seen_ns <= self._remember_ns:
                del self._people[track_id]

    def recognise(
        self, appearance: Float32[np.ndarray, "d"], present: set[str] | frozenset[str]
    ) -> str | None:
        """The id of the remembered person whom a new detection shows; None: no one for certain.

        Args:
            appearance: of the new detection.
            present: ids of people who are in view, so that this is none of them. They count in
                the margin: if one of them wears the same, clothes tell nothing.
        """
        found = sorted(
            ((evidence(appearance, known.appearance), track_id)
             for track_id, known in self._people.items()),
            reverse=True,
        )  # fmt: skip
        if not found or found[0][0] < MIN_EVIDENCE or found[0][1] in present:
            return None
        if len(found) > 1 and found[0][0] - found[1][0] < MIN_MARGIN:
            return None
        return found[0][1]
