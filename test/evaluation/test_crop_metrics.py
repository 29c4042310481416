# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Metrics of crops and clips on painted people."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from painted_store import write_data

from thfm_ros.evaluation import crop_metrics
from thfm_ros.evaluation.report_tables import clip_table, crop_tables
from thfm_ros.evaluation.temporal_stability import ClipKeypoints, clip_scores, jitter, run_clips
from thfm_ros.metrics.crops import CropLabels, CropPredictions, crop_scores
from thfm_ros.model.network import NanoNetwork
from thfm_ros.skeleton import Joint
from thfm_ros.training.batches import held_out
from thfm_ros.training.collate import CropBatch
from thfm_ros.training.validation import labels_of, predict


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def batches(data: Path) -> list[CropBatch]:
    return held_out(data, 64, 4)


@pytest.fixture(scope="module")
def truth(batches: list[CropBatch]) -> CropLabels:
    return labels_of(batches)


def perfect(truth: CropLabels) -> CropPredictions:
    """What a perfect network predicts."""
    return CropPredictions(
        mask=truth.instances > 0,
        parts=truth.parts,
        relative_depth_m=truth.relative_depth_m,
        normals=truth.normals,
        dense_pose=truth.dense_pose,
        keypoints=truth.keypoints,
        positions_m=truth.positions_m,
        log_width=truth.log_width,
    )


def test_every_metric_is_in_the_tables(batches: list[CropBatch], truth: CropLabels) -> None:
    predicted = predict(NanoNetwork(), batches)
    scores = crop_scores(predicted, truth)
    text = crop_tables(
        scores,
        crop_metrics.scores_by_size(predicted, truth),
        crop_metrics.scores_by_body_orientation(predicted, truth),
    )
    assert f"| mask IoU | {scores.mask_iou.value:.3f} |" in text
    for name in ("wrists", "ankles"):
        assert f"| {name} | {scores.joint_groups[name].pck10.value:.3f} (" in text
    assert "| upside down | 0 | - |" in text


def test_perfect_predictions_have_perfect_scores(truth: CropLabels) -> None:
    scores = crop_scores(perfect(truth), truth)
    dense_pose = scores.dense_pose
    one = (scores.mask_iou, scores.part_miou, scores.pck10, dense_pose.close)
    assert [each.value for each in (*one, dense_pose.part_accuracy)] == pytest.approx([1.0] * 5)
    assert scores.swapped_people.value == 0
    feet = scores.joint_groups["feet"].mpjpe_mm
    zero = (scores.pa_mpjpe_mm, feet, scores.relative_depth_cm, dense_pose.along)
    for each in (*zero, scores.log_width_error):
        assert each.value == pytest.approx(0.0, abs=1e-3)


def test_the_box_baseline_of_a_painted_rectangle_is_nearly_perfect(truth: CropLabels) -> None:
    scores = crop_scores(perfect(truth), truth)
    # Of 20 x 45 cells only a corner with one painted pixel in four may be background.
    assert 1 - 4 / (20 * 45) <= scores.mask_iou.baseline <= 1
    assert scores.part_miou.baseline == 0.0  # the painted parts are arms


def test_dense_pose_a_quarter_turn_off_has_an_error_of_90_degrees(truth: CropLabels) -> None:
    # Painted at (cos, sin) = (0, 1): now at (1, 0).
    turned = perfect(truth)._replace(dense_pose=truth.dense_pose[..., [1, 0, 2]])
    scores = crop_scores(turned, truth).dense_pose
    assert scores.angle_deg.value == pytest.approx(90.0, abs=0.1)
    assert scores.close.value == 0.0


def test_dense_pose_on_the_wrong_part_is_not_close(truth: CropLabels) -> None:
    parts = np.where(truth.parts > 0, truth.parts % 16 + 1, 0).astype(np.uint8)
    scores = crop_scores(perfect(truth)._replace(parts=parts), truth)
    assert scores.dense_pose.close.value == 0.0


