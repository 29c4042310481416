# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People who come back get their id again by what they wear, and no one gets another's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from a_detection import a_detection
from fake_engine import FakeEngine, Person, camera, frame
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import TrackConfig, config_from
from thfm_ros.contract import Frame, Task
from thfm_ros.perception.appearance import (
    MIN_CELLS,
    REGIONS,
    VALUES,
    appearance_of,
    colour_statistics,
)
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.perception.known_people import (
    MAX_PEOPLE,
    MIN_REGIONS,
    KnownPeople,
    evidence,
)
from thfm_ros.perception.tracking import Tracker
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import PART_NAMES

SECOND = 1_000_000_000
HERE, THERE = a_detection(-0.8), a_detection(0.8)


def wearing(torso: float, legs: float, seed: int = 0) -> np.ndarray:
    """An appearance of two colours, with the differences between two images of one person."""
    values = np.zeros((len(REGIONS), VALUES), np.float32)
    values[:4], values[4:] = [torso, torso / 2, -torso / 2, 5], [legs, legs / 2, legs / 2, 5]
    noise = np.random.default_rng(seed).normal(0, 1, values.shape)
    return np.asarray(values + noise, np.float32).reshape(-1)


RED, BLUE, GREEN = (wearing(*colours) for colours in ((60, 20), (10, 70), (90, 90)))
NO_ONE: frozenset[str] = frozenset()


def test_the_same_clothes_speak_for_one_person_and_others_against() -> None:
    assert evidence(RED, wearing(60, 20, seed=1)) > 20
    assert evidence(RED, BLUE) < -20


VALUES_OR_HIDDEN = st.lists(
    st.floats(-100, 100) | st.just(np.nan),
    min_size=len(REGIONS) * VALUES,
    max_size=len(REGIONS) * VALUES,
).map(np.array)


@given(VALUES_OR_HIDDEN, VALUES_OR_HIDDEN)
def test_evidence_is_symmetric_and_never_nan(a: np.ndarray, b: np.ndarray) -> None:
    assert evidence(a, b) == evidence(b, a)
    assert not np.isnan(evidence(a, b))


def test_too_few_regions_in_common_are_no_evidence() -> None:
    partly = RED.copy()
    partly[(MIN_REGIONS - 1) * VALUES :] = np.nan
    assert evidence(RED, partly) == -np.inf


def people(remember_for_s: float = 30.0, **appearances: np.ndarray) -> KnownPeople:
    known = KnownPeople(remember_for_s)
    for track_id, appearance in appearances.items():
        known.add(track_id, appearance, SECOND)
    return known


def test_a_person_is_known_again_among_others() -> None:
    known = people(red=RED, blue=BLUE)
    assert known.recognise(wearing(60, 20, seed=3), NO_ONE) == "red"
    assert known.recognise(GREEN, NO_ONE) is None


def test_people_in_identical_clothes_are_refused_rather_than_mixed_up() -> None:
    known = people(red=RED, double=wearing(60, 20, seed=4))
    assert known.recognise(wearing(60, 20, seed=5), NO_ONE) is None


def test_someone_in_view_in_the_same_clothes_makes_them_useless() -> None:
    known = people(red=RED, double=wearing(60, 20, seed=4))
    assert known.recognise(wearing(60, 20, seed=5), {"double"}) is None
    assert people(red=RED).recognise(RED, {"red"}) is None


def test_people_are_forgotten_after_the_time_and_when_time_goes_backwards() -> None:
    known = people(remember_for_s=30, red=RED)
    known.forget_old(31 * SECOND)
    assert len(known) == 1
    known.forget_old(31 * SECOND + 1)
    assert len(known) == 0
    known = people(red=RED)
    known.forget_old(SECOND - 1)
    assert len(known) == 0


def test_of_too_many_people_those_seen_longest_ago_are_forgotten() -> None:
    known = KnownPeople(1e6)
    for number in range(MAX_PEOPLE + 3):
        known.add(str(number), RED + 10 * number, number * SECOND)
    assert len(known) == MAX_PEOPLE
    assert known.recognise(RED, NO_ONE) is None
    newest = RED + 10 * (MAX_PEOPLE + 2)
    assert known.recognise(newest, NO_ONE) == str(MAX_PEOPLE + 2)


def test_a_hidden_region_becomes_known_and_the_mean_ignores_hidden_ones() -> None:
    partly = RED.copy()
    partly[: 4 * VALUES] = np.nan
    known = people(red=partly)
    assert known.recognise(RED, NO_ONE) is None  # three regions are not enough
    known.add("red", RED, 2 * SECOND)
    known.add("red", partly, 3 * SECOND)
    assert known.recognise(wearing(60, 20, seed=6), NO_ONE) == "red"


