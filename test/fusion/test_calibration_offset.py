# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The offset of two cameras whose calibrations disagree, and cameras that are upside down."""

import numpy as np
import pytest
from simulated_cameras import SETTINGS, Person, frame

from thfm_ros.fusion.calibration_offset import Offset, PairOffset
from thfm_ros.fusion.detections import CameraFrame
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.fusion.upright import Uprightness

SIZES = FusionSettings(sigma_factor=1.0, size_sigma=0.1, view_size_sigma=0.05)
WALKERS = [
    Person("ann", (-2.0, -1.0), (0.8, 0.3), 1.2),
    Person("bob", (1.5, -1.5), (-0.5, 0.7), -2.0, swing=0.7),
]


def about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def estimate(
    people: list[Person], rotation: np.ndarray, shift: np.ndarray, cameras: tuple[str, str]
) -> Offset | None:
    pair = PairOffset(SIZES)
    for t in np.arange(0, 5, 0.2):
        a = frame(cameras[0], people, t, SIZES)
        b = frame(cameras[1], people, t, SIZES, (rotation, shift))
        for one, other in zip(a.detections, b.detections, strict=True):
            pair.add(one, other, a.stamp_ns)
    return pair.estimate()


@pytest.mark.parametrize("cameras", [("front", "right"), ("front", "back")])
@pytest.mark.parametrize(
    ("degrees", "shift"),
    [(0.0, (0.0, 0.0, 0.6)), (15.0, (0.5, 0.2, 0.0)), (120.0, (3.0, -2.0, 0.3))],
)
def test_a_wrong_calibration_is_measured_in_metres_and_degrees(
    cameras: tuple[str, str], degrees: float, shift: tuple[float, float, float]
) -> None:
    rotation = about_z(degrees)
    offset = estimate(WALKERS, rotation, np.array(shift), cameras)
    assert offset is not None and offset.is_wrong(SIZES)
    middle = np.mean([p.root(t) for p in WALKERS for t in np.arange(0, 5, 0.2)], axis=0)
    displaced = np.linalg.norm(rotation @ middle + shift - middle)
    slack = max(3 * offset.metres_sigma, 0.1)
    assert 0.7 * displaced - slack < offset.metres < displaced + slack  # its clear part
    assert offset.degrees == pytest.approx(degrees, abs=max(3 * offset.degrees_sigma, 2.0))
    text = offset.text(*cameras)
    assert all(name in text for name in cameras) and " m " in text and "degrees" in text


@pytest.mark.parametrize("cameras", [("front", "right"), ("front", "back"), ("right", "left")])
def test_cameras_that_agree_are_not_accused(cameras: tuple[str, str]) -> None:
    offset = estimate(WALKERS, np.eye(3), np.zeros(3), cameras)
    assert offset is not None and not offset.is_wrong(SIZES)


def test_people_of_unusual_size_are_no_wrong_calibration() -> None:
    tall = FusionSettings(sigma_factor=1.0, size_sigma=0.2, view_size_sigma=0.05)
    pair = PairOffset(tall)
    for t in np.arange(0, 5, 0.2):
        frames = [
            frame(camera, WALKERS[:1], t, tall, size_sigma=0.2) for camera in ("front", "left")
        ]
        pair.add(frames[0].detections[0], frames[1].detections[0], frames[0].stamp_ns)
    offset = pair.estimate()
    assert offset is not None and not offset.is_wrong(tall)


def test_a_person_who_stands_still_tells_nothing() -> None:
    assert estimate([Person("eve")], np.eye(3), np.array([1.0, 0, 0]), ("front", "right")) is None


def test_different_people_are_no_wrong_calibration() -> None:
    """Each camera sees one person, but not the same one."""
    pair = PairOffset(SIZES)
    for t in np.arange(0, 5, 0.2):
        a, b = frame("front", WALKERS[:1], t, SIZES), frame("right", WALKERS[1:], t, SIZES)
        pair.add(a.detections[0], b.detections[0], a.stamp_ns)
    offset = pair.estimate()
    assert offset is None or not offset.is_wrong(SIZES)


def upside_down(people: list[Person], t: float) -> CameraFrame:
    """The camera's tf frame is turned by 180 degrees about its viewing direction (+y)."""
    return frame("front", people, t, SETTINGS, (np.diag([-1.0, 1.0, -1.0]), np.array([0, 0, 2.8])))


def test_people_of_a_camera_that_is_upside_down_are_withheld_from_the_first_frame_on() -> None:
    check = Uprightness()
    assert check.checked(upside_down(WALKERS, 0.0)).detections == ()
    problem = check.problem("front", "map")
    assert "camera front" in problem and "upside down" in problem and "180 degrees" in problem


def test_a_handstand_before_a_trusted_camera_is_no_fault_of_the_camera() -> None:
    check = Uprightness()
    for t in np.arange(0, 2, 0.1):
        assert len(check.checked(frame("front", WALKERS, t)).detections) == 2
    assert len(check.checked(upside_down(WALKERS[:1], 2.0)).detections) == 1
    assert check.problem("front", "map") == ""
