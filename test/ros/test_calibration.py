# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""CameraInfo to Intrinsics: the choice of the matrix, image sizes, and rejected calibrations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from thfm_ros.contract import Intrinsics
from thfm_ros.ros.calibration import (
    Calibration,
    CalibrationError,
    camera_info_from_intrinsics,
    intrinsics_from_camera_info,
    is_rectified,
)

pytestmark = pytest.mark.ros


def an_info(width: int = 640, height: int = 480, frame_id: str = "camera") -> CameraInfo:
    info = CameraInfo(width=width, height=height, header=Header(frame_id=frame_id))
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.p = [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.0] * 5
    return info


def test_the_principal_point_is_shifted_by_half_a_pixel() -> None:
    """(0, 0) is the centre of the first pixel in CameraInfo, and its corner in contract.py."""
    k = intrinsics_from_camera_info(an_info(), 640, 480)
    assert k == Intrinsics(500.0, 510.0, 320.5, 240.5, 640, 480)


def test_the_matrix_of_a_rectified_image_is_p() -> None:
    k = intrinsics_from_camera_info(an_info(), 640, 480, rectified=True)
    assert (k.fx, k.fy, k.cx, k.cy) == (400.0, 410.0, 310.5, 230.5)


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_raw", False),
        ("/camera/image_rect", True),
        ("/camera/image_rect_color", True),
        ("/zed/rgb/color/rect/image", True),
        ("/camera/image_rectified", True),
        ("/direct/image", False),
        ("/correction/image", False),
    ],
)
def test_rectified_images_are_recognised_by_the_topic_name(topic: str, rectified: bool) -> None:
    assert is_rectified(topic) is rectified


def test_binning_and_region_of_interest_are_applied() -> None:
    info = an_info()
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 400, 300
    k = intrinsics_from_camera_info(info, 200, 150)
    assert k == Intrinsics(250.0, 255.0, (320.5 - 100) / 2, (240.5 - 40) / 2, 200, 150)


@given(st.floats(0.1, 3.0))
@settings(max_examples=50, deadline=None)
def test_intrinsics_follow_an_image_that_was_resized_after_calibration(factor: float) -> None:
    width, height = round(640 * factor), round(480 * factor)
    k = intrinsics_from_camera_info(an_info(), width, height)
    full = intrinsics_from_camera_info(an_info(), 640, 480)
    # The rays of the right and the lower edge do not depend on the size.
    assert (width - k.cx) / k.fx == pytest.approx((640 - full.cx) / full.fx)
    assert (height - k.cy) / k.fy == pytest.approx((480 - full.cy) / full.fy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"k": [0.0] * 9}, "no calibration"),
        ({"k": [float("nan")] * 9}, "impossible"),
        ({"k": [-500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]}, "impossible"),
        ({"width": 0}, "no width and height"),
        ({"width": 1280}, "another aspect ratio"),
        ({"binning_x": 1000, "binning_y": 1000}, "leaves no pixel"),
        ({"binning_x": 2}, r"not square \(fx / fy = 0.49"),
        ({"k": [500.0, 0.0, 320.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0]}, "not square"),
    ],
)
def test_an_unusable_calibration_is_rejected(change: dict[str, object], reason: str) -> None:
    info = an_info()
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(CalibrationError, match=reason):
        intrinsics_from_camera_info(info, 640, 480)


def a_calibration() -> Calibration:
    return Calibration("/camera/image_raw", "/camera/camera_info")


def test_without_camera_info_there_are_no_intrinsics_and_the_topic_is_named() -> None:
    calibration = a_calibration()
    assert calibration.intrinsics_for("camera", 640, 480) is None
    assert "/camera/camera_info" in calibration.problem


def test_camera_info_of_another_camera_is_not_used() -> None:
    calibration = a_calibration()
    calibration.receive(an_info(frame_id="other"))
    assert calibration.intrinsics_for("camera", 640, 480) is None
    assert "'other'" in calibration.problem
    calibration.receive(an_info())
    assert calibration.intrinsics_for("camera", 640, 480) is not None
    assert calibration.problem == ""


def test_a_new_calibration_applies_to_the_next_image() -> None:
    calibration = a_calibration()
    calibration.receive(an_info())
    before = calibration.intrinsics_for("camera", 640, 480)
    zoomed = an_info()
    zoomed.k[0] = zoomed.k[4] = 900.0
    calibration.receive(zoomed)
    after = calibration.intrinsics_for("camera", 640, 480)
    assert before is not None and after is not None
    assert (before.fx, after.fx) == (500.0, 900.0)


def test_a_repeated_camera_info_is_not_computed_again() -> None:
    calibration = a_calibration()
    calibration.receive(an_info())
    first = calibration.intrinsics_for("camera", 640, 480)
    again = an_info()
    again.header.stamp.sec = 7
    calibration.receive(again)
    assert calibration.intrinsics_for("camera", 640, 480) is first


def test_uncorrected_lens_distortion_is_noted() -> None:
    info = an_info()
    info.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    calibration = a_calibration()
    calibration.receive(info)
    calibration.intrinsics_for("camera", 640, 480)
    assert "distortion" in calibration.note
    rectified = Calibration("/camera/image_rect", "/camera/camera_info")
    rectified.receive(info)
    rectified.intrinsics_for("camera", 640, 480)
    assert rectified.note == ""


def test_intrinsics_survive_the_conversion_to_camera_info_and_back() -> None:
    k = Intrinsics(500.0, 510.0, 320.5, 240.5, 640, 480)
    info = camera_info_from_intrinsics(k, Header(frame_id="camera"))
    for rectified in (False, True):
        assert intrinsics_from_camera_info(info, 640, 480, rectified=rectified) == k
    assert info.header.frame_id == "camera"
    assert not np.any(info.d)
