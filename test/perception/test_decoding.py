# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import math

import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import Person, box_of, perfect_outputs, pixels_of, view_rotation
from hypothesis import given
from hypothesis import strategies as st
from perfect_detection import CONFIG, SIZE, K, crop_of, perfect_detection

from thfm_ros.contract import PixelMap
from thfm_ros.geometry import crop_view, to_network
from thfm_ros.perception.decoding import (
    ExpectedPerson,
    decode_person,
    mean_keypoint_confidence,
    sigmoid,
)
from thfm_ros.perception.keypoints import decode_heatmaps
from thfm_ros.skeleton import Joint

people_in_view = st.builds(
    lambda x, y, z: Person(x * z, y * z, z),
    st.floats(-0.35, 0.35),
    st.floats(-0.1, 0.1),
    st.floats(3, 8),
)


def test_a_peak_between_cells_is_decoded_with_subcell_precision() -> None:
    y, x = np.mgrid[:32, :32] + 0.5
    for position in ((10.5, 7.5), (11.0, 20.3), (16.25, 3.9)):
        squared = (x - position[0]) ** 2 + (y - position[1]) ** 2
        found = decode_heatmaps((-squared / (2 * 0.7**2)).astype(np.float32)[None])
        np.testing.assert_allclose(found.positions[0], position, atol=0.02)
        assert found.mass[0] > 0.98
        assert found.sigma[0] == pytest.approx(0.7, rel=0.05)


def test_of_two_peaks_the_higher_one_is_the_joint_and_the_other_one_increases_sigma() -> None:
    heat = np.full((1, 32, 32), -20, np.float32)
    heat[0, 5, 6], heat[0, 25, 26] = 1.0, 0.5
    found = decode_heatmaps(heat)
    # the mean over the whole map would be near (15, 14), on neither peak
    np.testing.assert_allclose(found.positions[0], [6.5, 5.5], atol=1e-3)
    assert found.mass[0] == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.01)
    assert found.sigma[0] > 8


def test_the_windowed_mean_equals_a_direct_computation() -> None:
    heat = np.random.default_rng(3).normal(0, 3, (35, 32, 32)).astype(np.float32)
    found = decode_heatmaps(heat)
    for joint in range(35):
        probability = np.exp(heat[joint].astype(float))
        probability /= probability.sum()
        row, column = np.unravel_index(probability.argmax(), probability.shape)
        x = y = mass = 0.0
        for r in range(max(row - 2, 0), min(row + 3, 32)):
            for c in range(max(column - 2, 0), min(column + 3, 32)):
                mass += probability[r, c]
                x += probability[r, c] * (c + 0.5)
                y += probability[r, c] * (r + 0.5)
        np.testing.assert_allclose(found.positions[joint], [x / mass, y / mass], rtol=1e-4)
        assert found.mass[joint] == pytest.approx(mass, rel=1e-4)


@given(people_in_view)
def test_ground_truth_joints_are_recovered_in_pixels_and_metres(person: Person) -> None:
    body = perfect_detection(person).body
    joints = person.joints_m()
    uv = pixels_of(joints, K)
    inside = (uv > 0).all(1) & (uv < SIZE).all(1)
    side = crop_of(person).scale * 128
    np.testing.assert_allclose(body.keypoints[inside, :2], uv[inside], atol=0.004 * side)
    assert (body.keypoints[inside, 2] > 0.9).all()
    np.testing.assert_allclose(body.positions_m[inside], joints[inside], atol=0.01 * person.z)
    np.testing.assert_allclose(body.root_m, person.root_m, atol=0.01 * person.z)
    assert body.score > 0.99


@given(people_in_view)
def test_the_box_is_that_of_the_mask(person: Person) -> None:
    box = np.clip(box_of(person, K), 0, [*SIZE, *SIZE])
    cell = 2 * crop_of(person).scale
    np.testing.assert_allclose(perfect_detection(person).body.box, box, atol=1.1 * cell)


def test_without_dense_outputs_the_box_comes_from_the_keypoints() -> None:
    person = Person(0.2, 0, 4)
    box = box_of(person, K)
    found = perfect_detection(person, dense=False)
    assert found.dense is None and found.target is None
    np.testing.assert_allclose(found.body.box, box, atol=0.04 * (box[3] - box[1]))


