# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All cameras together: faults of a camera are named, and nothing wrong gets into the fusion."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_cameras import PLACES, SECOND, SETTINGS, Person, moved, seen

from thfm_ros.contract import Body, Intrinsics, Perception
from thfm_ros.fusion.rig import ERROR, OK, WARN, Finding, Rig

ANN = Person("ann", (-2.0, -1.0), (0.8, 0.3), 1.2)
CALIBRATED = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)


def perception(bodies: list[Body], stamp_ns: int) -> Perception:
    return Perception(stamp_ns, "world", 640, 480, CALIBRATED, tuple(bodies))


class Cameras:
    """Two cameras that see ann, and their rig."""

    def __init__(self) -> None:
        self.rig = Rig(SETTINGS, ["front", "right"], "map", seed=1)

    def send(
        self,
        camera: str,
        t_s: float,
        *,
        frame_id: str = "",
        rotation: np.ndarray | None = None,
        shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
        behind_s: float = 0.05,
    ) -> bool:
        """One message; ``behind_s`` after its stamp by the clock. Whether it was used."""
        body, centre = seen(ANN, camera, t_s), PLACES[camera]
        if rotation is not None or any(shift):
            r = np.eye(3) if rotation is None else rotation
            body, centre = moved(body, r, np.array(shift)), r @ centre + shift
        stamp_ns = SECOND + round(t_s * 1e9)
        return self.rig.receive(
            camera,
            frame_id or f"{camera}_optical",
            perception([body], stamp_ns),
            centre,
            now_ns=stamp_ns + round(behind_s * 1e9),
        )

    def finding(self, component: str, now_s: float) -> Finding:
        return next(f for f in self.rig.findings(now_s) if f.component == component)


@pytest.fixture
def cameras() -> Cameras:
    return Cameras()


def test_two_cameras_that_agree_are_reported_as_good(cameras: Cameras) -> None:
    for t in np.arange(0, 4, 0.2):
        assert cameras.send("front", t) and cameras.send("right", t)
    assert {f.level for f in cameras.rig.findings(5.0)} == {OK}
    assert cameras.finding("people", 5.0).values["seen by several cameras"] == "1"


def test_two_cameras_with_one_frame_id_are_named_and_neither_is_used(cameras: Cameras) -> None:
    cameras.send("front", 0.0, frame_id="camera_optical")
    assert not cameras.send("right", 0.1, frame_id="camera_optical")
    assert not cameras.send("front", 0.2, frame_id="camera_optical")
    found = cameras.finding("camera front", 1.3)
    assert found.level == ERROR
    assert all(word in found.message for word in ("front", "right", "'camera_optical'"))


def test_bodies_that_are_in_the_world_already_may_share_its_frame(cameras: Cameras) -> None:
    assert cameras.send("front", 0.0, frame_id="map")
    assert cameras.send("right", 0.0, frame_id="map")


def test_a_camera_upside_down_is_named_and_not_used(cameras: Cameras) -> None:
    upside_down = np.diag([-1.0, 1.0, -1.0])
    for t in (0.0, 0.1, 0.2):
        cameras.send("front", t, rotation=upside_down, shift=(0.0, 0.0, 2.8))
        cameras.send("right", t)
    assert [len(g) for g in cameras.rig.fuser.state.groups] == [1]  # only that of the right one
    found = cameras.finding("camera front", 1.3)
    assert found.level == ERROR and "upside down" in found.message
    assert cameras.finding("camera right", 1.3).level == OK


def test_stamps_from_the_future_are_named_with_their_lead(cameras: Cameras) -> None:
    assert cameras.send("right", 0.0)
    assert not cameras.send("front", 60.0, behind_s=-3.0)
    found = cameras.finding("camera front", 58.1)
    assert found.level == WARN and "3.00 s" in found.message and "clocks" in found.message
    assert cameras.send("right", 0.1)  # not "too late" because of the other camera


def test_late_messages_are_counted_with_the_limit(cameras: Cameras) -> None:
    assert cameras.send("front", 2.0)
    assert not cameras.send("right", 1.0, behind_s=1.1)
    found = cameras.finding("camera right", 3.2)
    assert found.level == WARN and "1 messages" in found.message and "0.5 s" in found.message
    assert cameras.finding("camera right", 3.2).level == OK  # reported once


def test_a_camera_that_was_never_heard_or_falls_silent_is_missed(cameras: Cameras) -> None:
    cameras.send("front", 0.0)
    assert "is its node running" in cameras.finding("camera right", 1.1).message
    found = cameras.finding("camera front", 11.05)
    assert found.level == WARN and "10.0 s" in found.message


@pytest.mark.parametrize(("period_s", "waits"), [(0.1, True), (1.5, True), (4.0, False)])
def test_slow_cameras_are_waited_for_and_silent_ones_are_not(
    cameras: Cameras, period_s: float, waits: bool
) -> None:
    def is_complete(t_s: float) -> bool:
        return cameras.rig.is_complete(20_000_000, 1 + t_s + 0.05)

    cameras.send("front", 0.0)
    assert is_complete(0.0)  # the other camera has never been heard
    cameras.send("right", 0.0)
    assert is_complete(0.0)
    cameras.send("front", period_s)
    assert is_complete(period_s) == (not waits)
    cameras.send("right", period_s)
    assert is_complete(period_s)


def test_an_uncalibrated_camera_is_named(cameras: Cameras) -> None:
    flat = replace(perception([], SECOND), intrinsics=None)
    cameras.rig.receive("front", "front_optical", flat, PLACES["front"], now_ns=SECOND)
    assert "not calibrated" in cameras.finding("camera front", 1.1).message


def test_a_wrong_calibration_names_the_pair_and_the_offset(cameras: Cameras) -> None:
    """It is so wrong that no bodies are taken for one person."""
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    turned = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    for t in np.arange(0, 5, 0.2):
        cameras.send("front", t)
        cameras.send("right", t, rotation=turned, shift=(2.5, 1.0, 0.5))
    found = cameras.finding("calibration", 7.0)
    assert found.level == WARN
    assert all(word in found.message for word in ("front", "right", " m ", "degrees"))
    assert "offset front - right" in found.values


def test_a_message_that_could_not_be_used_is_reported_until_the_next_good_one(
    cameras: Cameras,
) -> None:
    cameras.rig.refuse("front", "no transform from 'front_optical' to 'map'", SECOND)
    assert cameras.finding("camera front", 1.1).message.startswith("no transform")
    cameras.send("front", 0.2)
    assert cameras.finding("camera front", 1.3).level == OK
