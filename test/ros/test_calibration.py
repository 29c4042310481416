# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""CameraInfo to Intrinsics: the choice of the matrix, image sizes, and rejected calibrations."""

from collections.abc import Sequence

import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from thfm_ros.camera.calibration import (
    Calibration,
    intrinsics_from_camera_info,
    is_rectified,
    tf_frame,
)
from thfm_ros.camera.lens_models import CalibrationError
from thfm_ros.contract import Distortion, Intrinsics, LensModel
from thfm_ros.geometry import project, rays
from thfm_ros.ros.to_msg.camera_info import camera_info_from_intrinsics

pytestmark = pytest.mark.ros


def an_info(width: int = 640, height: int = 480, frame_id: str = "camera") -> CameraInfo:
    info = CameraInfo(width=width, height=height, header=Header(frame_id=frame_id))
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.p = [400.0, 0.0, 310.0, 0.0, 0.0, 410.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.0] * 5
    info.distortion_model = "plumb_bob"
    return info


def a_lens(model: str, d: Sequence[float]) -> CameraInfo:
    info = an_info()
    info.distortion_model, info.d = model, list(d)
    return info


def a_region(x: int, y: int, width: int, height: int, binning: int = 1) -> CameraInfo:
    info = an_info()
    info.binning_x = info.binning_y = binning
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = x, y, width, height
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


@pytest.mark.parametrize("do_rectify", [False, True])
def test_binning_and_region_of_interest_are_applied(do_rectify: bool) -> None:
    """do_rectify has no effect, as in image_geometry."""
    info = a_region(100, 40, 400, 300, binning=2)
    info.roi.do_rectify = do_rectify
    k = intrinsics_from_camera_info(info, 200, 150)
    assert k == Intrinsics(250.0, 255.0, (320.5 - 100) / 2, (240.5 - 40) / 2, 200, 150)
    k = intrinsics_from_camera_info(info, 200, 150, rectified=True)
    assert k == Intrinsics(200.0, 205.0, (310.5 - 100) / 2, (230.5 - 40) / 2, 200, 150)


def test_a_region_of_interest_without_a_size_is_the_rest_of_the_image() -> None:
    assert intrinsics_from_camera_info(a_region(0, 0, 0, 0), 640, 480).width == 640
    k = intrinsics_from_camera_info(a_region(40, 30, 0, 0), 600, 450)
    assert (k.cx, k.cy, k.width, k.height) == (280.5, 210.5, 600, 450)


@pytest.mark.parametrize("region", [(160, 120, 320, 240), (64, 48, 0, 0), (0, 0, 320, 200)])
@pytest.mark.parametrize("binning", [1, 2])
def test_a_region_that_images_of_the_whole_size_do_not_show_is_refused(
    region: tuple[int, int, int, int], binning: int
) -> None:
    """As an enlarged region it would double the focal length, and with it all distances."""
    with pytest.raises(CalibrationError, match=r"region of interest .*, but images have the whole"):
        intrinsics_from_camera_info(
            a_region(*region, binning=binning), 640 // binning, 480 // binning
        )
    assert intrinsics_from_camera_info(a_region(0, 0, 640, 480), 640, 480).fx == 500


def test_region_and_binning_do_not_change_the_rays_of_a_lens() -> None:
    whole = a_lens("plumb_bob", [-0.3, 0.1, 0.001, -0.001, 0.0])
    part = a_region(100, 40, 400, 300, binning=2)
    part.d = whole.d
    of_whole = rays(np.array([[300.0, 200.0]]), intrinsics_from_camera_info(whole, 640, 480))
    of_part = rays(np.array([[100.0, 80.0]]), intrinsics_from_camera_info(part, 200, 150))
    np.testing.assert_allclose(of_part, of_whole, atol=1e-6)


