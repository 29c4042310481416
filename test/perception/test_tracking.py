# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import dataclasses

import numpy as np
import property_tests  # noqa: F401
import pytest
from a_detection import K, a_detection
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import TrackConfig
from thfm_ros.contract import TrackState
from thfm_ros.geometry import intersection_over_min_area, iou, unpack_covariance
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.tracking import Tracker, TrackOutput
from thfm_ros.size_error import SIZE_SIGMA

STEP_NS = 33_000_000


LEFT, RIGHT = a_detection(-0.8), a_detection(0.8)


def a_tracker(**settings: object) -> Tracker:
    return Tracker(TrackConfig(seed=1, **settings))  # type: ignore[arg-type]


def states(people: list[TrackOutput]) -> list[TrackState]:
    return [each.body.state for each in people]


def test_a_track_is_tentative_until_confirmed() -> None:
    tracker = a_tracker(hits_to_confirm=3)
    (first,) = tracker.update(0, {}, [LEFT])
    name = first.body.id
    assert first.body.state is TrackState.TENTATIVE
    assert states(tracker.update(STEP_NS, {name: LEFT}, [])) == [TrackState.TENTATIVE]
    (third,) = tracker.update(2 * STEP_NS, {name: LEFT}, [])
    assert third.body.state is TrackState.TRACKED and third.body.id == name


def test_a_tentative_track_without_a_detection_is_deleted_at_once() -> None:
    tracker = a_tracker(hits_to_confirm=2)
    tracker.update(0, {}, [LEFT])
    assert tracker.update(STEP_NS, {}, []) == []
    assert tracker.active == {}


def test_a_lost_track_is_predicted_for_a_while() -> None:
    tracker = a_tracker(hits_to_confirm=1, lost_for_s=0.1)
    (seen,) = tracker.update(0, {}, [LEFT])
    (lost,) = tracker.update(50_000_000, {}, [])
    assert lost.detection is None and lost.body.state is TrackState.LOST
    assert lost.body.id == seen.body.id
    assert 0 < lost.body.score < seen.body.score
    assert lost.body.root_covariance_m2[0] > seen.body.root_covariance_m2[0]
    assert tracker.active == {}
    assert tracker.update(101_000_000, {}, []) == []


def test_the_covariance_of_a_lost_track_grows_with_time_and_not_with_frames() -> None:
    few, many = a_tracker(hits_to_confirm=1), a_tracker(hits_to_confirm=1)
    few.update(0, {}, [LEFT])
    many.update(0, {}, [LEFT])
    for i in range(1, 30):
        many.update(i * 10_000_000, {}, [])
    (one,), (other,) = few.update(300_000_000, {}, []), many.update(300_000_000, {}, [])
    np.testing.assert_allclose(one.body.root_covariance_m2, other.body.root_covariance_m2)
    np.testing.assert_allclose(one.body.box, other.body.box)


def walked(tracker: Tracker, frames: int = 12) -> str:
    """The id of a person who walks 1.5 m/s to the right, 0.1 s from frame to frame."""
    name = tracker.update(0, {}, [a_detection(-0.9)])[0].body.id
    for i in range(1, frames):
        tracker.update(i * 100_000_000, {name: a_detection(-0.9 + 0.15 * i)}, [])
    return name


def test_a_body_has_the_velocity_of_its_root_from_the_second_frame_on() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    (first,) = tracker.update(0, {}, [LEFT])
    assert np.isnan(first.body.velocity_m_s).all()
    assert np.isnan(first.body.velocity_covariance).all()
    tracker = a_tracker(hits_to_confirm=1)
    name = walked(tracker)
    body = tracker.active[name]
    np.testing.assert_allclose(body.velocity_m_s, [1.5, 0, 0], atol=0.15)
    assert np.isfinite(body.velocity_covariance).all() and body.measurement_age_s == 0


def test_positions_are_reported_with_the_error_of_the_size_and_motion_without_it() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = walked(tracker)
    body, detected = tracker.active[name], a_detection(-0.9 + 0.15 * 11).body
    expected = SIZE_SIGMA**2 * np.outer(body.root_m, body.root_m)
    for reported, measured in (
        (body.root_covariance_m2, detected.root_covariance_m2),
        (body.covariances_m2[7], detected.covariances_m2[7]),
    ):
        added = unpack_covariance(reported) - unpack_covariance(measured)
        np.testing.assert_allclose(added, expected, atol=1e-5)
    assert unpack_covariance(body.velocity_covariance)[2, 2] < 0.5 * expected[2, 2] / 0.1**2


