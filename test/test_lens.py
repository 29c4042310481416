# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Lens models: pixels to rays and back, and people seen through a fisheye lens in metres."""

import dataclasses
import math

import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import FakeEngine, Person, fisheye, frame, pixels_of
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.config import config_from
from thfm_ros.contract import Distortion, Intrinsics, LensModel, Task
from thfm_ros.geometry import pixels_per_radian, project, ray_sigmas, rays, unproject
from thfm_ros.lens import same_projection, share_with_rays, tangent_maps
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

FISHEYE = Distortion(LensModel.EQUIDISTANT, (0.02, -0.01, 0.003, -0.001))
BARREL = Distortion(LensModel.PLUMB_BOB, (-0.32, 0.11, 0.001, -0.0005, -0.02))
# As a depth camera's factory calibration: k4 to k6 nearly cancel k1 to k3.
RATIONAL = Distortion(LensModel.PLUMB_BOB, (0.42, -2.56, 0.0006, -0.0003, 1.48, 0.3, -2.4, 1.41))


def a_camera(lens: Distortion, focal: float) -> Intrinsics:
    return Intrinsics(focal, focal * 1.01, 322.0, 236.0, 640, 480, lens)


CAMERAS = {
    "equidistant": a_camera(FISHEYE, 230.0),
    "plumb_bob": a_camera(BARREL, 420.0),
    "rational_polynomial": a_camera(RATIONAL, 610.0),
}


@pytest.mark.parametrize("k", CAMERAS.values(), ids=CAMERAS)
def test_a_point_on_the_ray_of_a_pixel_is_seen_at_that_pixel(k: Intrinsics) -> None:
    x, y = np.meshgrid(np.linspace(0, k.width, 33), np.linspace(0, k.height, 25))
    pixels = np.stack([x, y], axis=-1)
    directions = rays(pixels, k)
    known = np.isfinite(directions).all(axis=-1)
    assert known.mean() > 0.85
    points = directions[known] * np.random.default_rng(1).uniform(0.5, 20, (known.sum(), 1))
    np.testing.assert_allclose(project(points, k), pixels[known], atol=0.06)


def test_a_fisheye_ray_has_the_angle_of_its_polynomial() -> None:
    k = CAMERAS["equidistant"]
    k1, k2, k3, k4 = FISHEYE.coefficients
    for degrees in (1, 20, 45, 60, 70):
        t = math.radians(degrees)
        radius = k.fx * (t + k1 * t**3 + k2 * t**5 + k3 * t**7 + k4 * t**9)
        ray = rays(np.array([k.cx + radius, k.cy]), k)
        assert math.degrees(math.atan2(ray[0], ray[2])) == pytest.approx(degrees, abs=1e-3)


def test_where_the_lens_model_has_no_inverse_the_ray_is_unknown() -> None:
    folded = a_camera(Distortion(LensModel.PLUMB_BOB, (-0.6, 0.0, 0.0, 0.0, 0.0)), 300.0)
    corner = rays(np.array([[1.0, 1.0], [322.0, 236.0]]), folded)
    assert np.isnan(corner[0]).all() and np.isfinite(corner[1]).all()
    assert 0.1 < share_with_rays(folded) < 0.9
    assert np.isnan(rays(np.array([np.nan, 3.0]), folded)).all()
    assert np.isnan(project(np.array([0.0, 0.0, -1.0]), folded)).all()


@pytest.mark.parametrize("k", CAMERAS.values(), ids=CAMERAS)
def test_the_points_of_a_depth_image_lie_on_the_rays_of_its_pixels(k: Intrinsics) -> None:
    points = unproject(np.full((k.height, k.width), 2.0, np.float32), k)
    rows, columns = np.mgrid[3:480:40, 5:640:40]
    expected = 2 * rays(np.stack([columns + 0.5, rows + 0.5], axis=-1), k)
    near = np.linalg.norm(expected[..., :2], axis=-1) < 2 * math.tan(math.radians(70))
    np.testing.assert_allclose(points[rows, columns][near], expected[near], atol=0.004)
    assert tangent_maps(k)[0].shape == (k.height, k.width)