def test_without_calibration_metric_values_are_nan_and_pixels_are_unchanged() -> None:
    with_k, without = (
        perfect_detection(Person(0.2, 0, 4)).body,
        perfect_detection(Person(0.2, 0, 4), calibrated=False).body,
    )
    np.testing.assert_array_equal(with_k.keypoints, without.keypoints)
    np.testing.assert_array_equal(with_k.box, without.box)
    for name in ("positions_m", "covariances_m2", "root_m", "root_covariance_m2"):
        assert np.isfinite(getattr(with_k, name)).all()
        assert np.isnan(getattr(without, name)).all()


def test_joints_outside_the_crop_are_unknown() -> None:
    person = Person(0, 0, 3)
    x0, y0, x1, y1 = box_of(person, K)
    centre_only = PixelMap(1.0, round((x0 + x1) / 2) - 64, round((y0 + y1) / 2) - 64, 128, 128)
    body_map = crop_of(person)
    raw = perfect_outputs(body_map, K, [person])
    raw = raw._replace(body=perfect_outputs(centre_only, K, [person]).body)
    found = decode_person(raw, body_map, SIZE, K, ExpectedPerson(box_of(person, K)), CONFIG)
    assert found is not None
    outside = raw.body.visibility[:, 0] < 0
    assert 0 < outside.sum() < 35
    assert np.isnan(found.body.keypoints[outside, :2]).all()
    assert (found.body.keypoints[outside, 2] == 0).all()
    assert np.isnan(found.body.positions_m[outside]).all()
    assert np.isnan(found.body.covariances_m2[outside]).all()
    assert np.isfinite(found.body.keypoints[~outside]).all()


def test_occluded_joints_have_a_position_and_a_low_confidence() -> None:
    person = Person(0, 0, 3)
    raw = perfect_outputs(crop_of(person), K, [person])
    visibility = raw.body.visibility.copy()
    visibility[9, 1] = -8
    occluded = raw._replace(body=raw.body._replace(visibility=visibility))
    found = decode_person(
        occluded, crop_of(person), SIZE, K, ExpectedPerson(box_of(person, K)), CONFIG
    )
    assert found is not None and np.isfinite(found.body.keypoints[9]).all()
    assert found.body.keypoints[9, 2] < 0.1 < found.body.keypoints[8, 2]


def test_a_wide_heatmap_lowers_confidence_and_widens_the_covariance() -> None:
    person = Person(0, 0, 3)
    raw = perfect_outputs(crop_of(person), K, [person])
    heat = raw.body.heatmaps.copy()
    heat[9] *= 0.05  # 4.5 times as wide
    wide = raw._replace(body=raw.body._replace(heatmaps=heat))
    sharp = perfect_detection(person).body
    found = decode_person(wide, crop_of(person), SIZE, K, ExpectedPerson(box_of(person, K)), CONFIG)
    assert found is not None
    assert found.body.covariances_m2[9, 0] > 5 * sharp.covariances_m2[9, 0]
    assert found.body.keypoints[9, 2] < sharp.keypoints[9, 2]
    # along the ray the variance is at least the configured one
    assert (sharp.covariances_m2[:, 5] >= 0.8 * CONFIG.joint_depth_sigma_m**2).all()


def test_a_crop_without_a_person_yields_no_detection() -> None:
    person = Person(0, 0, 3)
    assert (
        decode_person(
            perfect_outputs(crop_of(person), K, []),
            crop_of(person),
            SIZE,
            K,
            ExpectedPerson(box_of(person, K)),
            CONFIG,
        )
        is None
    )


@pytest.mark.parametrize("dense", [True, False])
def test_a_box_that_cannot_be_the_expected_person_is_no_detection(dense: bool) -> None:
    person = Person(0, 0, 3)
    region, box = crop_of(person), box_of(person, K)
    raw = perfect_outputs(region, K, [person], dense)
    height = box[3] - box[1]
    larger = np.array([box[0], box[1] - height, box[2], box[3] + height])
    moved = box + np.array([0.7 * height, 0, 0.7 * height, 0])
    for expected, found in ((box, True), (larger, False), (moved, False)):
        detection = decode_person(raw, region, SIZE, K, ExpectedPerson(expected), CONFIG)
        assert (detection is not None) == found


