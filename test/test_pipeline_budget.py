# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline with a time budget: a fake clock advances with each run of the network."""

from collections import Counter

import numpy as np
import pytest
from crowd import GROUP, Crowd, K
from fake_engine import Person, frame

from thfm_ros.contract import Clip, TrackState
from thfm_ros.perception.step_budget import Candidate, StepBudget

CLIP = Clip((frame(K),), 1)


def test_a_budget_bounds_the_step_and_no_person_is_lost() -> None:
    crowd = Crowd(*GROUP, budget_ms=17)
    for _ in range(40):
        crowd.next()
    crowd.step_s.clear()
    states: Counter[TrackState] = Counter()
    oldest: dict[str, float] = {}
    for _ in range(60):
        perception = crowd.next()
        assert len(perception.bodies) == len(GROUP)  # no frame goes without a result
        for body in perception.bodies:
            states[body.state] += 1
            oldest[body.id] = max(oldest.get(body.id, 0.0), body.measurement_age_s)
    assert max(crowd.step_s) <= 0.0171
    assert len(oldest) == len(GROUP)
    assert states.keys() == {TrackState.TRACKED, TrackState.PREDICTED}
    assert states[TrackState.TRACKED] >= 60 * 3  # three crops of 5 ms in 17
    assert max(oldest.values()) < 0.2


def test_a_person_who_is_not_measured_is_predicted_with_a_growing_covariance() -> None:
    crowd = Crowd(*GROUP, budget_ms=8)
    for _ in range(30):
        crowd.next()
    spread: dict[str, list[float]] = {}
    for _ in range(20):
        for body in crowd.next().bodies:
            history = spread.setdefault(body.id, [])
            if body.state is TrackState.PREDICTED:
                assert body.measurement_age_s > 0
                history.append(float(body.root_covariance_m2[[0, 3, 5]].sum()))
                assert len(history) < 2 or history[-1] > history[-2]
            else:
                assert body.measurement_age_s == 0
                history.clear()


def test_people_who_walk_stay_in_their_crops_while_others_are_measured() -> None:
    crowd = Crowd(*GROUP, budget_ms=13)
    for _ in range(30):
        crowd.next()
    ids = {body.id for body in crowd.next().bodies}
    for number in range(30):
        crowd.people = [Person(each.x + 0.02 * number, each.y, each.z) for each in GROUP]
        bodies = crowd.next().bodies
    assert {body.id for body in bodies} == ids
    assert all(body.state is not TrackState.LOST for body in bodies)
    found = np.sort([body.root_m[0] for body in bodies])
    np.testing.assert_allclose(found, [person.x for person in crowd.people], atol=0.15)


def test_a_person_who_appears_while_the_budget_is_used_up_is_found_within_half_a_second() -> None:
    crowd = Crowd(*GROUP[:-1], budget_ms=8)
    for _ in range(40):
        crowd.next()
    crowd.people = list(GROUP)
    frames = next(n for n in range(1, 60) if len(crowd.next().bodies) == len(GROUP))
    assert frames <= 15


@pytest.mark.parametrize(("budget_ms", "live"), [(0, True), (8, False)])
def test_without_a_budget_and_in_recordings_all_people_are_measured_in_every_frame(
    budget_ms: float, live: bool
) -> None:
    crowd = Crowd(*GROUP, budget_ms=budget_ms, live=live)
    for _ in range(20):
        bodies = crowd.next().bodies
    assert [body.state for body in bodies] == [TrackState.TRACKED] * len(GROUP)


def test_at_least_one_person_is_measured_however_small_the_budget() -> None:
    crowd = Crowd(*GROUP[:3], budget_ms=0.001)
    measured: set[str] = set()
    for _ in range(40):
        for body in crowd.next().bodies:
            if body.state is TrackState.TRACKED:
                measured.add(body.id)
    assert len(measured) == 3


def test_a_track_whose_turn_comes_late_does_not_end() -> None:
    """One person per image of a slow machine: each waits for longer than track.lost_for_s."""
    crowd = Crowd(*GROUP, budget_ms=8)
    for _ in range(40):
        crowd.next()
    ids = {body.id for body in crowd.next().bodies}
    crowd.images, crowd.rate_hz = round(crowd.images / 6), 5.0
    oldest_s = 0.0
    for _ in range(30):
        bodies = crowd.next().bodies
        oldest_s = max(oldest_s, *(body.measurement_age_s for body in bodies))
    assert {body.id for body in bodies} == ids and len(ids) == len(GROUP)
    assert oldest_s > crowd.config.track.lost_for_s


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_step_that_is_too_short_measures_as_many_people_as_run_in_parallel(
    parallel: int,
) -> None:
    """Two crops in two threads take hardly longer than one."""
    now_s = 0.0
    budget = StepBudget(10, lambda: now_s, parallel=parallel)
    budget.begin(CLIP)
    with budget.crops(parallel):
        now_s += 0.02
    budget.end()
    budget.begin(CLIP)
    people = [Candidate(name, 0.1, 0.5, 0.0, is_new=False) for name in "abcd"]
    assert len(budget.choose(people, 0)) == parallel


def test_near_quick_and_new_people_are_measured_first_and_no_person_waits_for_ever() -> None:
    now_s = 0.0
    budget = StepBudget(10, lambda: now_s)
    budget.begin(CLIP)
    with budget.crops(1):
        now_s += 0.01  # a crop takes the whole budget
    budget.end()
    waiting = {"far": 0.0, "near": 0.0, "quick": 0.0}
    counts: Counter[str] = Counter()
    for _ in range(600):
        waiting = {name: age_s + 1 / 30 for name, age_s in waiting.items()}
        candidates = [
            Candidate(name, age_s, 1.0 if name == "near" else 0.1, float(name == "quick"), False)
            for name, age_s in waiting.items()
        ]
        budget.begin(CLIP)
        (chosen,) = budget.choose(candidates, 0)
        budget.end()
        counts[chosen] += 1
        waiting[chosen] = 0.0
    assert counts["near"] >= counts["quick"] > counts["far"] > 60
    tentative = Candidate("new", 1 / 30, 0.1, 0.0, True)
    budget.begin(CLIP)
    assert budget.choose([*candidates, tentative], 0) == {"new"}
