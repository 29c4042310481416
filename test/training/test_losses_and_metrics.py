# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Losses vanish on the truth, metrics on perfect predictions, and both grow with the error."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_store import write_data
from scipy.spatial.transform import Rotation

from thfm_ros.metrics import pose as metrics
from thfm_ros.model.heads import find_peaks
from thfm_ros.model.network import NetworkOutputs
from thfm_ros.skeleton import FLIP_PAIRS, Joint
from thfm_ros.training.batches import held_out
from thfm_ros.training.collate import CropBatch
from thfm_ros.training.losses import (
    GRADIENT_STRIDES,
    aligned_errors,
    crop_losses,
    depth_gradient_loss,
    dice_loss,
    left_right_loss,
    temporal_consistency_loss,
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> CropBatch:
    return held_out(write_data(tmp_path_factory.mktemp("data")), 64, 4)[0]


def test_the_mean_shape_of_one_body_seen_from_everywhere_is_that_body() -> None:
    rng = np.random.default_rng(4)
    body = rng.normal(size=(20, 3))
    rotated = [Rotation.random(random_state=i).apply(body) * (1 + i / 10) + i for i in range(12)]
    shape = metrics.mean_shape(np.array(rotated))
    assert max(metrics.procrustes(shape, each).max() for each in rotated) < 1e-6
    plain_mean = np.mean([each - each.mean(0) for each in rotated], axis=0)
    assert metrics.procrustes(plain_mean, body).mean() > 0.3


def perfect(batch: CropBatch) -> NetworkOutputs:
    """Outputs of a network without any error; the target's mask included."""
    frames, _ = batch.visibility.shape
    person = (batch.instances > 0).float()
    parts = torch.nn.functional.one_hot(batch.parts.long(), 17).permute(0, 3, 1, 2) * 40.0
    dense = torch.cat(
        [
            (person * 80 - 40)[:, None],
            parts,
            batch.relative_depth[:, None],
            batch.normals.permute(0, 3, 1, 2),
            batch.dense_pose.permute(0, 3, 1, 2),
            batch.votes.permute(0, 3, 1, 2),
            ((batch.instances == 1).float() * 80 - 40)[:, None],
        ],
        dim=1,
    )
    cell = (torch.arange(16) + 0.5) / 16
    right = (cell[None, :] - batch.peaks[..., 0, None, None]) * 16
    down = (cell[:, None] - batch.peaks[..., 1, None, None]) * 16
    seen = torch.stack([batch.visibility > 0, batch.visibility == 2], -1).float() * 80 - 40
    return NetworkOutputs(
        heatmaps=-0.5 * (right**2 + down**2),
        peaks=batch.peaks,
        positions=batch.positions,
        visibility=seen,
        log_width=batch.log_width,
        presence=torch.full((frames,), 40.0),
        dense=dense,
    )


@given(side=st.integers(4, 60))
def test_dice_loss_of_half_a_person_does_not_depend_on_the_size(side: int) -> None:
    person = torch.zeros(1, 64, 64, dtype=torch.bool)
    person[0, :side, : 2 * (side // 2)] = True
    logits = torch.where(person, 40.0, -40.0)
    assert dice_loss(logits, person) == pytest.approx(0, abs=1e-5)
    logits[0, :, side // 2 :] = -40.0  # 2 * 1/2 over 1/2 + 1
    assert dice_loss(logits, person) == pytest.approx(1 / 3, abs=0.05)


def test_dice_loss_of_a_false_positive_is_one() -> None:
    empty = torch.zeros(1, 64, 64, dtype=torch.bool)
    assert dice_loss(torch.full((1, 64, 64), -40.0), empty) == pytest.approx(0, abs=1e-5)
    assert dice_loss(torch.full((1, 64, 64), 40.0), empty) > 0.99


def test_the_truth_costs_nothing_but_the_width_of_the_heatmap(batch: CropBatch) -> None:
    losses = crop_losses(perfect(batch), batch)
    entropy = losses.pop("heatmap")
    assert "target_mask" in losses
    assert max(value.item() for value in losses.values()) < 0.02
    assert entropy.item() == pytest.approx(np.log(2 * np.pi * np.e), abs=0.1)  # of the Gaussian


@pytest.mark.parametrize("field", ["positions", "log_width", "peaks", "visibility", "heatmaps"])
def test_each_loss_sees_its_own_error(batch: CropBatch, field: str) -> None:
    good = perfect(batch)
    name = {"heatmaps": "heatmap"}.get(field, field)
    before = crop_losses(good, batch)[name].item()
    value = getattr(good, field)
    changed = {
        "log_width": value + 0.3,
        "visibility": -value,
    }.get(field)
    worse = good._replace(**{field: value.roll(1, 1) if changed is None else changed})
    assert crop_losses(worse, batch)[name].item() > before + 1e-3


def test_the_mask_of_the_target_is_not_asked_of_frames_without_one(batch: CropBatch) -> None:
    frames = replace(batch, presence=torch.full_like(batch.presence, float("nan")))
    assert "target_mask" not in crop_losses(perfect(batch), frames)


def test_a_mask_of_the_wrong_person_costs(batch: CropBatch) -> None:
    good = perfect(batch)
    others = replace(batch, instances=torch.where(batch.instances == 1, 2, batch.instances))
    losses = crop_losses(good, others)
    assert losses["target_mask"].item() > 1 and losses["mask"].item() < 0.02


def test_peaks_of_a_two_peaked_heatmap_lie_on_one_peak_not_between() -> None:
    heat = torch.full((1, 1, 16, 16), -30.0)
    heat[0, 0, 4, 2], heat[0, 0, 4, 13] = 5.0, 4.9
    x, y = find_peaks(heat).peaks[0, 0].tolist()
    assert x == pytest.approx(2.5 / 16, abs=1e-3)
    assert y == pytest.approx(4.5 / 16, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.2, 5))
def test_procrustes_undoes_any_similarity(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 1, (35, 3))
    rotated = scale * pose @ Rotation.random(random_state=seed).as_matrix() + rng.normal(0, 3, 3)
    assert metrics.procrustes(rotated, pose).max() < 1e-6


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_aligned_errors_are_those_of_the_procrustes_metric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.normal(0, 0.4, (2, 5, 35, 3))
    errors = aligned_errors(torch.from_numpy(predicted), torch.from_numpy(truth)).norm(dim=-1)
    plain = [metrics.procrustes(p, t) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(errors.numpy(), plain, atol=1e-5)


def test_aligned_errors_of_a_diverged_network_are_nan_without_an_exception() -> None:
    pose = torch.randn(2, 35, 3)
    broken = pose.clone()
    broken[0, 3] = float("nan")
    errors = aligned_errors(broken, pose).norm(dim=-1).mean(1)
    assert errors[0].isnan() and errors[1] < 1e-5


def test_depth_gradients_are_compared_within_one_person_only() -> None:
    truth = torch.zeros(1, 24, 24)
    known = torch.ones(1, 24, 24, dtype=torch.bool)
    people = torch.ones(1, 24, 24, dtype=torch.uint8)
    people[:, :, 12:] = 2
    offsets = torch.where(people == 1, 0.3, -0.2)
    assert depth_gradient_loss(offsets, truth, people, known).item() == 0
    across = depth_gradient_loss(offsets, truth, torch.ones_like(people), known)
    columns = [0.5 * stride / (24 - stride) for stride in GRADIENT_STRIDES]
    assert across.item() == pytest.approx(sum(columns) / (2 * len(GRADIENT_STRIDES)), rel=1e-5)
    assert depth_gradient_loss(offsets, truth, people, torch.zeros_like(known)).item() == 0


def test_procrustes_does_not_undo_a_mirror() -> None:
    pose = np.random.default_rng(0).normal(0, 1, (35, 3))
    assert metrics.procrustes(pose * [-1, 1, 1], pose).mean() > 0.1


def test_iou_and_part_iou_of_known_overlaps() -> None:
    a, b = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    a[0, :2], b[0, 1:3] = True, True
    assert metrics.iou(a, b)[0] == pytest.approx(1 / 3)
    assert np.isnan(metrics.iou(a & ~a, b & ~b)[0])
    parts = metrics.part_iou(a.astype(np.uint8), b.astype(np.uint8), 3)
    assert parts[0] == pytest.approx(1 / 3) and np.isnan(parts[1])


def test_pck_counts_labelled_joints_only() -> None:
    truth = np.zeros((1, 35, 2))
    truth[0, :5] = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5]])
    labelled = np.zeros((1, 35), bool)
    labelled[0, :5] = True
    moved = truth.copy()
    moved[0, 0, 0] += 0.2
    moved[0, 20] += 9  # not labelled
    errors = metrics.normalised_errors(moved, truth, labelled)
    assert metrics.pck(errors, 0.1) == pytest.approx(4 / 5)


def test_the_angle_between_vectors_does_not_depend_on_their_length() -> None:
    a, b = np.array([[1.0, 0, 0]]), np.array([[0.0, 7, 0]])
    assert metrics.angles_deg(a, b)[0] == pytest.approx(90)
    assert metrics.angles_deg(a * 5, a)[0] == pytest.approx(0, abs=1e-4)


def two_frames(first: tuple[int, int], second: tuple[int, int]) -> torch.Tensor:
    """Heatmaps [2 frames, 1 joint, 8, 8], each with one very likely cell."""
    heat = torch.zeros(2, 1, 8, 8)
    for frame, (row, column) in enumerate((first, second)):
        heat[frame, 0, row, column] = 20.0
    return heat


def two_ankles(left: tuple[int, int], right: tuple[int, int]) -> torch.Tensor:
    """Heatmaps of 8 x 8 cells with one likely cell for each ankle, uniform for other joints."""
    heat = torch.zeros(1, len(Joint), 8, 8)
    heat[0, Joint.LEFT_ANKLE, left[0], left[1]] = 6.0
    heat[0, Joint.RIGHT_ANKLE, right[0], right[1]] = 6.0
    return heat


def ankles_at(left: tuple[int, int], right: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints and weights of a person of whom only the ankles are labelled."""
    peaks, weight = torch.zeros(1, len(Joint), 2), torch.zeros(1, len(Joint))
    for joint, (row, column) in ((Joint.LEFT_ANKLE, left), (Joint.RIGHT_ANKLE, right)):
        peaks[0, joint] = torch.tensor([(column + 0.5) / 8, (row + 0.5) / 8])
        weight[0, joint] = 1.0
    return peaks, weight


def test_a_left_right_swap_costs() -> None:
    peaks, weight = ankles_at((6, 2), (6, 5))
    correct = left_right_loss(two_ankles((6, 2), (6, 5)), peaks, weight)
    swapped = left_right_loss(two_ankles((6, 5), (6, 2)), peaks, weight)
    undecided = left_right_loss(torch.zeros(1, len(Joint), 8, 8), peaks, weight)
    assert correct.item() < 1e-4 and swapped.item() == pytest.approx(12, abs=0.01)
    assert undecided.item() == pytest.approx(np.log(2), abs=1e-4)


def test_close_pairs_and_pairs_with_an_unlabelled_joint_have_no_left_right_loss() -> None:
    together, both = ankles_at((6, 3), (6, 4))
    assert left_right_loss(two_ankles((6, 4), (6, 3)), together, both).item() == 0
    apart, weight = ankles_at((6, 2), (6, 5))
    weight[0, Joint.RIGHT_ANKLE] = 0
    assert left_right_loss(two_ankles((6, 5), (6, 2)), apart, weight).item() == 0


def test_the_left_right_loss_of_a_mirrored_image_is_the_same() -> None:
    heat = torch.randn(1, len(Joint), 8, 8, generator=torch.Generator().manual_seed(1))
    peaks = torch.rand(1, len(Joint), 2, generator=torch.Generator().manual_seed(2))
    weight = torch.ones(1, len(Joint))
    mirrored = heat[:, list(FLIP_PAIRS)].flip(-1)
    rotated = peaks[:, list(FLIP_PAIRS)] * torch.tensor([-1, 1]) + torch.tensor([1, 0])
    once, twice = left_right_loss(heat, peaks, weight), left_right_loss(mirrored, rotated, weight)
    assert once.item() == pytest.approx(twice.item(), abs=1e-5)


def test_a_peak_that_jumps_while_the_joint_rests_is_inconsistent() -> None:
    peaks, weight = torch.full((2, 1, 2), 0.4), torch.ones(2, 1)
    steady = temporal_consistency_loss(two_frames((3, 3), (3, 3)), peaks, weight, frames=2)
    jump = temporal_consistency_loss(two_frames((3, 3), (6, 1)), peaks, weight, frames=2)
    assert steady.item() == pytest.approx(0, abs=1e-6)
    assert jump.item() == pytest.approx(np.log(2), abs=1e-3)  # the maximum of the divergence


def test_joints_that_move_or_are_not_labelled_have_no_temporal_consistency_loss() -> None:
    heat, weight = two_frames((3, 3), (6, 1)), torch.ones(2, 1)
    moved = torch.tensor([[[0.44, 0.44]], [[0.19, 0.81]]])
    assert temporal_consistency_loss(heat, moved, weight, frames=2).item() == 0
    resting = torch.full((2, 1, 2), 0.4)
    assert (
        temporal_consistency_loss(heat, resting, torch.tensor([[1.0], [0.0]]), frames=2).item() == 0
    )