def test_few_target_cells_are_no_detection() -> None:
    person = Person(0, 0, 3)
    region = crop_of(person)
    raw = perfect_outputs(region, K, [person])
    assert raw.dense is not None
    for cells, found in ((3, False), (400, True)):
        target = np.full_like(raw.dense.target, -8)
        rows, columns = (
            axis[:: max(len(axis) // cells, 1)] for axis in np.nonzero(raw.dense.mask > 0)
        )
        target[rows[:cells], columns[:cells]] = 8
        few = raw._replace(dense=raw.dense._replace(target=target))
        expected = ExpectedPerson(box_of(person, K))
        assert (decode_person(few, region, SIZE, K, expected, CONFIG) is not None) == found


def box_of_cells(target: np.ndarray) -> np.ndarray:
    """The box in cells of a detection whose target logits are ``target``."""
    person = Person(0, 0, 3)
    region, expected = crop_of(person), ExpectedPerson(box_of(person, K))
    raw = perfect_outputs(region, K, [person])
    assert raw.dense is not None
    shown = raw._replace(dense=raw.dense._replace(target=target.astype(np.float32)))
    found = decode_person(shown, region, SIZE, K, expected, CONFIG)
    assert found is not None
    return to_network(found.body.box.reshape(2, 2), region).reshape(4) / 2


def test_the_box_contains_narrow_ends_and_doubtful_cells() -> None:
    target = np.full((64, 64), -8.0)
    target[14:60, 20:40] = 8  # a trunk of 920 cells
    target[12:14, 28:32] = 8  # a narrow head, less than one percent of the cells
    target[20:58, 40:43] = -0.6  # an arm with a probability of 0.35
    np.testing.assert_allclose(box_of_cells(target), [20, 12, 43, 60], atol=1e-3)


def test_doubtful_cells_of_a_neighbour_do_not_widen_the_box() -> None:
    target = np.full((64, 64), -8.0)
    target[14:60, 20:40] = 8
    target[14:60, 46:60] = -0.6  # a neighbour, with a probability of 0.35
    np.testing.assert_allclose(box_of_cells(target), [20, 14, 40, 60], atol=1e-3)
    target[14:60, 40:46] = -0.6  # who touches the person
    np.testing.assert_allclose(box_of_cells(target), [20, 14, 43, 60], atol=1e-3)


def test_scattered_cells_do_not_widen_the_box() -> None:
    target = np.full((64, 64), -8.0)
    target[14:60, 20:40] = 8
    target[[8, 62], [30, 50]] = 8
    np.testing.assert_allclose(box_of_cells(target), [20, 14, 40, 60], atol=1e-3)


@pytest.mark.parametrize("direction", [(0.0, 0.0), (0.6, 0.0), (-0.5, 0.3)])
def test_the_focal_length_of_a_view_includes_the_stretch_at_its_centre(
    direction: tuple[float, float],
) -> None:
    centre = np.array([K.cx + direction[0] * K.fx, K.cy + direction[1] * K.fy])
    region = PixelMap(1.0, centre[0] - 64, centre[1] - 64, 128, 128)
    view = crop_view(region, K)
    rotation, _ = view_rotation(region, K)
    np.testing.assert_allclose(view.rotation, rotation, atol=1e-9)
    # the image of a square millimetre across the view, 3 m away
    middle = 3.0 * view.rotation[:, 2]
    ends = [middle + 1e-3 * view.rotation[:, axis] for axis in (0, 1)]
    spans = pixels_of(np.array(ends), K) - pixels_of(middle[None], K)
    area_px = abs(np.linalg.det(spans))
    assert view.focal_px == pytest.approx(math.sqrt(area_px) / 1e-3 * 3.0, rel=1e-3)


@given(st.floats(-500, 500))
def test_the_sigmoid_neither_overflows_nor_leaves_its_range(logit: float) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value = float(sigmoid(np.array([logit], np.float32))[0])
    assert 0 <= value <= 1
    if abs(logit) < 30:
        assert value == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)


def test_ambiguous_heatmaps_lower_the_mean_keypoint_confidence() -> None:
    visibility = np.ones(len(Joint))
    assert mean_keypoint_confidence(visibility, np.full(len(Joint), 0.9)) == pytest.approx(0.9)
    assert mean_keypoint_confidence(visibility, np.full(len(Joint), 0.2)) == pytest.approx(0.2)


def test_invisible_joints_do_not_change_the_mean_keypoint_confidence() -> None:
    """The legs of a person at a desk are occluded, and their heatmaps are ambiguous."""
    mass = np.full(len(Joint), 0.8)
    visibility = np.ones(len(Joint))
    legs = [j for j in Joint if any(w in j.name for w in ("HIP", "KNEE", "ANKLE", "TOE", "HEEL"))]
    visibility[legs], mass[legs] = 0.0, 0.05
    assert mean_keypoint_confidence(visibility, mass) == pytest.approx(0.8)
    assert mean_keypoint_confidence(np.zeros(len(Joint)), mass) == 0.0
