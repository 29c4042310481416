# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether tracks keep the identities of annotated people: IDF1, switches, re-identifications.

Only annotated frames count, in which at most one track is matched to each person. A person who was
matched before, but not in the annotated frame before, comes back. That they then have their last id
or another one of their own is a correct re-identification, that they get a new one a refused one,
that they get one of another person a false one; so it is if a person comes for the first time and
gets a used id. An id is that person's to whom it was matched most often so far.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from thfm_ros.evaluation.matching import GroundTruthPerson, match_boxes, pair_by_iou
from thfm_ros.metrics.score import ratio

MIN_LINK_IOU = 0.3
"""Boxes of consecutive frames that overlap at least so much are linked by `linked_by_iou`."""


class Outcome(Enum):
    """What happens to the id of a person who is matched."""

    NEW = "comes for the first time, with a new id"
    FALSE_ARRIVAL = "comes for the first time, with the id of another person"
    SWITCH = "has another id than in the annotated frame before"
    CORRECT = "comes back with the id they had"
    REFUSED = "comes back with a new id"
    FALSE_RETURN = "comes back with the id of another person"


@dataclass(frozen=True, slots=True)
class IdentityFrame:
    """One annotated frame."""

    number: int  # of the frame
    people: frozenset[int]  # who must be detected
    tracks: frozenset[str]  # ids, without tracks of people who are ignored
    pairs: Mapping[int, str]  # the track that is matched to a person


@dataclass(frozen=True, slots=True)
class IdentityEvent:
    """A person whose id is not simply the one of the annotated frame before."""

    frame: int
    person: int
    outcome: Outcome
    track_id: str
    before: str | None  # the person's last id; None: they come for the first time
    since: int  # number of the frame in which they were last matched; else that of this one
    in_view: bool = False  # not matched for a while, but in view, and not ignored, all the time


@dataclass(frozen=True, slots=True)
class IdentityScores:
    """Metrics over all annotated frames; NaN where there is nothing to divide by."""

    recall: float
    precision: float
    idf1: float
    idp: float  # share of the tracked boxes that have the id of the person they are assigned to
    idr: float  # share of the annotated people who have the id that is assigned to them
    idf1_detected: float  # IDF1 if all people and boxes that are not matched are left out
    switches: int  # matched people with another id than when they were last matched
    fragmentations: int  # people who are in view and missed, and matched before and after
    events: tuple[IdentityEvent, ...]

    def count(self, *outcomes: Outcome, in_view: bool | None = None) -> int:
        """Number of events; ``in_view``: only of people who were missed, or who were absent."""
        chosen = [each for each in self.events if each.outcome in outcomes]
        return sum(in_view is None or each.in_view is in_view for each in chosen)


def matched_frame(
    number: int,
    people: Sequence[GroundTruthPerson],
    boxes: Mapping[str, Float[np.ndarray, "4"]],
) -> IdentityFrame:
    """Match the boxes of tracks, by id, to the people of a frame; see `matching.match_boxes`."""
    ids = list(boxes)
    matches = match_boxes(people, list(boxes.values()))
    pairs = {
        people[pair.person].track_id: ids[pair.detection]
        for pair in matches.pairs
        if not people[pair.person].ignore
    }
    false_positives = {ids[index] for index in matches.false_positives}
    targets = frozenset(each.track_id for each in people if not each.ignore)
    return IdentityFrame(number, targets, frozenset(pairs.values()) | false_positives, pairs)


def identity_scores(frames: Sequence[IdentityFrame]) -> IdentityScores:
    """The metrics of the annotated frames of one film, in their order."""
    people = sum(len(frame.people) for frame in frames)
    boxes = sum(len(frame.tracks) for frame in frames)
    matched = sum(len(frame.pairs) for frame in frames)
    assigned = _assigned(frames)
    found = tuple(_events(frames))
    return IdentityScores(
        recall=ratio(matched, people),
        precision=ratio(matched, boxes),
        idf1=ratio(2 * assigned, people + boxes),
        idp=ratio(assigned, boxes),
        idr=ratio(assigned, people),
        idf1_detected=ratio(assigned, matched),
        switches=sum(each.before not in (None, each.track_id) for each in found),
        fragmentations=_fragmentations(frames),
        events=found,
    )