def test_statistics_are_those_of_a_region_and_small_regions_are_unknown() -> None:
    rgb = np.zeros((20, 20, 3), np.uint8)
    regions = np.full((20, 20), -1)
    rgb[:10], regions[:10] = 255, 1
    regions[15, : MIN_CELLS - 1] = 2
    values = colour_statistics(rgb, regions).reshape(-1, VALUES)
    np.testing.assert_allclose(values[1], [100, 0, 0, 0], atol=0.1)
    assert np.isnan(np.delete(values, 1, axis=0)).all()


def test_an_appearance_needs_maps_and_holds_the_colours_of_the_image() -> None:
    image: Frame = frame(camera())
    assert appearance_of(image, a_detection(dense=False)) is None
    values = appearance_of(image, HERE)
    other = appearance_of(image, THERE)
    assert values is not None and other is not None
    seen = values.reshape(-1, VALUES)[REGIONS.index("torso")]
    assert np.isfinite(seen).all() and abs(values - other)[np.isfinite(values)].max() > 5


def describing(clothes: dict[int, np.ndarray]) -> Callable[[Detection], np.ndarray | None]:
    return lambda detection: clothes.get(id(detection))


def id_of_the_second_visit(after_s: float, clothes: np.ndarray, **settings: object) -> bool:
    """Whether a person who left gets the same id elsewhere in the image."""
    tracker = Tracker(TrackConfig(seed=1, hits_to_confirm=1, **settings))  # type: ignore[arg-type]
    describe = describing({id(HERE): RED, id(THERE): clothes})
    (first,) = tracker.update(0, {}, [HERE], describe=describe)
    tracker.update(SECOND // 30, {first.body.id: HERE}, [], describe=describe)
    tracker.update(2 * SECOND, {}, [], describe=describe)
    assert tracker.active == {}
    now_ns = SECOND // 30 + round(after_s * SECOND)
    (again,) = tracker.update(now_ns, {}, [THERE], describe=describe)
    tracker.update(now_ns + 1, {again.body.id: THERE}, [], describe=describe)
    return again.body.id == first.body.id


@pytest.mark.parametrize(("after_s", "same"), [(5, True), (29.9, True), (30.1, False)])
def test_a_person_who_left_has_the_same_id_for_the_time_of_the_parameter(
    after_s: float, same: bool
) -> None:
    clothes = wearing(60, 20, seed=7)
    assert id_of_the_second_visit(after_s, clothes, remember_for_s=30.0) is same
    assert not id_of_the_second_visit(after_s, BLUE, remember_for_s=30.0)
    assert not id_of_the_second_visit(after_s, clothes, remember_for_s=0.0)


def test_a_person_who_appears_beside_one_in_view_never_gets_their_id() -> None:
    tracker = Tracker(TrackConfig(seed=1))
    describe = describing({id(HERE): RED, id(THERE): RED})
    (first,) = tracker.update(0, {}, [HERE], describe=describe)
    people = tracker.update(SECOND // 30, {first.body.id: HERE}, [THERE], describe=describe)
    assert len({each.body.id for each in people}) == 2


def test_a_reset_forgets_everyone() -> None:
    tracker = Tracker(TrackConfig(seed=1))
    describe = describing({id(HERE): RED})
    (first,) = tracker.update(0, {}, [HERE], describe=describe)
    tracker.reset()
    (second,) = tracker.update(SECOND, {}, [HERE], describe=describe)
    assert second.body.id != first.body.id


class BandedEngine(FakeEngine):
    """Each person's crop shows five body parts, one below the other."""

    def step(self, *args: Any, **options: Any) -> Any:
        raw, state = super().step(*args, **options)
        if raw.dense is not None:
            rows = raw.dense.parts.shape[1]
            names = ("hair", "torso", "left_lower_arm", "right_upper_leg", "left_lower_leg")
            for number, name in enumerate(names):
                band = slice(number * rows // len(names), (number + 1) * rows // len(names))
                raw.dense.parts[PART_NAMES.index(name), band] = 20
        return raw, state


@pytest.mark.parametrize(("remember_for_s", "same"), [(30.0, True), (1.2, False), (0.0, False)])
def test_the_pipeline_knows_a_person_again_who_left_the_view(
    remember_for_s: float, same: bool
) -> None:
    k, there = camera(), [Person(0, 0, 3)]
    now = there
    engine = BandedEngine(k, lambda: now)
    config = config_from({"track.remember_for_s": remember_for_s, "regions.tiles": False})
    pipeline, window = PerceptionPipeline(engine, config), FrameWindow(config.window)
    ids = []
    for number, is_there in enumerate([1, 1, 0, 0, 0, 0, 1]):
        now = there if is_there else []
        clip = window.push(frame(k, 1 + 0.4 * number))
        assert clip is not None
        ids.append({body.id for body in pipeline.step(clip, frozenset({Task.BODIES})).bodies})
    assert (ids[-1] == ids[0]) is same and len(ids[-1]) == 1 and not ids[-2]
