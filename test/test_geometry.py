# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import math

import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.geometry import (
    intrinsics_from_fov,
    mask_bounds,
    pack_covariance,
    project,
    rays,
    resize_intrinsics,
    rotation_to_ray,
    solve_root,
    to_network,
    to_source,
    unproject,
)

cameras = st.builds(
    lambda focal, aspect, cx, cy, width, height: Intrinsics(
        focal * width, focal * width * aspect, cx * width, cy * height, width, height
    ),
    st.floats(0.4, 3),
    st.floats(0.8, 1.25),
    st.floats(0.3, 0.7),
    st.floats(0.3, 0.7),
    st.integers(16, 4000),
    st.integers(16, 4000),
)
pixel_maps = st.builds(
    PixelMap,
    st.floats(0.05, 40),
    st.floats(-3000, 3000),
    st.floats(-3000, 3000),
    st.sampled_from([128, 192]),
    st.sampled_from([128, 144]),
)


def a_skeleton(seed: int) -> np.ndarray:
    """35 joints, about the size of a person, [k 3]."""
    random = np.random.default_rng(seed)
    return random.normal(0, [0.25, 0.5, 0.2], (35, 3))


@given(cameras, st.integers(0, 1000))
def test_a_point_on_a_ray_projects_to_the_pixel_of_the_ray(k: Intrinsics, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, [k.width, k.height], (5, 2))
    points = rays(pixels, k) * random.uniform(0.3, 20, (5, 1))
    np.testing.assert_allclose(project(points, k), pixels, rtol=1e-9, atol=1e-7 * k.width)


def test_points_behind_the_camera_have_no_pixel() -> None:
    k = intrinsics_from_fov(640, 480, 60)
    assert np.isnan(project(np.array([[0.1, 0.1, -2.0], [0.0, 0.0, 0.0]]), k)).all()


@given(pixel_maps, st.integers(0, 1000))
def test_to_source_inverts_to_network(pixel_map: PixelMap, seed: int) -> None:
    pixels = np.random.default_rng(seed).uniform(-100, 4000, (7, 2))
    back = to_source(to_network(pixels, pixel_map), pixel_map)
    np.testing.assert_allclose(back, pixels, atol=1e-8 * 4000)


@given(cameras, st.integers(2, 3), st.integers(0, 1000))
def test_resized_intrinsics_project_to_scaled_pixels(k: Intrinsics, factor: int, seed: int) -> None:
    points = np.random.default_rng(seed).uniform([-1, -1, 1], [1, 1, 9], (6, 3))
    large = project(points, resize_intrinsics(k, k.width * factor, k.height * factor))
    np.testing.assert_allclose(large, project(points, k) * factor, rtol=1e-9, atol=1e-6)


@given(cameras)
def test_unprojected_pixels_project_to_their_centres(k: Intrinsics) -> None:
    k = resize_intrinsics(k, 40, 30)
    depth = np.full((k.height, k.width), 2.5, np.float32)
    depth[0, 0] = np.nan
    points = unproject(depth, k)
    assert np.isnan(points[0, 0]).all()
    back = project(points.astype(np.float64), k)[1:, 1:]
    x, y = np.meshgrid(np.arange(1, k.width) + 0.5, np.arange(1, k.height) + 0.5)
    np.testing.assert_allclose(back, np.stack([x, y], -1), atol=1e-3 * max(1, k.width / 100))


def test_the_field_of_view_spans_the_image() -> None:
    k = intrinsics_from_fov(640, 480, 90)
    left, right = rays(np.array([[0.0, 240], [640, 240]]), k)
    angle = math.degrees(math.atan2(right[0], 1) - math.atan2(left[0], 1))
    assert angle == pytest.approx(90)
    with pytest.raises(ValueError, match="degrees"):
        intrinsics_from_fov(640, 480, 180)


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_rotation_to_ray_is_the_smallest_rotation_of_the_axis_onto_the_ray(
    x: float, y: float
) -> None:
    ray = np.array([x, y, 1.0])
    rotation = rotation_to_ray(ray)
    np.testing.assert_allclose(rotation[:, 2], ray / np.linalg.norm(ray), atol=1e-12)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    # the smallest rotation has its axis in the image plane: no roll
    assert rotation[0, 1] == pytest.approx(rotation[1, 0])