def test_a_lost_person_moves_on_with_their_velocity() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = walked(tracker)
    seen = tracker.active[name]
    (lost,) = tracker.update(1_400_000_000, {}, [])
    moved_m = lost.body.root_m - seen.root_m
    np.testing.assert_allclose(moved_m, 0.3 * seen.velocity_m_s, atol=1e-3)
    np.testing.assert_allclose(lost.body.positions_m - seen.positions_m, [moved_m] * 35, atol=1e-5)
    assert (lost.body.covariances_m2[:, 0] > seen.covariances_m2[:, 0]).all()
    assert lost.body.velocity_covariance[0] > seen.velocity_covariance[0]
    assert lost.body.measurement_age_s == pytest.approx(0.3)


def test_with_another_camera_tracks_go_on_and_their_positions_begin_anew() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    tracker.set_camera(K)
    name = walked(tracker)
    tracker.set_camera(dataclasses.replace(K, fx=2 * K.fx, fy=2 * K.fy))
    (track,) = tracker.update(1_200_000_000, {name: a_detection(0.9, 6.0)}, [])
    assert track.body.id == name and np.isnan(track.body.velocity_m_s).all()
    np.testing.assert_array_equal(track.body.root_m, a_detection(0.9, 6.0).body.root_m)


def test_the_focal_length_of_an_autofocus_may_vary_a_little() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    tracker.set_camera(K)
    name = walked(tracker)
    tracker.set_camera(dataclasses.replace(K, fx=1.002 * K.fx, fy=1.002 * K.fy))
    (track,) = tracker.update(1_200_000_000, {name: a_detection(0.9)}, [])
    assert 1.0 < track.body.velocity_m_s[0] < 2.0


def test_a_track_that_was_not_measured_is_predicted_and_stays_active() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = walked(tracker)
    seen = tracker.active[name]
    for i in (1, 2):
        (skipped,) = tracker.update((11 + i) * 100_000_000, {}, [], not_measured={name})
        assert skipped.body.state is TrackState.PREDICTED and skipped.detection is None
        assert skipped.body.score == seen.score
        assert skipped.body.measurement_age_s == pytest.approx(0.1 * i)
        assert name in tracker.active
    assert skipped.body.root_m[0] > seen.root_m[0] + 0.2
    (back,) = tracker.update(1_400_000_000, {name: a_detection(1.2)}, [])
    assert back.body.state is TrackState.TRACKED and back.body.measurement_age_s == 0


def test_a_predicted_track_that_is_not_found_when_it_is_measured_is_lost() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = walked(tracker)
    tracker.update(1_200_000_000, {}, [], not_measured={name})
    (lost,) = tracker.update(1_300_000_000, {}, [])
    assert lost.body.state is TrackState.LOST
    (still,) = tracker.update(1_400_000_000, {}, [], not_measured={name})
    assert still.body.state is TrackState.LOST


def test_a_new_detection_of_a_person_who_was_not_measured_is_theirs() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    left, right = (each.body.id for each in tracker.update(0, {}, [LEFT, RIGHT]))
    people = tracker.update(STEP_NS, {}, [LEFT], not_measured={left, right})
    assert [(each.body.id, each.body.state) for each in people] == [
        (left, TrackState.TRACKED),
        (right, TrackState.PREDICTED),
    ]
    assert people[0].new_index == 0


def test_a_neighbour_of_a_person_who_was_not_measured_gets_a_track() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    (left,) = (each.body.id for each in tracker.update(0, {}, [LEFT]))
    people = tracker.update(STEP_NS, {}, [a_detection(-0.18)], not_measured={left})
    assert len(people) == 2


def test_a_tentative_track_that_was_not_measured_stays_tentative() -> None:
    tracker = a_tracker(hits_to_confirm=3)
    name = tracker.update(0, {}, [LEFT])[0].body.id
    (kept,) = tracker.update(STEP_NS, {}, [], not_measured={name})
    assert kept.body.state is TrackState.TENTATIVE
    assert kept.body.measurement_age_s == pytest.approx(STEP_NS * 1e-9)


