"""Losses vanish on the truth, metrics on perfect answers, and both grow with the error."""

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
from thfm_ros.training.losses import (
    STRIDES,
    Batch,
    aligned,
    losses,
    overlap_loss,
    sides_loss,
    slope_loss,
    steady_loss,
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return held_out(write_data(tmp_path_factory.mktemp("data")), 64, 4)[0]


def test_the_mean_shape_of_one_body_seen_from_everywhere_is_that_body() -> None:
    rng = np.random.default_rng(4)
    body = rng.normal(size=(20, 3))
    turned = [Rotation.random(random_state=i).apply(body) * (1 + i / 10) + i for i in range(12)]
    shape = metrics.mean_shape(np.array(turned))
    assert max(metrics.procrustes(shape, each).max() for each in turned) < 1e-6
    stick = np.mean([each - each.mean(0) for each in turned], axis=0)  # what a plain mean leaves
    assert metrics.procrustes(stick, body).mean() > 0.3


def perfect(batch: Batch) -> NetworkOutputs:
    """What a network without any error would say about a batch."""
    frames, _ = batch.visibility.shape
    person = (batch.instances > 0).float()
    parts = torch.nn.functional.one_hot(batch.parts.long(), 17).permute(0, 3, 1, 2) * 40.0
    dense = torch.cat(
        [
            (person * 80 - 40)[:, None],
            parts,
            batch.relief[:, None],
            batch.normals.permute(0, 3, 1, 2),
            batch.surface.permute(0, 3, 1, 2),
            batch.votes.permute(0, 3, 1, 2),
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
def test_a_missed_half_costs_as_much_of_a_small_person_as_of_a_large_one(side: int) -> None:
    person = torch.zeros(1, 64, 64, dtype=torch.bool)
    person[0, :side, : 2 * (side // 2)] = True
    logits = torch.where(person, 40.0, -40.0)
    assert overlap_loss(logits, person) == pytest.approx(0, abs=1e-5)
    logits[0, :, side // 2 :] = -40.0  # 2 * 1/2 of what is shared, of 1/2 + 1
    assert overlap_loss(logits, person) == pytest.approx(1 / 3, abs=0.05)


def test_somebody_where_nobody_is_costs_the_whole_overlap() -> None:
    nobody = torch.zeros(1, 64, 64, dtype=torch.bool)
    assert overlap_loss(torch.full((1, 64, 64), -40.0), nobody) == pytest.approx(0, abs=1e-5)
    assert overlap_loss(torch.full((1, 64, 64), 40.0), nobody) > 0.99


def test_the_truth_costs_nothing_but_the_width_of_the_heatmap(batch: Batch) -> None:
    found = losses(perfect(batch), batch)
    entropy = found.pop("heatmap")
    assert max(value.item() for value in found.values()) < 0.02
    assert entropy.item() == pytest.approx(np.log(2 * np.pi * np.e), abs=0.1)  # of the Gaussian


@pytest.mark.parametrize("field", ["positions", "log_width", "peaks", "visibility", "heatmaps"])
def test_each_loss_sees_its_own_error(batch: Batch, field: str) -> None:
    good = perfect(batch)
    name = {"heatmaps": "heatmap"}.get(field, field)
    before = losses(good, batch)[name].item()
    value = getattr(good, field)
    spoilt = {
        "log_width": value + 0.3,
        "visibility": -value,
    }.get(field)
    worse = good._replace(**{field: value.roll(1, 1) if spoilt is None else spoilt})
    assert losses(worse, batch)[name].item() > before + 1e-3


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
    turned = scale * pose @ Rotation.random(random_state=seed).as_matrix() + rng.normal(0, 3, 3)
    assert metrics.procrustes(turned, pose).max() < 1e-6


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_loss_on_shape_measures_what_procrustes_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.normal(0, 0.4, (2, 5, 35, 3))
    found = aligned(torch.from_numpy(predicted), torch.from_numpy(truth)).norm(dim=-1).numpy()
    plain = [metrics.procrustes(p, t) for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(found, plain, atol=1e-5)


def test_the_loss_on_shape_of_a_broken_network_is_not_a_number_and_no_exception() -> None:
    pose = torch.randn(2, 35, 3)
    broken = pose.clone()
    broken[0, 3] = float("nan")
    apart = aligned(broken, pose).norm(dim=-1).mean(1)
    assert apart[0].isnan() and apart[1] < 1e-5


def test_the_loss_on_slopes_asks_for_differences_within_one_person_only() -> None:
    truth = torch.zeros(1, 24, 24)
    known = torch.ones(1, 24, 24, dtype=torch.bool)
    people = torch.ones(1, 24, 24, dtype=torch.uint8)
    people[:, :, 12:] = 2
    each_off = torch.where(people == 1, 0.3, -0.2)
    assert slope_loss(each_off, truth, people, known).item() == 0
    across = slope_loss(each_off, truth, torch.ones_like(people), known)
    columns = [0.5 * stride / (24 - stride) for stride in STRIDES]
    assert across.item() == pytest.approx(sum(columns) / (2 * len(STRIDES)), rel=1e-5)
    assert slope_loss(each_off, truth, people, torch.zeros_like(known)).item() == 0


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
    """Heatmaps [2 frames, 1 joint, 8, 8] that are sure of a cell each."""
    heat = torch.zeros(2, 1, 8, 8)
    for frame, (row, column) in enumerate((first, second)):
        heat[frame, 0, row, column] = 20.0
    return heat


def two_ankles(left: tuple[int, int], right: tuple[int, int]) -> torch.Tensor:
    """Heatmaps of 8x8 cells that believe in one cell each, all joints but the ankles in none."""
    heat = torch.zeros(1, len(Joint), 8, 8)
    heat[0, Joint.LEFT_ANKLE, left[0], left[1]] = 6.0
    heat[0, Joint.RIGHT_ANKLE, right[0], right[1]] = 6.0
    return heat


def ankles_at(left: tuple[int, int], right: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Peaks and weights of a person of whom only the ankles are in the image."""
    peaks, weight = torch.zeros(1, len(Joint), 2), torch.zeros(1, len(Joint))
    for joint, (row, column) in ((Joint.LEFT_ANKLE, left), (Joint.RIGHT_ANKLE, right)):
        peaks[0, joint] = torch.tensor([(column + 0.5) / 8, (row + 0.5) / 8])
        weight[0, joint] = 1.0
    return peaks, weight


def test_exchanged_sides_cost_and_right_ones_do_not() -> None:
    peaks, weight = ankles_at((6, 2), (6, 5))
    right = sides_loss(two_ankles((6, 2), (6, 5)), peaks, weight)
    crossed = sides_loss(two_ankles((6, 5), (6, 2)), peaks, weight)
    undecided = sides_loss(torch.zeros(1, len(Joint), 8, 8), peaks, weight)
    assert right.item() < 1e-4 and crossed.item() == pytest.approx(12, abs=0.01)
    assert undecided.item() == pytest.approx(np.log(2), abs=1e-4)


def test_sides_are_not_asked_for_where_twins_meet_or_one_is_outside() -> None:
    together, both = ankles_at((6, 3), (6, 4))
    assert sides_loss(two_ankles((6, 4), (6, 3)), together, both).item() == 0
    apart, weight = ankles_at((6, 2), (6, 5))
    weight[0, Joint.RIGHT_ANKLE] = 0
    assert sides_loss(two_ankles((6, 5), (6, 2)), apart, weight).item() == 0


def test_sides_ask_the_same_of_a_mirrored_image() -> None:
    heat = torch.randn(1, len(Joint), 8, 8, generator=torch.Generator().manual_seed(1))
    peaks = torch.rand(1, len(Joint), 2, generator=torch.Generator().manual_seed(2))
    weight = torch.ones(1, len(Joint))
    mirrored = heat[:, list(FLIP_PAIRS)].flip(-1)
    turned = peaks[:, list(FLIP_PAIRS)] * torch.tensor([-1, 1]) + torch.tensor([1, 0])
    once, twice = sides_loss(heat, peaks, weight), sides_loss(mirrored, turned, weight)
    assert once.item() == pytest.approx(twice.item(), abs=1e-5)


def test_a_belief_that_jumps_while_the_joint_rests_is_not_steady() -> None:
    peaks, weight = torch.full((2, 1, 2), 0.4), torch.ones(2, 1)
    calm = steady_loss(two_frames((3, 3), (3, 3)), peaks, weight, frames=2)
    jump = steady_loss(two_frames((3, 3), (6, 1)), peaks, weight, frames=2)
    assert calm.item() == pytest.approx(0, abs=1e-6)
    assert jump.item() == pytest.approx(np.log(2), abs=1e-3)  # the most that two beliefs differ


def test_a_joint_that_moves_or_is_not_there_need_not_be_steady() -> None:
    heat, weight = two_frames((3, 3), (6, 1)), torch.ones(2, 1)
    moved = torch.tensor([[[0.44, 0.44]], [[0.19, 0.81]]])
    assert steady_loss(heat, moved, weight, frames=2).item() == 0
    resting = torch.full((2, 1, 2), 0.4)
    assert steady_loss(heat, resting, torch.tensor([[1.0], [0.0]]), frames=2).item() == 0
