# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People of several simulated cameras: one id per person, whatever the order of the messages."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_cameras import PLACES, SECOND, SETTINGS, Person, frame

from thfm_ros.contract import Perception, TrackState
from thfm_ros.fusion.detections import CameraFrame
from thfm_ros.fusion.fuser import Fuser
from thfm_ros.fusion.history import MAX_FRAMES, Arrival
from thfm_ros.size_error import SIZE_SIGMA

TWO = [
    Person("ann", (-0.8, 0.5), (0.6, 0.0), 1.57),
    Person("bob", (0.9, -0.4), (-0.5, 0.1), -1.4, swing=0.6),
]


@pytest.mark.parametrize("size_sigma", [0.0, 0.08])
def test_the_error_of_the_size_that_a_camera_adds_is_taken_out_again(size_sigma: float) -> None:
    detection = frame("front", TWO[:1], 0.2, size_sigma=size_sigma).detections[0]
    offset = detection.offset_m
    ray = offset / np.linalg.norm(offset)
    along, across = ray @ detection.root_covariance @ ray, np.trace(detection.root_covariance)
    published = SIZE_SIGMA * np.linalg.norm(offset)
    assert along > 0 and across > along
    if size_sigma == 0:
        assert along < 0.3 * (SETTINGS.sigma_factor * published) ** 2


def fuser() -> Fuser:
    return Fuser(SETTINGS, seed=1)


def seen_by(cameras: list[str], people: list[Person], times: np.ndarray) -> list[CameraFrame]:
    """Frames in the order of their stamps; the cameras' shutters are not synchronous."""
    frames = [
        frame(camera, people, t + 0.013 * list(PLACES).index(camera))
        for t in times
        for camera in cameras
    ]
    return sorted(frames, key=lambda each: (each.stamp_ns, each.camera))


TWO_CAMERAS = seen_by(["front", "right"], TWO, np.arange(0, 0.5, 0.1))
THREE_CAMERAS = seen_by(["front", "right", "back"], TWO, np.arange(0, 0.3, 0.1))


def results(used: Fuser, frames: list[CameraFrame]) -> list[Perception]:
    people = []
    for each in frames:
        assert used.add(each) is Arrival.ACCEPTED
        people.append(used.people("map"))
    return people


@pytest.mark.parametrize("cameras", [["front", "right"], ["front", "back"], list(PLACES)])
def test_each_person_is_one_body_with_one_id(cameras: list[str]) -> None:
    frames = seen_by(cameras, TWO, np.arange(0, 2, 0.1))
    perceptions = results(fuser(), frames)[len(cameras) :]
    ids = {body.id for people in perceptions for body in people.bodies}
    assert len(ids) == 2
    assert all(len(people.bodies) == 2 for people in perceptions)


def test_two_cameras_at_right_angles_err_by_less_than_four_tenths_of_the_better_one() -> None:
    person = TWO[0]
    fused, single = [], []
    used = fuser()
    for t in np.arange(0, 2, 0.1):
        frames = [frame(camera, [person], t) for camera in ("front", "right")]
        for each in frames:
            used.add(each)
        (body,) = used.people("map").bodies
        fused.append(np.linalg.norm(body.root_m - person.root(t)))
        roots = [each.detections[0].root_m for each in frames]
        single.append([np.linalg.norm(root - person.root(t)) for root in roots])
    assert np.mean(fused) < 0.4 * np.mean(single, axis=0).min()


def test_joints_are_fused_with_the_size_of_the_person_corrected() -> None:
    person = TWO[0]
    used = fuser()
    frames = [frame(camera, [person], 0.5, size_sigma=0.25) for camera in ("front", "right")]
    for each in frames:
        used.add(each)
    (body,) = used.people("map").bodies
    truth = person.joints(0.5)
    error = np.linalg.norm(body.positions_m - truth, axis=1).mean()
    singles = [
        np.linalg.norm(each.detections[0].joints_m - truth, axis=1).mean() for each in frames
    ]
    assert error < 0.3 * min(singles)


@given(st.permutations(range(9)))
@settings(max_examples=15)
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    frames = THREE_CAMERAS
    shuffled = [frames[index] for index in order]
    in_order, out_of_order = fuser(), fuser()
    for each in frames:
        assert in_order.add(each) is Arrival.ACCEPTED
    for each in shuffled:
        assert out_of_order.add(each) is Arrival.ACCEPTED
    assert in_order.state.groups == out_of_order.state.groups
    assert in_order.state.evidence == out_of_order.state.evidence
    one, other = in_order.people("map"), out_of_order.people("map")
    assert one.stamp_ns == other.stamp_ns
    for a, b in zip(one.bodies, other.bodies, strict=True):
        np.testing.assert_array_equal(a.root_m, b.root_m)
        np.testing.assert_array_equal(a.positions_m, b.positions_m)