def test_a_track_that_is_not_measured_waits_longer_than_a_lost_one_and_then_ends() -> None:
    tracker = a_tracker(hits_to_confirm=1, lost_for_s=0.1)
    name = tracker.update(0, {}, [LEFT])[0].body.id
    (output,) = tracker.update(101_000_000, {}, [], not_measured={name})
    assert output.body.state is TrackState.PREDICTED  # its turn may still come
    assert tracker.update(3_001_000_000, {}, [], not_measured={name}) == []


def test_a_lost_track_that_is_detected_again_keeps_its_id() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    left, right = tracker.update(0, {}, [LEFT, RIGHT])
    tracker.update(STEP_NS, {right.body.id: RIGHT}, [])
    people = tracker.update(2 * STEP_NS, {right.body.id: RIGHT}, [LEFT])
    assert {each.body.id for each in people} == {left.body.id, right.body.id}
    assert states(people) == [TrackState.TRACKED] * 2


def test_a_detection_elsewhere_begins_a_new_track() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    (left,) = tracker.update(0, {}, [LEFT])
    people = tracker.update(STEP_NS, {}, [RIGHT])
    assert [each.body.state for each in people] == [TrackState.TRACKED, TrackState.LOST]
    assert people[0].body.id != left.body.id == people[1].body.id


def test_lost_tracks_are_matched_at_their_predicted_box() -> None:
    tracker = a_tracker(hits_to_confirm=1, min_iou=0.9, max_centre_distance=0.1)
    name = tracker.update(0, {}, [a_detection(-1.0)])[0].body.id
    for i in range(1, 8):  # 2 m/s
        tracker.update(i * 100_000_000, {name: a_detection(-1.0 + 0.2 * i)}, [])
    tracker.update(800_000_000, {}, [])
    (back,) = tracker.update(900_000_000, {}, [a_detection(0.8)])
    assert back.body.id == name


def test_of_two_tracks_of_one_person_the_older_one_is_kept() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    old = tracker.update(0, {}, [LEFT])[0].body.id
    new = tracker.update(STEP_NS, {old: LEFT}, [RIGHT])[1].body.id
    people = tracker.update(2 * STEP_NS, {old: LEFT, new: LEFT}, [LEFT])
    assert [(each.body.id, each.body.state) for each in people] == [
        (old, TrackState.TRACKED),
        (new, TrackState.LOST),
    ]


def test_the_upper_half_of_a_tracked_person_is_no_further_person() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    whole = dataclasses.replace(LEFT, target=None)
    (first,) = tracker.update(0, {}, [whole])
    x0, y0, x1, y1 = whole.body.box
    half_box = np.array([x0, y0, x1, (y0 + y1) / 2], np.float32)
    half = dataclasses.replace(whole, body=dataclasses.replace(whole.body, box=half_box))
    people = tracker.update(STEP_NS, {first.body.id: whole}, [half])
    assert [each.body.id for each in people] == [first.body.id]


def test_detected_tracks_come_before_lost_ones() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    first, second = (each.body.id for each in tracker.update(0, {}, [LEFT, RIGHT]))
    people = tracker.update(STEP_NS, {second: RIGHT}, [])
    assert [each.body.id for each in people] == [second, first]


def test_ids_are_five_letters_unique_and_determined_by_the_seed() -> None:
    tracker, equal = a_tracker(hits_to_confirm=2), a_tracker(hits_to_confirm=2)
    names = [tracker.update(2 * i * STEP_NS, {}, [LEFT])[0].body.id for i in range(1)]
    for i in range(1, 200):
        tracker.update((2 * i - 1) * STEP_NS, {}, [])  # tentative: deleted
        names.append(tracker.update(2 * i * STEP_NS, {}, [LEFT])[0].body.id)
    assert len(set(names)) == 200
    assert all(len(name) == 5 and name.isascii() and name.islower() for name in names)
    assert equal.update(0, {}, [LEFT])[0].body.id == names[0]
    other = Tracker(TrackConfig(seed=2)).update(0, {}, [LEFT])[0].body.id
    assert other != names[0]