@given(
    cameras,
    st.integers(0, 10_000),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(2, 10),
    st.floats(0.9, 1.1),
)
def test_the_root_of_exact_joints_does_not_depend_on_a_weak_prior(
    k: Intrinsics, seed: int, x: float, y: float, z: float, prior_error: float
) -> None:
    relative = a_skeleton(seed)
    root = np.array([x, y, z])
    keypoints = project(relative + root, k)
    found = solve_root(keypoints, relative, np.full(35, 0.01), k, z * prior_error, 100.0)
    np.testing.assert_allclose(found.position_m, root, atol=1e-4 * z)


def test_for_coinciding_joints_the_distance_is_that_of_the_prior() -> None:
    k = intrinsics_from_fov(640, 480, 60)
    keypoints = np.full((35, 2), [400.0, 200.0])
    found = solve_root(keypoints, np.zeros((35, 3)), np.ones(35), k, 3.0, 0.3)
    np.testing.assert_allclose(found.position_m[2], 3.0, atol=1e-6)
    np.testing.assert_allclose(project(found.position_m, k), [400, 200], atol=1e-6)
    assert math.sqrt(found.covariance_m2[2, 2]) == pytest.approx(0.3, rel=1e-3)


@given(st.integers(0, 500))
def test_one_outlier_joint_hardly_moves_the_root(seed: int) -> None:
    k = intrinsics_from_fov(640, 480, 60)
    relative, root = a_skeleton(seed), np.array([0.3, -0.1, 4.0])
    keypoints = project(relative + root, k)
    keypoints[seed % 35] += 150
    found = solve_root(keypoints, relative, np.full(35, 2.0), k, 4.0, 0.4)
    assert np.linalg.norm(found.position_m[:2] - root[:2]) < 0.02
    assert abs(found.position_m[2] - root[2]) < 0.15
    exact = solve_root(project(relative + root, k), relative, np.full(35, 2.0), k, 4.0, 0.4)
    assert np.trace(found.covariance_m2) > np.trace(exact.covariance_m2)


@given(st.integers(0, 500))
def test_unknown_joints_are_ignored(seed: int) -> None:
    k = intrinsics_from_fov(640, 480, 60)
    relative, root = a_skeleton(seed), np.array([0.3, -0.1, 4.0])
    keypoints = project(relative + root, k)
    sigma = np.full(35, 1.0)
    some = keypoints.copy()
    some[10:] = np.nan
    infinite = sigma.copy()
    infinite[10:] = np.inf
    one = solve_root(some, relative, sigma, k, 4.0, 1.0)
    two = solve_root(keypoints, relative, infinite, k, 4.0, 1.0)
    np.testing.assert_allclose(one.position_m, two.position_m)
    np.testing.assert_allclose(one.position_m, root, atol=1e-3)


def test_without_any_joint_or_prior_the_root_is_unknown() -> None:
    k = intrinsics_from_fov(640, 480, 60)
    unknown = np.full((35, 2), np.nan)
    for keypoints, prior in ((unknown, 3.0), (np.zeros((35, 2)), float("nan"))):
        found = solve_root(keypoints, np.zeros((35, 3)), np.ones(35), k, prior, 0.3)
        assert np.isnan(found.position_m).all() and np.isnan(found.covariance_m2).all()


@pytest.mark.parametrize(("seed", "sigma_px"), [(0, 0.5), (1, 3.0), (2, 8.0)])
def test_the_covariance_equals_the_scatter_under_repeated_noise(seed: int, sigma_px: float) -> None:
    k = intrinsics_from_fov(640, 480, 60)
    random = np.random.default_rng(seed)
    relative, root = a_skeleton(seed), np.array([0.2, 0.1, 4.0])
    exact = project(relative + root, k)
    found = [
        solve_root(
            exact + random.normal(0, sigma_px, exact.shape),
            relative,
            np.full(35, sigma_px),
            k,
            4.0,
            10.0,
        )
        for _ in range(200)
    ]
    scatter = np.std([each.position_m for each in found], axis=0)
    predicted = np.sqrt(np.mean([np.diag(each.covariance_m2) for each in found], axis=0))
    np.testing.assert_allclose(scatter, predicted, rtol=0.35)


def test_packed_covariances_are_the_upper_triangle_in_row_order() -> None:
    matrix = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]])
    assert pack_covariance(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert pack_covariance(np.stack([matrix, matrix])).shape == (2, 6)


def test_the_bounds_of_a_mask_exclude_its_last_row_and_column() -> None:
    mask = np.zeros((5, 8), bool)
    assert mask_bounds(mask) is None
    mask[1, 6] = mask[3, 2] = True
    assert mask_bounds(mask) == (2, 1, 7, 4)