@given(st.floats(0.1, 3.0))
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
        ({"k": [0.0] * 9, "p": [0.0] * 12}, r"no calibration \(K and P are zero\)"),
        ({"k": [0.0] * 9}, "P but no K"),
        ({"k": [float("nan")] * 9}, "impossible"),
        ({"k": [-500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]}, "impossible"),
        ({"k": [500.0, 0.0, 0.0, 0.0, 510.0, 0.0, 320.0, 240.0, 1.0]}, "row by row"),
        ({"k": [500.0, 0.0, 3e5, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]}, "impossible K"),
        ({"k": [1e-3, 0.0, 320.0, 0.0, 1e-3, 240.0, 0.0, 0.0, 1.0]}, "impossible K"),
        ({"k": [1e9, 0.0, 320.0, 0.0, 1e9, 240.0, 0.0, 0.0, 1.0]}, "impossible K"),
        ({"d": [float("nan")] * 5}, "D with a value that is not a number"),
        ({"d": [1e9, 0.0, 0.0, 0.0, 0.0]}, "lens model without rays"),
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


def test_a_region_beyond_the_image_is_refused() -> None:
    with pytest.raises(CalibrationError, match=r"400x300 at \(300, 40\).*beyond its image"):
        intrinsics_from_camera_info(a_region(300, 40, 400, 300), 400, 300)


def test_p_with_a_baseline_gives_the_rays_of_this_camera() -> None:
    """The fourth column of P places the right camera of a stereo pair; its rays are its own."""
    info = an_info()
    info.p[3] = -60.0
    k = intrinsics_from_camera_info(info, 640, 480, rectified=True)
    assert k == intrinsics_from_camera_info(an_info(), 640, 480, rectified=True)


def test_a_rectified_image_without_p_uses_k_if_the_lens_has_no_distortion() -> None:
    for d in ([], [0.0] * 5):
        info = a_lens("plumb_bob", d)
        info.p = [0.0] * 12
        k = intrinsics_from_camera_info(info, 640, 480, rectified=True)
        assert k == intrinsics_from_camera_info(an_info(), 640, 480)


@pytest.mark.parametrize(("model", "d"), [("plumb_bob", [-0.3] * 5), ("equidistant", [0.0] * 4)])
def test_a_rectified_image_of_a_distorting_lens_without_p_is_refused(
    model: str, d: list[float]
) -> None:
    info = a_lens(model, d)
    info.p = [0.0] * 12
    with pytest.raises(CalibrationError, match=r"K but no P.*projection_matrix.*remap 'image'"):
        intrinsics_from_camera_info(info, 640, 480, rectified=True)


@pytest.mark.parametrize(
    ("model", "d", "expected"),
    [
        ("plumb_bob", [], None),
        ("rational_polynomial", [0.0] * 8, None),
        ("", [], None),
        ("none", [0.0] * 5, None),
        ("plumb_bob", [-0.1, 0.0, 0.0, 0.0], (LensModel.PLUMB_BOB, 4)),
        ("plumb_bob", [-0.1, 0.0, 0.0, 0.0, 0.0], (LensModel.PLUMB_BOB, 5)),
        ("rational_polynomial", [-0.1] + [0.0] * 7, (LensModel.PLUMB_BOB, 8)),
        ("rational_polynomial", [-0.1] + [0.0] * 11, (LensModel.PLUMB_BOB, 12)),
        ("Rational Polynomial", [-0.1] + [0.0] * 13, (LensModel.PLUMB_BOB, 14)),
        ("equidistant", [0.01, 0.0, 0.0, 0.0], (LensModel.EQUIDISTANT, 4)),
        ("fisheye", [0.0] * 4, (LensModel.EQUIDISTANT, 4)),
        ("equidistant", [], (LensModel.EQUIDISTANT, 4)),
        ("equidistant", [0.01, 0.0, 0.0, 0.0, 0.0], (LensModel.EQUIDISTANT, 4)),
    ],
)
def test_the_lens_model_follows_the_name_and_the_number_of_coefficients(
    model: str, d: list[float], expected: tuple[LensModel, int] | None
) -> None:
    lens = intrinsics_from_camera_info(a_lens(model, d), 640, 480).distortion
    assert (lens and (lens.model, len(lens.coefficients))) == expected
    assert (
        intrinsics_from_camera_info(a_lens(model, d), 640, 480, rectified=True).distortion is None
    )


