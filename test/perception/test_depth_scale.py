# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The metric scale of a relative depth map from the people in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception.depth_scale import (
    MIN_PIXELS,
    ScaleFit,
    SteadyScale,
    fit_scale,
    person_masks,
    without_jumps,
)

SHAPE = (60, 80)
NONE = 65535


def scene(depths: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True depth, depth of people only, and instances: people side by side before a wall."""
    truth = np.full(SHAPE, 9.0)
    instances = np.full(SHAPE, NONE, np.uint16)
    for index, depth in enumerate(depths):
        part = (slice(10, 50), slice(4 + 18 * index, 16 + 18 * index))
        truth[part] = depth + np.linspace(0, 0.3, 40)[:, None]
        instances[part] = index
    return truth, np.where(instances < NONE, truth, np.nan), instances


depths = st.lists(st.floats(1, 8), min_size=1, max_size=4)
scales = st.floats(0.05, 20)


@given(depths, scales, st.integers(0, 99))
def test_the_scale_of_a_distorted_depth_map_is_recovered(
    people: list[float], scale: float, seed: int
) -> None:
    """Known distortions: another unit, noise of 3 %, a fifth of all pixels anything at all."""
    rng = np.random.default_rng(seed)
    truth, metric, instances = scene(people)
    relative = truth / scale * np.exp(0.03 * rng.normal(size=SHAPE))
    wrong = rng.random(SHAPE) < 0.2
    relative[wrong] = rng.uniform(-1, 30, wrong.sum())
    relative[rng.random(SHAPE) < 0.05] = np.nan
    fit = fit_scale(relative, metric, instances, len(people))
    assert fit.problem == "" and fit.people == len(people)
    assert fit.scale == pytest.approx(scale, rel=0.02)


@given(scales)
def test_a_person_whose_distance_is_wrong_does_not_decide(scale: float) -> None:
    truth, metric, instances = scene([2.0, 3.0, 5.0])
    metric[instances == 1] *= 2
    fit = fit_scale(truth / scale, metric, instances, 3)
    assert fit.people == 2 and fit.scale == pytest.approx(scale, rel=1e-6)


def test_outlines_do_not_count() -> None:
    truth, metric, instances = scene([2.0])
    outline = np.zeros(SHAPE, bool)
    outline[10:50, [4, 15]] = outline[[10, 49], 4:16] = True
    fit = fit_scale(np.where(outline, 9.0, truth), metric, instances, 1)
    assert fit.pixels == 38 * 10 and fit.scale == pytest.approx(1)


@given(st.integers(0, 10**6))
def test_noise_is_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, metric, instances = scene([2.0, 4.0])
    fit = fit_scale(rng.lognormal(0, 1.5, SHAPE), metric, instances, 2)
    assert np.isnan(fit.scale) and "no person has" in fit.problem


@pytest.mark.parametrize(
    ("people", "problem"),
    [([], "no person in the image"), ([2.0], "no person has 40 pixels")],
)
def test_too_few_pixels_are_refused(people: list[float], problem: str) -> None:
    truth, metric, instances = scene(people)
    keep = np.zeros(SHAPE, bool)
    keep[20 : 20 + MIN_PIXELS // 10, 5:15] = True  # its outline does not count
    keep &= instances < NONE
    keep[20, 5] = False
    fit = fit_scale(np.where(keep, truth, np.nan), metric, instances, len(people))
    assert np.isnan(fit.scale) and problem in fit.problem


def test_people_who_disagree_are_refused() -> None:
    truth, metric, instances = scene([2.0, 4.0])
    metric[instances == 1] *= 3
    fit = fit_scale(truth, metric, instances, 2)
    assert np.isnan(fit.scale) and "the 2 people of the image disagree" in fit.problem


def fit(scale: float) -> ScaleFit:
    return ScaleFit(scale, 1, 100, "" if np.isfinite(scale) else "none")


def test_the_scale_is_steady_over_time() -> None:
    rng, steady = np.random.default_rng(0), SteadyScale()
    used = [steady.update(fit(2 * np.exp(0.1 * rng.normal())), i * 10**8) for i in range(60)]
    steps = np.abs(np.diff(np.log(used[20:])))
    assert steps.mean() < 0.02 and used[-1] == pytest.approx(2, rel=0.05)


def test_a_single_outlier_is_ignored_and_another_unit_is_followed() -> None:
    steady = SteadyScale()
    for i in range(10):
        steady.update(fit(2), i)
    assert steady.update(fit(6), 10) == pytest.approx(2)
    assert steady.update(fit(2), 11) == pytest.approx(2)
    assert steady.update(fit(6), 12) == pytest.approx(2)
    assert steady.update(fit(6.1), 13) == pytest.approx(6, rel=0.02)


def test_without_people_the_scale_is_kept_for_five_seconds() -> None:
    steady = SteadyScale()
    assert np.isnan(steady.update(fit(np.nan), 0)) and steady.problem == "none"
    steady.update(fit(2), 10**9)
    assert steady.update(fit(np.nan), 5 * 10**9) == pytest.approx(2)
    assert np.isnan(steady.update(fit(np.nan), 7 * 10**9))
    steady.update(fit(2), 8 * 10**9)
    steady.reset()
    assert np.isnan(steady.update(fit(np.nan), 8 * 10**9))


def floor(height_m: float = 1.0, focal: float = 60.0) -> np.ndarray:
    """Depth of a floor below a camera, to 60 times its height."""
    rows = np.arange(SHAPE[0])[:, None] + 1.0
    depth: np.ndarray = np.ones(SHAPE, np.float32) * (height_m * focal / rows)
    return depth.astype(np.float32)


def test_a_steep_floor_has_no_jumps() -> None:
    assert np.isfinite(without_jumps(floor(), 0.05)).all()


@pytest.mark.parametrize("blur", [1, 2, 3])
def test_points_between_a_person_and_the_wall_are_left_out(blur: int) -> None:
    depth = np.full(SHAPE, 6.0, np.float32)
    depth[:, 30:50] = 2.0
    for i in range(1, blur):  # the network's blurred outline
        depth[:, 30 - i] = depth[:, 49 + i] = 2 + 4 * i / blur
    cleaned = without_jumps(depth, 0.05)
    between = (depth > 2.01) & (depth < 5.99)
    assert np.isnan(cleaned[between]).all()
    assert np.isfinite(cleaned[:, 34:46]).all() and np.isfinite(cleaned[:, :24]).all()
    np.testing.assert_array_equal(cleaned[:, 34:46], 2)


def test_unknown_and_tiny_depth_maps_have_no_jumps_of_their_own() -> None:
    depth = floor()
    depth[20:30, 20:30] = np.nan
    cleaned = without_jumps(depth, 0.05)
    np.testing.assert_array_equal(np.isnan(cleaned), np.isnan(depth))
    assert without_jumps(np.ones((1, 1), np.float32), 0.05).tolist() == [[1]]


def test_the_scenes_mask_is_cut_by_the_people_who_are_there() -> None:
    mask = np.zeros((10, 20), np.float32)
    mask[2:8, 2:18] = 0.9
    instances = np.full((10, 20), NONE, np.uint16)
    instances[3:7, 3:9], instances[3:7, 11:17] = 0, 1
    boxes = np.array([[2, 2, 10, 8], [10, 2, 18, 8]], float)
    cut = person_masks(mask, instances, boxes, threshold=0.5, background=NONE)
    assert (cut[2:8, 2:10] == 0).all() and (cut[2:8, 10:18] == 1).all()
    assert (cut[mask == 0] == NONE).all()
    overlapping = np.array([[2, 2, 18, 8], [2, 2, 18, 8]], float)
    cut = person_masks(mask, instances, overlapping, threshold=0.5, background=NONE)
    np.testing.assert_array_equal(cut, instances)  # the boxes do not say who it is
    empty = person_masks(mask, instances, np.zeros((0, 4)), threshold=0.5, background=NONE)
    np.testing.assert_array_equal(empty, instances)