def test_people_are_grouped_by_their_longer_side(truth: CropLabels) -> None:
    # Painted 90 of 128 pixels tall: 0.70 of the crop.
    sizes = crop_metrics.target_sizes(truth.instances)
    np.testing.assert_allclose(sizes, 90 / 128, atol=0.04)
    groups = crop_metrics.scores_by_size(perfect(truth), truth)
    assert groups["under a half"].people == groups["over three quarters"].people == 0
    assert groups["under a half"].scores is None
    scores = groups["a half to three quarters"].scores
    assert scores is not None and scores.pck10.value == pytest.approx(1.0)


def test_people_are_grouped_by_the_orientation_of_their_trunk(truth: CropLabels) -> None:
    pose = np.zeros((4, len(Joint), 3))
    trunk = np.radians([5, 90, 90, 170])
    pose[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]] = np.stack(
        [np.sin(trunk), -np.cos(trunk), np.zeros(4)], 1
    )[:, None] * [[[0.5]], [[0.5]], [[-0.3]], [[0.5]]]
    angles = crop_metrics.trunk_angles(pose)
    np.testing.assert_allclose(angles, [5, 90, 90, 170], atol=1e-6)
    groups = crop_metrics.scores_by_body_orientation(perfect(truth), truth)
    assert list(groups) == list(crop_metrics.BODY_ORIENTATIONS)
    assert sum(group.people for group in groups.values()) == len(truth.instances)


def clip(move: float, noise: float, seed: int = 0) -> ClipKeypoints:
    """Keypoints in a box of 100 pixels that all move by ``move`` pixels per frame."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 100, (35, 2))
    keypoints[:2] = [[0, 0], [100, 100]]
    truth = keypoints + move * np.arange(4)[:, None, None]
    predicted = truth + 7 + rng.normal(0, noise, truth.shape)  # 7: a constant error
    truth_3d = np.concatenate([truth, truth[..., :1]], -1) / 1000
    positions = truth_3d + rng.normal(0, noise, truth_3d.shape)
    return ClipKeypoints(truth, truth_3d, np.ones((4, 35), bool), predicted, truth, positions)


def test_jitter_is_the_change_of_the_error_in_person_heights() -> None:
    steady, shaky = clip(0.1, 0.0), clip(0.1, 2.0)
    assert steady.stands_still() and not clip(3.0, 0.0).stands_still()
    assert jitter(steady.with_memory, steady) == pytest.approx(0, abs=1e-9)
    # Two axes of 2 pixels each, of 100.3 pixels.
    expected = 2 * np.sqrt(2) / shaky.height
    assert jitter(shaky.with_memory, shaky) == pytest.approx(expected, rel=0.15)


def test_a_keypoint_that_was_hidden_before_counts_in_the_last_frame() -> None:
    there = clip(0.1, 0.0)
    visible = np.ones((4, 35), bool)
    visible[0, :20] = False
    predicted = there.truth.copy()
    predicted[3, :20] += 50
    hidden_before = replace(there, visible=visible, with_memory=predicted)
    assert clip_scores([hidden_before]).pck10_last.value == pytest.approx(15 / 35)


def test_acceleration_errors_are_second_differences() -> None:
    scores = clip_scores([clip(0.1, 0.001)])
    # Of white noise of 1 mm per axis: sqrt(1 + 4 + 1) per axis, mean length of three of them.
    assert scores.acceleration_mm.value == pytest.approx(np.sqrt(6) * 1.596, rel=0.15)
    assert scores.acceleration_mm.baseline == pytest.approx(0, abs=1e-6)
    assert scores.still_clips == scores.clips == 1


def test_clips_run_with_and_without_memory(data: Path) -> None:
    clips = run_clips(NanoNetwork(), data / "val", 64, 2)
    assert [each.truth.shape for each in clips] == [(4, 35, 2)] * 2
    # The first frame has no memory yet: both ways of running it must agree on it.
    np.testing.assert_allclose(clips[0].with_memory[0], clips[0].single_frame[0], atol=1e-2)
    assert "| jitter of people who stand still" in clip_table(clip_scores(clips))
