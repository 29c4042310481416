# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""IDF1, identity switches and re-identifications of small made-up films."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.evaluation.identity_metrics import (
    IdentityFrame,
    Outcome,
    identity_scores,
    linked_by_iou,
    matched_frame,
)
from thfm_ros.evaluation.matching import GroundTruthPerson


def a_film(*frames: str) -> list[IdentityFrame]:
    """Annotated frames: "1a 2b 3-" are three people, the third not matched; "+c": no person."""
    film = []
    for number, text in enumerate(frames):
        pairs = {
            int(each[0]): each[1] for each in text.split() if each[0] != "+" and each[1] != "-"
        }
        people = frozenset(int(each[0]) for each in text.split() if each[0] != "+")
        false = {each[1] for each in text.split() if each[0] == "+"}
        film.append(IdentityFrame(number, people, frozenset(pairs.values()) | false, pairs))
    return film


def outcomes(*frames: str) -> list[tuple[int, int, Outcome]]:
    events = identity_scores(a_film(*frames)).events
    return [(e.frame, e.person, e.outcome) for e in events if e.outcome is not Outcome.NEW]


def test_ids_that_are_kept_score_one_and_an_empty_film_nothing() -> None:
    scores = identity_scores(a_film("1a 2b", "1a 2b", "1a"))
    assert (scores.idf1, scores.idp, scores.idr, scores.idf1_detected) == (1, 1, 1, 1)
    assert (scores.recall, scores.precision, scores.switches, scores.fragmentations) == (1, 1, 0, 0)
    assert math.isnan(identity_scores([]).idf1)


def test_two_swapped_ids_halve_idf1() -> None:
    scores = identity_scores(a_film("1a 2b", "1a 2b", "1b 2a", "1b 2a"))
    assert (scores.idf1, scores.switches) == (0.5, 2)


def test_missed_people_and_false_positives_count_in_idf1_but_not_in_that_of_detected_people() -> (
    None
):
    scores = identity_scores(a_film("1a 2-", "1a 2-", "1a +c"))
    assert scores.idf1 == 2 * 3 / (5 + 4)
    assert (scores.idp, scores.idr) == (3 / 4, 3 / 5)
    assert (scores.recall, scores.precision, scores.idf1_detected) == (3 / 5, 3 / 4, 1)


def test_an_interruption_in_view_is_a_fragmentation_and_an_absence_is_none() -> None:
    assert identity_scores(a_film("1a", "1-", "1-", "1a")).fragmentations == 1
    assert identity_scores(a_film("1-", "1a", "", "1a", "1-")).fragmentations == 0


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (("1a", "", "1a"), [(2, 1, Outcome.CORRECT)]),
        (("1a", "", "1b"), [(2, 1, Outcome.REFUSED)]),
        (("1a 2b", "2b", "1b"), [(2, 1, Outcome.FALSE_RETURN)]),
        (("1a", "2a"), [(1, 2, Outcome.FALSE_ARRIVAL)]),
        (("1a", "1b"), [(1, 1, Outcome.SWITCH)]),
        (("1a", "1a", "1b", "", "1a"), [(2, 1, Outcome.SWITCH), (4, 1, Outcome.CORRECT)]),
        # An id belongs to the person who had it most often, not to whom had it last.
        (("1a 2b", "1a 2b", "1b 2a", "2a", "1a"), [
            (2, 1, Outcome.SWITCH), (2, 2, Outcome.SWITCH), (4, 1, Outcome.CORRECT)
        ]),
    ],
)  # fmt: skip
def test_outcomes_of_people_who_come_and_come_back(
    frames: tuple[str, ...], expected: list[tuple[int, int, Outcome]]
) -> None:
    assert outcomes(*frames) == expected


def test_returns_after_an_absence_are_told_from_those_after_a_miss() -> None:
    scores = identity_scores(a_film("1a 2b", "1-", "1c 2d"))
    assert scores.count(Outcome.REFUSED, in_view=True) == 1
    assert scores.count(Outcome.REFUSED, in_view=False) == 1
    assert scores.switches == 2


def test_a_tracker_that_never_knows_anyone_again_has_its_returns_refused() -> None:
    scores = identity_scores(a_film("1a 2b", "2b", "1c", "2d"))
    assert scores.count(Outcome.REFUSED) == 2
    assert scores.count(Outcome.CORRECT, Outcome.FALSE_RETURN, Outcome.FALSE_ARRIVAL) == 0


@given(
    st.lists(st.dictionaries(st.integers(0, 3), st.integers(0, 4), max_size=4), max_size=8),
    st.permutations(range(5)),
)
def test_scores_do_not_depend_on_the_names_of_ids(
    pairs: list[dict[int, int]], names: list[int]
) -> None:
    unique = [{p: t for t, p in {t: p for p, t in frame.items()}.items()} for frame in pairs]

    def film(name: list[int]) -> list[IdentityFrame]:
        found = [{p: str(name[t]) for p, t in frame.items()} for frame in unique]
        return [
            IdentityFrame(number, frozenset(each), frozenset(each.values()), each)
            for number, each in enumerate(found)
        ]

    first, second = identity_scores(film(list(range(5)))), identity_scores(film(names))
    if any(unique):
        assert first.idf1 == second.idf1 <= 1
    assert first.switches == second.switches
    assert [e.outcome for e in first.events] == [e.outcome for e in second.events]


def a_person(number: int, box: list[float], *, ignore: bool = False) -> GroundTruthPerson:
    corners = np.array(box, float)
    return GroundTruthPerson(number, corners, 1.0, np.zeros((0, 2)), np.zeros(0, bool), ignore)


def test_tracks_of_ignored_people_are_left_out() -> None:
    people = [a_person(1, [0, 0, 10, 20]), a_person(2, [50, 0, 60, 20], ignore=True)]
    boxes = {"a": [1, 0, 10, 20], "b": [50, 0, 60, 20], "c": [52, 5, 58, 12], "d": [80, 0, 90, 20]}
    frame = matched_frame(7, people, {name: np.array(box, float) for name, box in boxes.items()})
    assert frame == IdentityFrame(7, frozenset({1}), frozenset({"a", "d"}), {1: "a"})


def test_boxes_are_linked_by_iou_from_frame_to_frame_only() -> None:
    left, right = np.array([0.0, 0, 10, 20]), np.array([50.0, 0, 60, 20])
    first, second, _, last = linked_by_iou([[left, right], [right + 2, left + 2], [], [left]])
    assert list(first) == ["0", "1"]
    assert {name: box[0] for name, box in second.items()} == {"0": 2.0, "1": 52.0}
    assert list(last) == ["2"]
