import dataclasses

import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import Person, box_of, camera, perfect
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import DecodeConfig, RegionConfig, TrackConfig
from thfm_ros.contract import TrackState
from thfm_ros.geometry import intersection_over_min_area, iou
from thfm_ros.perception.crop_region import region_around
from thfm_ros.perception.decoding import Detection, ExpectedPerson, decode_person
from thfm_ros.perception.tracking import Tracked, Tracker, same_person

K = camera()
STEP_NS = 33_000_000


def a_sighting(x: float = 0.0, z: float = 3.0) -> Detection:
    person = Person(x, 0, z)
    region = region_around(box_of(person, K).astype(np.float32), (128, 128), RegionConfig())
    raw = perfect(region, K, [person])
    found = decode_person(
        raw, region, (K.width, K.height), K, ExpectedPerson(box_of(person, K)), DecodeConfig()
    )
    assert found is not None
    return found


HERE, THERE = a_sighting(-0.8), a_sighting(0.8)


def a_tracker(**settings: object) -> Tracker:
    return Tracker(TrackConfig(seed=1, **settings))  # type: ignore[arg-type]


def states(people: list[Tracked]) -> list[TrackState]:
    return [each.body.state for each in people]


def test_somebody_is_tentative_until_seen_often_enough() -> None:
    tracker = a_tracker(hits_to_confirm=3)
    (first,) = tracker.update(0, {}, [HERE])
    name = first.body.id
    assert first.body.state is TrackState.TENTATIVE
    assert states(tracker.update(STEP_NS, {name: HERE}, [])) == [TrackState.TENTATIVE]
    (third,) = tracker.update(2 * STEP_NS, {name: HERE}, [])
    assert third.body.state is TrackState.TRACKED and third.body.id == name


def test_a_tentative_person_who_is_not_seen_again_is_forgotten_at_once() -> None:
    tracker = a_tracker(hits_to_confirm=2)
    tracker.update(0, {}, [HERE])
    assert tracker.update(STEP_NS, {}, []) == []
    assert tracker.present == {}


def test_somebody_lost_is_remembered_for_a_while_and_not_reported_as_seen() -> None:
    tracker = a_tracker(hits_to_confirm=1, lost_for_s=0.1)
    (seen,) = tracker.update(0, {}, [HERE])
    (lost,) = tracker.update(50_000_000, {}, [])
    assert lost.detection is None and lost.body.state is TrackState.LOST
    assert lost.body.id == seen.body.id
    assert 0 < lost.body.score < seen.body.score
    assert lost.body.root_covariance_m2[0] > seen.body.root_covariance_m2[0]
    assert tracker.present == {}
    assert tracker.update(101_000_000, {}, []) == []


def test_doubt_about_somebody_lost_grows_with_time_and_not_with_frames() -> None:
    few, many = a_tracker(hits_to_confirm=1), a_tracker(hits_to_confirm=1)
    few.update(0, {}, [HERE])
    many.update(0, {}, [HERE])
    for i in range(1, 30):
        many.update(i * 10_000_000, {}, [])
    (one,), (other,) = few.update(300_000_000, {}, []), many.update(300_000_000, {}, [])
    np.testing.assert_allclose(one.body.root_covariance_m2, other.body.root_covariance_m2)
    np.testing.assert_allclose(one.body.box, other.body.box)


def test_somebody_who_comes_back_keeps_the_id() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    here, there = tracker.update(0, {}, [HERE, THERE])
    tracker.update(STEP_NS, {there.body.id: THERE}, [])
    people = tracker.update(2 * STEP_NS, {there.body.id: THERE}, [HERE])
    assert {each.body.id for each in people} == {here.body.id, there.body.id}
    assert states(people) == [TrackState.TRACKED] * 2


def test_somebody_else_gets_another_id() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    (here,) = tracker.update(0, {}, [HERE])
    people = tracker.update(STEP_NS, {}, [THERE])
    assert [each.body.state for each in people] == [TrackState.TRACKED, TrackState.LOST]
    assert people[0].body.id != here.body.id == people[1].body.id


def test_a_person_who_walks_is_awaited_where_they_were_going() -> None:
    tracker = a_tracker(hits_to_confirm=1, min_iou=0.9, max_centre_distance=0.1)
    name = tracker.update(0, {}, [a_sighting(-1.0)])[0].body.id
    for i in range(1, 8):  # 2 m/s
        tracker.update(i * 100_000_000, {name: a_sighting(-1.0 + 0.2 * i)}, [])
    tracker.update(800_000_000, {}, [])
    (back,) = tracker.update(900_000_000, {}, [a_sighting(0.8)])
    assert back.body.id == name


def test_two_crops_of_one_person_are_one_person_the_one_known_longest() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    old = tracker.update(0, {}, [HERE])[0].body.id
    new = tracker.update(STEP_NS, {old: HERE}, [THERE])[1].body.id
    people = tracker.update(2 * STEP_NS, {old: HERE, new: HERE}, [HERE])
    assert [(each.body.id, each.body.state) for each in people] == [
        (old, TrackState.TRACKED),
        (new, TrackState.LOST),
    ]


