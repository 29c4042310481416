# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One id per person, although bodies of cameras join, leave and are assigned to others.

A group of bodies takes the id of the person with whom it has most bodies in common; where two
people turn out to be one, the older id remains. The ids of cameras' bodies are remembered, so that
a person whom a camera knows again gets the fused id of before, too.
"""

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field

from thfm_ros.fusion.detections import Member

MAX_REMEMBERED = 10_000
"""Bodies of cameras whose person is remembered."""


@dataclass
class _Person:
    body_id: str
    members: frozenset[Member]
    seen_ns: int
    since: int  # people are numbered in the order in which they began
    joined: dict[Member, int] = field(default_factory=dict)  # stamp at which each member joined


class Identities:
    """The people so far.

    Args:
        lost_for_s: people without a body for longer end.
        seed: of the random ids; -1: different ones in every run.
        used_ids: ids that are not used again; those of this object are added.
    """

    def __init__(self, lost_for_s: float, seed: int = -1, used_ids: set[str] | None = None) -> None:
        self._lost_for_ns = round(lost_for_s * 1e9)
        self._random = random.Random(None if seed < 0 else seed)
        self._used: set[str] = set() if used_ids is None else used_ids
        self._people: list[_Person] = []  # the oldest first
        self._remembered: dict[Member, str] = {}
        self._count = 0

    def assign(self, groups: Sequence[frozenset[Member]], stamp_ns: int) -> list[str]:
        """The id of each group, in its order."""
        self._people = [p for p in self._people if stamp_ns - p.seen_ns <= self._lost_for_ns]
        owners: dict[int, _Person] = {}
        taken: set[int] = set()
        for person in self._people:
            shared = [i for i, g in enumerate(groups) if i not in owners and person.members & g]
            if shared:
                best = max(shared, key=lambda i: _claim(person, groups[i]))
                owners[best] = person
                taken.add(person.since)
        for index, group in enumerate(groups):
            if index not in owners:
                owners[index] = self._remembered_or_new(group, taken)
                taken.add(owners[index].since)
            self._update(owners[index], group, stamp_ns)
        return [owners[index].body_id for index in range(len(groups))]

    def _update(self, person: _Person, group: frozenset[Member], stamp_ns: int) -> None:
        person.members, person.seen_ns = group, stamp_ns
        person.joined = {member: person.joined.get(member, stamp_ns) for member in group}
        for member in group:
            self._remembered.pop(member, None)  # the newest are last
            self._remembered[member] = person.body_id
        while len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _remembered_or_new(self, group: frozenset[Member], taken: set[int]) -> _Person:
        """A person who is known from before by a camera's id, or else a new one."""
        present = {person.body_id: person for person in self._people}
        for member in sorted(group):
            known = self._remembered.get(member)
            if known is None or (known in present and present[known].since in taken):
                continue
            return present[known] if known in present else self._begin(known)
        return self._begin(self._new_id())

    def _begin(self, body_id: str) -> _Person:
        self._count += 1
        person = _Person(body_id, frozenset(), 0, self._count)
        self._people.append(person)
        return person

    def _new_id(self) -> str:
        while True:
            body_id = "".join(self._random.choices(string.ascii_lowercase, k=5))
            if body_id not in self._used:
                self._used.add(body_id)
                return body_id


def _claim(person: _Person, group: frozenset[Member]) -> tuple[int, int]:
    """How strong the person's claim to a group is: shared bodies, then how long they belong."""
    shared = person.members & group
    return len(shared), -min(person.joined[member] for member in shared)