@given(st.lists(st.integers(0, 2), min_size=10, max_size=10))
@settings(max_examples=15)
def test_an_id_that_was_published_survives_late_messages(delays: list[int]) -> None:
    """Messages are delayed by up to two places; ids of the two people never change."""
    frames = seen_by(["front", "right"], TWO, np.arange(0, 1, 0.1))
    order = sorted(range(len(frames)), key=lambda i: (i + (delays[i] if i < len(delays) else 0), i))
    used = fuser()
    ids: list[set[str]] = []
    for index in order:
        used.add(frames[index])
        people = used.people("map")
        if len(people.bodies) == 2 and len(used.state.frames) == 2:
            ids.append({body.id for body in people.bodies})
    assert ids and all(each == ids[0] for each in ids)


def test_messages_that_are_too_late_or_double_are_refused() -> None:
    used = fuser()
    newest = frame("front", TWO, 3.0)
    assert used.add(newest) is Arrival.ACCEPTED
    assert used.add(frame("front", TWO, 3.0)) is Arrival.DUPLICATE
    assert used.add(frame("right", TWO, 2.6)) is Arrival.ACCEPTED
    assert used.add(frame("right", TWO, 2.0)) is Arrival.LATE
    assert used.state.stamp_ns == newest.stamp_ns


def test_stamps_in_the_future_are_refused_and_do_not_make_the_others_late() -> None:
    used = fuser()
    now_ns = 4 * SECOND
    assert used.add(frame("right", TWO, 60.0), now_ns) is Arrival.FUTURE
    assert used.add(frame("front", TWO, 3.0), now_ns) is Arrival.ACCEPTED


def test_a_recording_that_begins_again_is_followed() -> None:
    used = fuser()
    results(used, seen_by(["front", "right"], TWO, np.arange(100, 101, 0.1)))
    arrivals = [used.add(each) for each in seen_by(["front", "right"], TWO, np.arange(0, 1, 0.1))]
    assert arrivals[:4] == [Arrival.LATE] * 4 and set(arrivals[4:]) == {Arrival.ACCEPTED}
    assert used.state.stamp_ns < 3 * SECOND


def test_the_buffer_is_bounded() -> None:
    settings = replace(SETTINGS, max_delay_s=10.0)
    used = Fuser(settings, seed=1)
    for index in range(MAX_FRAMES + 20):
        used.add(frame("front", [], index * 0.001))
    assert len(used._history) == MAX_FRAMES


def test_a_camera_that_goes_and_comes_back_changes_no_id() -> None:
    used = fuser()
    both = results(used, seen_by(["front", "right"], TWO, np.arange(0, 1, 0.1)))[-1]
    alone = results(used, seen_by(["front"], TWO, np.arange(1, 2, 0.1)))[-1]
    again = results(used, seen_by(["front", "right"], TWO, np.arange(2, 3, 0.1)))[-1]
    ids = [{body.id for body in people.bodies} for people in (both, alone, again)]
    assert len(ids[0]) == 2 and ids[0] == ids[1] == ids[2]
    assert set(used.state.frames) == {"front", "right"}


def test_a_person_whom_only_one_camera_sees_is_published_too() -> None:
    used = fuser()
    for t in np.arange(0, 1, 0.1):
        used.add(frame("front", TWO, t))
        used.add(frame("right", TWO[:1], t))
    assert len(used.people("map").bodies) == 2


def test_a_predicted_body_counts_only_if_no_camera_measures_the_person() -> None:
    used = fuser()
    measured = frame("front", TWO[:1], 0.5)
    used.add(measured)
    used.add(frame("right", TWO[:1], 0.5))
    lost = frame("right", TWO[:1], 0.55)
    detection = replace(lost.detections[0], state=TrackState.LOST)
    used.add(replace(lost, detections=(detection,)))
    used.add(frame("front", TWO[:1], 0.56))
    (body,) = used.people("map").bodies
    alone = frame("front", TWO[:1], 0.56).detections[0]
    np.testing.assert_allclose(body.root_m, alone.root_m, atol=1e-5)
    assert body.state is TrackState.TRACKED


def test_fused_bodies_have_no_pixels_and_the_best_confidence() -> None:
    used = fuser()
    for camera in ("front", "right"):
        used.add(frame(camera, TWO[:1], 0.5))
    people = used.people("map")
    (body,) = people.bodies
    assert (people.width, people.frame_id) == (0, "map")
    assert not body.box.any() and np.isnan(body.keypoints[:, :2]).all()
    assert body.keypoints[:, 2].max() <= 1.0


def test_twenty_people_before_four_cameras_are_twenty() -> None:
    rng = np.random.default_rng(4)
    spots = [(x, y) for x in np.linspace(-3, 3, 5) for y in np.linspace(-3, 3, 4)]
    crowd = [
        Person(f"p{i}", spot, tuple(rng.normal(0, 0.2, 2)), rng.uniform(-3, 3), rng.uniform(0, 1))
        for i, spot in enumerate(spots)
    ]
    perceptions = results(fuser(), seen_by(list(PLACES), crowd, np.arange(0, 0.3, 0.1)))
    assert [len(people.bodies) for people in perceptions[8:]] == [20] * len(perceptions[8:])
    assert len({body.id for people in perceptions[8:] for body in people.bodies}) == 20