@pytest.mark.parametrize(
    ("model", "d", "reason"),
    [
        ("thin_prism_fisheye", [0.0] * 8, "'thin_prism_fisheye', which is not known.*equidistant"),
        ("", [-0.1, 0.0, 0.0, 0.0], "'', which is not known"),
        ("plumb_bob", [-0.1, 0.1, 0.0], "3 coefficients in D for .*'plumb_bob', which has 4, 5"),
        ("rational_polynomial", [0.1] * 7, "7 coefficients"),
        ("equidistant", [0.1] * 3, "3 coefficients in D for .*'equidistant', which has 4.*fisheye"),
        ("equidistant", [0.1] * 8, "8 coefficients"),
    ],
)
@pytest.mark.fault("camera", "a camera_info of an unknown lens model")
def test_an_unknown_lens_is_named_and_nothing_is_metric(
    model: str, d: list[float], reason: str
) -> None:
    with pytest.raises(CalibrationError, match=reason) as error:
        intrinsics_from_camera_info(a_lens(model, d), 640, 480)
    assert "Only 2D and relative results" in str(error.value) and "image_rect" in str(error.value)
    intrinsics_from_camera_info(a_lens(model, d), 640, 480, rectified=True)  # P says it all


_NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -1.0, 320.0, 500.0, 1e-300, 1e300]),
)
_LENSES = st.one_of(
    st.tuples(st.just("plumb_bob"), st.lists(st.floats(-0.4, 0.4), min_size=5, max_size=5)),
    st.tuples(st.just("equidistant"), st.lists(st.floats(-0.1, 0.1), min_size=4, max_size=4)),
    st.tuples(
        st.sampled_from(["rational_polynomial", "plumb_bob", "equidistant", "ftheta", ""]),
        st.lists(_NUMBERS, max_size=14),
    ),
)


@st.composite
def mutated_infos(draw: st.DrawFn) -> CameraInfo:
    """A valid CameraInfo of which some fields were replaced, by possible or by absurd values."""
    info = an_info()
    info.distortion_model, info.d = draw(_LENSES)
    sizes = st.one_of(st.integers(0, 1000), st.integers(0, 2**32 - 1))
    for name in draw(st.sets(st.sampled_from(["size", "k", "p", "binning", "roi", "focal"]))):
        if name == "size":
            info.width, info.height = draw(sizes), draw(sizes)
        elif name == "focal":
            info.k[0] = info.k[4] = info.p[0] = info.p[5] = draw(st.floats(100.0, 3000.0))
        elif name == "binning":
            info.binning_x = info.binning_y = draw(st.one_of(st.integers(0, 4), sizes))
        elif name == "roi":
            info.roi.x_offset, info.roi.y_offset = draw(sizes), draw(sizes)
            info.roi.width, info.roi.height = draw(sizes), draw(sizes)
        else:
            values = getattr(info, name)
            values[draw(st.integers(0, len(values) - 1))] = draw(_NUMBERS)
    return info


@given(mutated_infos(), st.booleans(), st.sampled_from([(640, 480), (320, 240), (7, 900)]))
@settings(max_examples=100)
def test_any_camera_info_gives_rays_that_project_to_their_pixels_or_a_reason(
    info: CameraInfo, rectified: bool, size: tuple[int, int]
) -> None:
    try:
        k = intrinsics_from_camera_info(info, *size, rectified=rectified)
    except CalibrationError as error:
        assert "nly 2D and relative results are published" in str(error)
        return
    pixels = np.stack(np.meshgrid(np.linspace(0, size[0], 5), np.linspace(0, size[1], 5)), -1)
    directions = rays(pixels, k)
    known = np.isfinite(directions).all(axis=-1)
    assert known.all() or k.distortion is not None
    np.testing.assert_allclose(project(3 * directions[known], k), pixels[known], atol=0.1)
    header = Header(frame_id="camera")
    again = intrinsics_from_camera_info(camera_info_from_intrinsics(k, header), *size)
    assert again.distortion == k.distortion
    np.testing.assert_allclose([again.fx, again.cx], [k.fx, k.cx], rtol=1e-9, atol=1e-6)