def test_half_of_a_person_is_the_same_person_and_somebody_close_by_is_not() -> None:
    whole = a_sighting(0.0)
    assert whole.target is not None
    half_target = whole.target.copy()
    half_target[len(half_target) // 2 :] = False
    x0, y0, x1, y1 = whole.body.box
    half_box = np.array([x0, y0, x1, (y0 + y1) / 2], np.float32)
    half_body = dataclasses.replace(whole.body, box=half_box)
    half = dataclasses.replace(whole, body=half_body, target=half_target)
    assert same_person(whole, half) and same_person(half, whole)
    assert not same_person(whole, a_sighting(0.62))  # shoulder to shoulder
    assert same_person(a_sighting(0.0), a_sighting(0.05))  # other crops, the same pixels
    flat = [dataclasses.replace(each, target=None) for each in (whole, half, a_sighting(0.05))]
    assert not same_person(flat[0], flat[1]) and same_person(flat[0], flat[2])


def test_those_who_are_seen_come_first() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    first, second = (each.body.id for each in tracker.update(0, {}, [HERE, THERE]))
    people = tracker.update(STEP_NS, {second: THERE}, [])
    assert [each.body.id for each in people] == [second, first]


def test_ids_are_five_letters_never_given_twice_and_the_same_for_the_same_seed() -> None:
    tracker, twin = a_tracker(hits_to_confirm=2), a_tracker(hits_to_confirm=2)
    names = [tracker.update(2 * i * STEP_NS, {}, [HERE])[0].body.id for i in range(1)]
    for i in range(1, 200):
        tracker.update((2 * i - 1) * STEP_NS, {}, [])  # tentative: forgotten
        names.append(tracker.update(2 * i * STEP_NS, {}, [HERE])[0].body.id)
    assert len(set(names)) == 200
    assert all(len(name) == 5 and name.isascii() and name.islower() for name in names)
    assert twin.update(0, {}, [HERE])[0].body.id == names[0]
    other = Tracker(TrackConfig(seed=2)).update(0, {}, [HERE])[0].body.id
    assert other != names[0]


def test_a_reset_forgets_people_but_gives_no_id_again() -> None:
    tracker = a_tracker()
    name = tracker.update(0, {}, [HERE])[0].body.id
    tracker.reset()
    assert tracker.present == {}
    assert tracker.update(STEP_NS, {}, [HERE])[0].body.id != name


def test_other_settings_forget_people_but_give_no_id_again() -> None:
    tracker = a_tracker()
    name = tracker.update(0, {}, [HERE])[0].body.id
    heir = tracker.anew(TrackConfig(seed=1, lost_for_s=2.0))
    assert heir.present == {}
    assert heir.update(STEP_NS, {}, [HERE])[0].body.id != name


def moved(detection: Detection, pixels: np.ndarray) -> Detection:
    keypoints = detection.body.keypoints.copy()
    keypoints[:, :2] += pixels.astype(np.float32)
    return dataclasses.replace(
        detection, body=dataclasses.replace(detection.body, keypoints=keypoints)
    )


def run_filter(offsets: np.ndarray, **settings: object) -> np.ndarray:
    tracker = a_tracker(hits_to_confirm=1, **settings)
    name = ""
    out = []
    for i, offset in enumerate(offsets):
        seen = moved(HERE, np.array([offset, 0]))
        people = tracker.update(i * STEP_NS, {name: seen} if name else {}, [] if name else [seen])
        name = people[0].body.id
        out.append(people[0].body.keypoints[0, 0] - HERE.body.keypoints[0, 0])
    return np.array(out)


def test_smoothing_calms_somebody_who_stands_still() -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, 120)
    calm = run_filter(noise)
    assert calm[20:].std() < 0.75 * noise[20:].std()
    assert abs(calm[20:].mean() - noise[20:].mean()) < 0.2


def test_smoothing_does_not_lag_behind_somebody_who_moves_quickly() -> None:
    pace = 20.0  # pixels per frame: two body lengths per second
    path = pace * np.arange(60)
    late_frames = (path - run_filter(path))[30:] / pace
    assert 0 <= late_frames.mean() < 0.6


def test_without_smoothing_nothing_is_changed() -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, 20)
    np.testing.assert_allclose(run_filter(noise, smoothing="none"), noise, atol=1e-4)


def test_a_joint_that_was_unknown_starts_afresh() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = tracker.update(0, {}, [HERE])[0].body.id
    keypoints = HERE.body.keypoints.copy()
    keypoints[9] = [np.nan, np.nan, 0]
    gone = dataclasses.replace(HERE, body=dataclasses.replace(HERE.body, keypoints=keypoints))
    (unknown,) = tracker.update(STEP_NS, {name: gone}, [])
    assert np.isnan(unknown.body.keypoints[9, :2]).all()
    assert np.isfinite(unknown.body.keypoints[8]).all()
    far = moved(HERE, np.array([50, 0]))
    (back,) = tracker.update(2 * STEP_NS, {name: far}, [])
    np.testing.assert_allclose(back.body.keypoints[9], far.body.keypoints[9], atol=1e-3)


boxes = st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50), st.floats(0, 50)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])
)


@given(boxes, boxes)
def test_overlap_is_symmetric_within_its_range_and_full_for_the_same(
    a: np.ndarray, b: np.ndarray
) -> None:
    assert 0 <= iou(a, b) <= intersection_over_min_area(a, b) <= 1 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a)) and intersection_over_min_area(a, b) == pytest.approx(intersection_over_min_area(b, a))
    if (a[2] - a[0]) * (a[3] - a[1]) > 1e-6:
        assert iou(a, a) == pytest.approx(1) and intersection_over_min_area(a, a) == pytest.approx(1)


def test_overlap_of_known_boxes() -> None:
    a, b = np.array([0, 0, 4, 4.0]), np.array([2, 0, 6, 4.0])
    assert iou(a, b) == pytest.approx(8 / 24)
    assert intersection_over_min_area(a, b) == pytest.approx(0.5)
    assert iou(a, b + 10) == 0 and iou(a, np.zeros(4)) == 0 == intersection_over_min_area(a, np.zeros(4))