def test_a_reset_drops_tracks_and_reuses_no_id() -> None:
    tracker = a_tracker()
    name = tracker.update(0, {}, [LEFT])[0].body.id
    tracker.reset()
    assert tracker.active == {}
    assert tracker.update(STEP_NS, {}, [LEFT])[0].body.id != name


def test_a_restarted_tracker_has_no_tracks_and_reuses_no_id() -> None:
    tracker = a_tracker()
    name = tracker.update(0, {}, [LEFT])[0].body.id
    restarted = tracker.restarted(TrackConfig(seed=1, lost_for_s=2.0))
    assert restarted.active == {}
    assert restarted.update(STEP_NS, {}, [LEFT])[0].body.id != name


def test_trackers_that_share_used_ids_reuse_none() -> None:
    used: set[str] = set()
    (first,) = Tracker(TrackConfig(seed=1), used).update(0, {}, [LEFT])
    (second,) = Tracker(TrackConfig(seed=1), used).update(0, {}, [LEFT])
    assert used == {first.body.id, second.body.id} and first.body.id != second.body.id


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
        seen = moved(LEFT, np.array([offset, 0]))
        people = tracker.update(i * STEP_NS, {name: seen} if name else {}, [] if name else [seen])
        name = people[0].body.id
        out.append(people[0].body.keypoints[0, 0] - LEFT.body.keypoints[0, 0])
    return np.array(out)


def test_smoothing_reduces_jitter_at_rest() -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, 120)
    smoothed = run_filter(noise)
    assert smoothed[20:].std() < 0.75 * noise[20:].std()
    assert abs(smoothed[20:].mean() - noise[20:].mean()) < 0.2


def test_smoothing_adds_little_lag_to_fast_motion() -> None:
    speed = 20.0  # pixels per frame: two body lengths per second
    path = speed * np.arange(60)
    lag_frames = (path - run_filter(path))[30:] / speed
    assert 0 <= lag_frames.mean() < 0.6


def test_without_smoothing_keypoints_are_unchanged() -> None:
    noise = np.random.default_rng(0).normal(0, 1.5, 20)
    np.testing.assert_allclose(run_filter(noise, smoothing="none"), noise, atol=1e-4)


def test_a_joint_that_was_unknown_is_not_smoothed() -> None:
    tracker = a_tracker(hits_to_confirm=1)
    name = tracker.update(0, {}, [LEFT])[0].body.id
    keypoints = LEFT.body.keypoints.copy()
    keypoints[9] = [np.nan, np.nan, 0]
    without_joint = dataclasses.replace(
        LEFT, body=dataclasses.replace(LEFT.body, keypoints=keypoints)
    )
    (unknown,) = tracker.update(STEP_NS, {name: without_joint}, [])
    assert np.isnan(unknown.body.keypoints[9, :2]).all()
    assert np.isfinite(unknown.body.keypoints[8]).all()
    far = moved(LEFT, np.array([50, 0]))
    (back,) = tracker.update(2 * STEP_NS, {name: far}, [])
    np.testing.assert_allclose(back.body.keypoints[9], far.body.keypoints[9], atol=1e-3)


boxes = st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50), st.floats(0, 50)).map(
    lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]])
)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_0_and_1(a: np.ndarray, b: np.ndarray) -> None:
    share = intersection_over_min_area(a, b)
    assert 0 <= iou(a, b) <= share <= 1 + 1e-9
    assert iou(a, b) == pytest.approx(iou(b, a))
    assert share == pytest.approx(intersection_over_min_area(b, a))
    if (a[2] - a[0]) * (a[3] - a[1]) > 1e-6:
        assert iou(a, a) == pytest.approx(1)
        assert intersection_over_min_area(a, a) == pytest.approx(1)


def test_overlap_of_known_boxes() -> None:
    a, b = np.array([0, 0, 4, 4.0]), np.array([2, 0, 6, 4.0])
    assert iou(a, b) == pytest.approx(8 / 24)
    assert intersection_over_min_area(a, b) == pytest.approx(0.5)
    assert iou(a, b + 10) == iou(a, np.zeros(4)) == 0
    assert intersection_over_min_area(a, np.zeros(4)) == 0