def missing() -> str:
    return "no CameraInfo on /camera/camera_info"


def a_calibration(image_topic: str = "/camera/image_raw") -> Calibration:
    return Calibration(image_topic, missing)


def test_without_camera_info_there_are_no_intrinsics_and_the_reason_is_given() -> None:
    calibration = a_calibration()
    assert calibration.intrinsics_for("camera", 640, 480) is None
    assert calibration.problem == missing()


def test_camera_info_with_another_frame_id_is_used_with_a_warning() -> None:
    calibration = a_calibration()
    calibration.receive(an_info(frame_id="camera_link"))
    assert calibration.intrinsics_for("camera_optical", 640, 480) is not None
    assert calibration.problem == ""
    assert "'camera_link'" in calibration.warning and "'camera_optical'" in calibration.warning
    assert "in the frame of the images" in calibration.warning
    calibration.receive(an_info(frame_id="camera_optical"))
    assert calibration.intrinsics_for("camera_optical", 640, 480) is not None
    assert calibration.warning == ""


@pytest.mark.parametrize(
    ("of_info", "of_image"),
    [("/camera", "camera"), ("camera", "/camera"), ("/camera", "/camera"), ("", "camera")],
)
def test_a_leading_slash_or_no_frame_id_is_not_another_frame(of_info: str, of_image: str) -> None:
    calibration = a_calibration()
    calibration.receive(an_info(frame_id=of_info))
    assert calibration.intrinsics_for(of_image, 640, 480) is not None
    assert (calibration.problem, calibration.warning) == ("", "")
    assert tf_frame(of_image) == "camera"


def test_the_stamp_of_a_camera_info_does_not_matter() -> None:
    """A calibration of last week, or one of the future, is valid until another arrives."""
    for seconds in (0, 1, 2**31 - 1):
        calibration = a_calibration()
        info = an_info()
        info.header.stamp.sec = seconds
        calibration.receive(info)
        assert calibration.intrinsics_for("camera", 640, 480) is not None


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


def test_the_lens_model_and_what_it_does_not_cover_are_noted() -> None:
    calibration = a_calibration()
    calibration.receive(a_lens("plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0]))
    calibration.intrinsics_for("camera", 640, 480)
    assert calibration.note == "metric, with the lens model plumb_bob"
    wide = a_lens("equidistant", [0.0] * 4)
    wide.k[0] = wide.k[4] = 200.0
    calibration.receive(wide)
    assert calibration.intrinsics_for("camera", 640, 480) is not None
    assert "equidistant; it has rays for 7" in calibration.note
    rectified = a_calibration("/camera/image_rect")
    rectified.receive(wide)
    rectified.intrinsics_for("camera", 640, 480)
    assert rectified.note == ""


def test_intrinsics_survive_the_conversion_to_camera_info_and_back() -> None:
    k = Intrinsics(500.0, 510.0, 320.5, 240.5, 640, 480)
    info = camera_info_from_intrinsics(k, Header(frame_id="camera"))
    for rectified in (False, True):
        assert intrinsics_from_camera_info(info, 640, 480, rectified=rectified) == k
    assert info.header.frame_id == "camera"
    assert not np.any(info.d)


@pytest.mark.parametrize(
    ("name", "lens"),
    [
        ("equidistant", Distortion(LensModel.EQUIDISTANT, (0.01, 0.0, 0.0, 0.0))),
        ("plumb_bob", Distortion(LensModel.PLUMB_BOB, (-0.2, 0.1, 0.0, 0.0, 0.0))),
        ("rational_polynomial", Distortion(LensModel.PLUMB_BOB, (-0.2,) + (0.01,) * 7)),
    ],
)
def test_the_camera_info_of_depth_images_has_the_lens_model_of_the_images(
    name: str, lens: Distortion
) -> None:
    k = Intrinsics(500.0, 510.0, 320.5, 240.5, 640, 480, lens)
    info = camera_info_from_intrinsics(k, Header(frame_id="camera"))
    assert info.distortion_model == name
    assert intrinsics_from_camera_info(info, 640, 480) == k
