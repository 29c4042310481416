# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Verdicts on given detections, without a network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.evaluation.scenario.contents import (
    Condition,
    KeyBox,
    Kind,
    Person,
    Scenario,
    ScenarioError,
)
from thfm_ros.evaluation.scenario.run import ScenarioResult
from thfm_ros.evaluation.scenario.verdicts import FrameResult, Verdict, verdicts

LEFT, RIGHT = [0.0, 0.0, 10.0, 20.0], [50.0, 0.0, 60.0, 20.0]
NO_BOXES = np.zeros((0, 4))


def person(name: str, box: list[float], distance_m: float = 4.0) -> Person:
    keys = [KeyBox(time, np.array(box), distance_m) for time in (0.0, 10.0)]
    return Person(name, (tuple(keys),))


def frame(time_s: float, distance_m: float = 4.0, **boxes: list[float]) -> FrameResult:
    """Detections by their ids."""
    array = np.array(list(boxes.values()), float).reshape(-1, 4)
    return FrameResult(time_s, tuple(boxes), array, np.full(len(boxes), distance_m))


def outcome(
    condition: Condition, frames: list[FrameResult], *people: Person
) -> tuple[Verdict, float, int]:
    zone = np.array([[40, -5], [70, -5], [70, 30], [40, 30]], float)
    present = {each.name: each for each in people or (person("a", LEFT),)}
    scenario = Scenario("s", Path(), (condition,), present, {"zone": zone})
    (result,) = verdicts(scenario, frames)
    return result.verdict, result.measured, result.frames


FOUND = Condition(Kind.FOUND, "found", people=("a",), pass_rate=0.75)
EMPTY = Condition(Kind.EMPTY, "empty", zone="zone", pass_rate=0.9)


def test_found_counts_the_frames_in_which_the_person_is_at_the_box() -> None:
    frames = [frame(0, x=LEFT), frame(1, x=LEFT), frame(2, x=LEFT), frame(3)]
    assert outcome(FOUND, frames) == (Verdict.PASS, 0.75, 4)
    assert outcome(FOUND, [*frames, frame(4, x=RIGHT)]) == (Verdict.FAIL, 0.6, 5)


def test_frames_in_which_the_person_is_out_of_view_are_not_counted() -> None:
    assert outcome(FOUND, [frame(9, x=LEFT), frame(11)]) == (Verdict.PASS, 1.0, 1)


def test_one_detection_is_not_two_people() -> None:
    both = replace(FOUND, people=("a", "b"))
    people = (person("a", LEFT), person("b", LEFT))
    assert outcome(both, [frame(0, x=LEFT)], *people)[1] == 0
    assert outcome(both, [frame(0, x=LEFT, y=LEFT)], *people)[1] == 1


def test_a_detection_in_the_zone_fails_the_frame_and_one_beside_it_does_not() -> None:
    frames = [frame(n, x=LEFT) for n in range(9)] + [frame(9, x=RIGHT)]
    assert outcome(EMPTY, frames) == (Verdict.PASS, 0.9, 10)
    assert outcome(replace(EMPTY, pass_rate=0.95), frames)[0] is Verdict.FAIL
    occupied = Condition(Kind.OCCUPIED, "o", zone="zone", from_s=9)
    assert outcome(occupied, frames) == (Verdict.PASS, 1.0, 1)
    assert outcome(replace(occupied, at_least=2), frames)[0] is Verdict.FAIL


@pytest.mark.parametrize(
    ("distance_m", "verdict"),
    [(4.0, Verdict.PASS), (4.7, Verdict.PASS), (5.0, Verdict.FAIL), (np.nan, Verdict.FAIL)],
)
def test_distances_are_compared_with_a_relative_tolerance(
    distance_m: float, verdict: Verdict
) -> None:
    condition = replace(FOUND, kind=Kind.DISTANCE, tolerance=0.2)
    assert outcome(condition, [frame(0, distance_m, x=LEFT)])[0] is verdict


def test_ids_are_counted_over_the_film_and_changes_per_person() -> None:
    frames = [frame(0, x=LEFT), frame(1), frame(2, y=LEFT), frame(3, y=LEFT, z=RIGHT)]
    ids = Condition(Kind.MAX_IDS, "ids", limit=3)
    changes = Condition(Kind.MAX_ID_CHANGES, "changes", people=("a",), limit=0)
    assert outcome(ids, frames) == (Verdict.PASS, 3, 4)
    assert outcome(replace(ids, limit=2), frames)[0] is Verdict.FAIL
    assert outcome(changes, frames) == (Verdict.FAIL, 1, 4)
    assert outcome(replace(changes, limit=1), frames)[0] is Verdict.PASS


def test_a_person_who_is_never_found_does_not_pass_for_want_of_id_changes() -> None:
    changes = Condition(Kind.MAX_ID_CHANGES, "changes", people=("a",), limit=5)
    verdict, measured, _ = outcome(changes, [frame(0), frame(1)])
    assert verdict is Verdict.FAIL and np.isnan(measured)


def test_a_known_failure_passes_and_fails_as_soon_as_it_is_mended() -> None:
    known = replace(FOUND, known_failure="too small")
    assert outcome(known, [frame(0)])[0] is Verdict.KNOWN_FAILURE
    assert outcome(known, [frame(0, x=LEFT)])[0] is Verdict.UNEXPECTED_PASS
    scenario = Scenario("s", Path(), (known,), {"a": person("a", LEFT)})
    for frames, passed in (([frame(0)], True), ([frame(0, x=LEFT)], False)):
        result = ScenarioResult(scenario, 1, tuple(verdicts(scenario, frames)))
        assert result.passed is passed


def test_a_condition_without_a_frame_is_an_error() -> None:
    with pytest.raises(ScenarioError, match="looks at no frame"):
        outcome(replace(EMPTY, from_s=20, until_s=30), [frame(0)])
    with pytest.raises(ScenarioError, match="looks at no frame"):
        outcome(FOUND, [])