@given(st.floats(-70, 70), st.floats(-0.5, 0.5), st.floats(2, 6))
@settings(max_examples=20)
def test_people_through_a_fisheye_lens_are_where_they_are(
    azimuth_deg: float, y: float, distance: float
) -> None:
    """140 degrees wide: at the sides a pinhole with the same focal length errs by metres."""
    angle = math.radians(azimuth_deg)
    person = Person(distance * math.sin(angle), y, distance * math.cos(angle))
    k = fisheye()
    engine = FakeEngine(k, lambda: [person])
    pipeline = PerceptionPipeline(engine, config_from({"track.seed": 1}))
    clip = FrameWindow(pipeline.config.window).push(frame(k))
    assert clip is not None
    perception = pipeline.step(clip, frozenset({Task.BODIES, Task.DEPTH}))
    (body,) = perception.bodies
    np.testing.assert_allclose(body.root_m, person.root_m, atol=0.01 * distance)
    np.testing.assert_allclose(body.positions_m, person.joints_m(), atol=0.01 * distance)
    assert perception.depth_m is not None
    x, y_px = pixels_of(person.root_m[None], k)[0].astype(int)
    assert perception.depth_m[y_px, x] == pytest.approx(person.z, rel=0.02)


def test_people_outside_of_the_lens_model_have_no_position() -> None:
    """The image shows them and their keypoints are known, but there is no ray."""
    person = Person(3.0, 0.0, 0.9)
    lens = Distortion(LensModel.PLUMB_BOB, (-0.6, 0.0, 0.0, 0.0, 0.0))
    folded = dataclasses.replace(fisheye(), distortion=lens)
    engine = FakeEngine(fisheye(), lambda: [person])
    pipeline = PerceptionPipeline(engine, config_from({"track.seed": 1}))
    clip = FrameWindow(pipeline.config.window).push(frame(folded))
    assert clip is not None
    perception = pipeline.step(clip, frozenset(Task))
    (body,) = perception.bodies
    assert np.isfinite(body.keypoints).all()
    assert np.isnan(body.positions_m).all() and np.isnan(body.root_m).all()
    assert perception.depth_m is not None and np.isnan(perception.depth_m).all()


@pytest.mark.parametrize("k", CAMERAS.values(), ids=CAMERAS)
def test_the_local_scale_of_a_lens_is_that_of_its_rays(k: Intrinsics) -> None:
    pixels = np.array([[322.0, 236.0], [150.0, 300.0], [470.0, 100.0]])
    ray = rays(pixels, k)
    steps = np.array([[0.5, 0.0], [0.0, 0.5]])
    along_x, along_y = (rays(pixels + s, k) - rays(pixels - s, k) for s in steps)
    expected = np.hypot(along_x, along_y)[:, :2]
    np.testing.assert_allclose(ray_sigmas(ray, np.ones(3), k), expected, rtol=1e-3)
    unit = [
        r / np.linalg.norm(r, axis=1, keepdims=True) for r in (ray, ray + along_x, ray + along_y)
    ]
    solid_angle = np.linalg.norm(np.cross(unit[1] - unit[0], unit[2] - unit[0]), axis=1)
    np.testing.assert_allclose(pixels_per_radian(ray, k), 1 / np.sqrt(solid_angle), rtol=0.02)


def test_cameras_that_differ_by_more_than_half_a_percent_are_others() -> None:
    k = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
    same = {"fx": 501.0, "fy": 499.0, "cx": 322.0, "cy": 239.0}
    assert same_projection(k, dataclasses.replace(k, **same))  # type: ignore[arg-type]
    assert same_projection(None, None) and not same_projection(k, None)
    lens = Distortion(LensModel.EQUIDISTANT, (0.0,) * 4)
    for change in ({"fx": 510.0}, {"fy": 490.0}, {"cx": 324.0}, {"distortion": lens}):
        assert not same_projection(k, dataclasses.replace(k, **change))
    half = Intrinsics(250.0, 250.0, 160.0, 120.0, 320, 240)
    assert not same_projection(k, half)