def _assigned(frames: Sequence[IdentityFrame]) -> int:
    """Matches of the one id that is assigned to each person, so that there are most of them."""
    pairs = Counter(pair for frame in frames for pair in frame.pairs.items())
    people = sorted({person for person, _ in pairs})
    ids = sorted({track_id for _, track_id in pairs})
    shared = np.zeros((len(people), len(ids)))
    for (person, track_id), count in pairs.items():
        shared[people.index(person), ids.index(track_id)] = count
    rows, columns = linear_sum_assignment(-shared)
    return int(shared[rows, columns].sum())


def _fragmentations(frames: Sequence[IdentityFrame]) -> int:
    """How often a person is matched, then not although they are in view, then again."""
    total, interrupted = 0, dict[int, bool]()
    for frame in frames:
        for person in frame.people:
            matched = person in frame.pairs
            total += matched and interrupted.get(person, False)
            if matched or person in interrupted:  # not before the first match
                interrupted[person] = not matched
    return total


def _events(frames: Sequence[IdentityFrame]) -> Iterator[IdentityEvent]:
    """All events, in the order of the frames."""
    last_ids, last_matched = dict[int, str](), dict[int, int]()
    owners = dict[str, Counter[int]]()  # how often an id was matched to whom
    for index, frame in enumerate(frames):
        for person, track_id in sorted(frame.pairs.items()):
            owner = _owner(owners.get(track_id))
            before = last_ids.get(person)
            last = last_matched.get(person, index)
            gap = range(last + 1, index)
            outcome = _outcome(person, owner, before, track_id, returns=bool(gap))
            if outcome is not None:
                in_view = bool(gap) and all(person in frames[each].people for each in gap)
                since = frames[last].number
                yield IdentityEvent(frame.number, person, outcome, track_id, before, since, in_view)
        for person, track_id in frame.pairs.items():
            last_ids[person], last_matched[person] = track_id, index
            owners.setdefault(track_id, Counter())[person] += 1


def _owner(matched: Counter[int] | None) -> int | None:
    """The person to whom an id was matched most often so far."""
    return matched.most_common(1)[0][0] if matched else None


def _outcome(
    person: int, owner: int | None, before: str | None, track_id: str, *, returns: bool
) -> Outcome | None:
    if before is None:
        return Outcome.NEW if owner is None else Outcome.FALSE_ARRIVAL
    if not returns:
        return None if before == track_id else Outcome.SWITCH
    if track_id == before or owner == person:
        return Outcome.CORRECT
    return Outcome.REFUSED if owner is None else Outcome.FALSE_RETURN


def linked_by_iou(
    frames: Sequence[Sequence[Float[np.ndarray, "4"]]],
) -> list[dict[str, Float[np.ndarray, "4"]]]:
    """A baseline: boxes have the id of the box of the frame before that they overlap most.

    Args:
        frames: boxes of consecutive frames.

    Returns:
        The boxes of each frame by id.
    """
    linked: list[dict[str, Float[np.ndarray, "4"]]] = []
    before: dict[str, Float[np.ndarray, "4"]] = {}
    used = 0
    for boxes in frames:
        pairs = pair_by_iou(before, dict(enumerate(boxes)), MIN_LINK_IOU)
        ids = {index: track_id for track_id, index in pairs.items()}
        for index in range(len(boxes)):
            if index not in ids:
                ids[index] = str(used)
                used += 1
        before = {ids[index]: box for index, box in enumerate(boxes)}
        linked.append(before)
    return linked
