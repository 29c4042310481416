"""Figures of crops and clips on painted people."""

from pathlib import Path

import numpy as np
import pytest
from painted_store import write_data

from thfm_ros.evaluation import crop_metrics as crops
from thfm_ros.evaluation import report_tables as lines
from thfm_ros.evaluation import temporal_stability as steadiness
from thfm_ros.evaluation.markdown_report import table
from thfm_ros.model.network import NanoNetwork
from thfm_ros.skeleton import Joint
from thfm_ros.training.batches import held_out
from thfm_ros.training.losses import Batch
from thfm_ros.training.validation import baselines, predict, scores_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def batches(data: Path) -> list[Batch]:
    return held_out(data, 64, 4)


def truths(batches: list[Batch]) -> dict[str, np.ndarray]:
    """What a perfect network says."""
    names = ("parts", "relief", "normals", "surface", "peaks", "positions", "log_width")
    said = {name: crops.joined(batches, name) for name in names}
    return said | {"mask": crops.joined(batches, "instances") > 0}


def test_every_line_of_the_tables_is_measured(batches: list[Batch]) -> None:
    said = predict(NanoNetwork(), batches)
    scores = scores_of(said, batches) | baselines(batches) | crops.dense_pose(said, batches)
    scores |= crops.by_limb(said, batches) | crops.by_size(said, batches)
    scores |= crops.by_attitude(said, batches)
    text = lines.crop_tables(scores)
    assert f"| mask IoU | {scores['mask_iou']:.3f} |" in text
    for limb in ("wrists", "ankles"):
        assert f"| {limb} | {scores[f'pck10_{limb}']:.3f}" in text


def test_a_perfect_network_has_perfect_figures(batches: list[Batch]) -> None:
    said = truths(batches)
    scores = scores_of(said, batches) | crops.dense_pose(said, batches)
    scores |= crops.by_limb(said, batches)
    for key in ("mask_iou", "part_miou", "pck10", "surface_near", "surface_part_right"):
        assert scores[key] == pytest.approx(1.0), key
    assert scores["swapped"] == 0
    for key in ("pa_mpjpe_mm", "mpjpe_mm_feet", "relief_cm", "surface_along", "log_width_error"):
        assert scores[key] == pytest.approx(0.0, abs=1e-3), key


def test_a_painted_rectangle_is_its_own_box(batches: list[Batch]) -> None:
    found = baselines(batches)
    # Of 20 x 45 cells only a corner of which one pixel in four is painted may be nobody's.
    assert 1 - 4 / (20 * 45) <= found["mask_iou_box"] <= 1
    assert found["part_miou_torso"] == 0.0  # the painted parts are arms


def test_a_place_a_quarter_turn_off_is_ninety_degrees_off(batches: list[Batch]) -> None:
    said = truths(batches)
    said["surface"] = said["surface"][..., [1, 0, 2]]  # painted at (0, 1): now at (1, 0)
    scores = crops.dense_pose(said, batches)
    assert scores["surface_turn_deg"] == pytest.approx(90.0, abs=0.1)
    assert scores_of(said, batches)["surface_near"] == 0.0


def test_a_place_on_the_wrong_part_is_wrong(batches: list[Batch]) -> None:
    said = truths(batches)
    said["parts"] = np.where(said["parts"] > 0, said["parts"] % 16 + 1, 0).astype(np.uint8)
    assert scores_of(said, batches)["surface_near"] == 0.0


def test_people_are_sorted_by_their_longer_side(batches: list[Batch]) -> None:
    # Painted 90 of 128 pixels tall: 0.70 of the crop.
    sizes = crops.target_sizes(crops.joined(batches, "instances"))
    np.testing.assert_allclose(sizes, 90 / 128, atol=0.04)
    scores = crops.by_size(truths(batches), batches)
    assert scores["people_under a half"] == 0 and scores["people_over three quarters"] == 0
    assert scores["pck10_a half to three quarters"] == pytest.approx(1.0)


def test_people_are_sorted_by_how_their_trunk_stands_in_the_image(batches: list[Batch]) -> None:
    pose = np.zeros((4, len(Joint), 3))
    trunk = np.radians([5, 90, 90, 170])
    pose[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]] = np.stack(
        [np.sin(trunk), -np.cos(trunk), np.zeros(4)], 1
    )[:, None] * [[[0.5]], [[0.5]], [[-0.3]], [[0.5]]]
    angles = crops.trunk_angles(pose)
    np.testing.assert_allclose(angles, [5, 90, 90, 170], atol=1e-6)
    scores = crops.by_attitude(truths(batches), batches)
    people = [scores[f"people_{name}"] for name in crops.ATTITUDES]
    assert sum(people) == sum(len(batch.positions) for batch in batches)


def clip(move: float, noise: float, seed: int = 0) -> steadiness.Clip:
    """Ten joints in a box of 100 pixels that all move by ``move`` pixels per frame."""
    rng = np.random.default_rng(seed)
    joints = rng.uniform(0, 100, (35, 2))
    joints[:2] = [[0, 0], [100, 100]]
    truth = joints + move * np.arange(4)[:, None, None]
    said = truth + 7 + rng.normal(0, noise, truth.shape)  # 7: wrong, but steadily so
    space = np.concatenate([truth, truth[..., :1]], -1) / 1000
    names = {"peaks": said, "alone": truth, "positions": space + rng.normal(0, noise, space.shape)}
    return steadiness.Clip(truth, space, np.ones((4, 35), bool), names)


def test_jitter_is_what_changes_of_the_error_in_heights_of_the_person() -> None:
    steady, shaky = clip(0.1, 0.0), clip(0.1, 2.0)
    assert steady.still() and not clip(3.0, 0.0).still()
    assert steadiness.jitter(steady.said["peaks"], steady) == pytest.approx(0, abs=1e-9)
    # Two axes of 2 pixels each, of 100.3 pixels.
    expected = 2 * np.sqrt(2) / shaky.height
    assert steadiness.jitter(shaky.said["peaks"], shaky) == pytest.approx(expected, rel=0.15)


def test_a_joint_that_jumps_is_told_from_those_that_tremble() -> None:
    jumpy = clip(0.1, 0.0)
    jumpy.said["peaks"][2, 5] += 50
    scores = steadiness.scores_of([jumpy])
    assert scores["jumps"] == pytest.approx(1 / (4 * 35))
    assert scores["jitter_rest"] == pytest.approx(0, abs=1e-9) and scores["jitter"] > 0.02
    assert scores["jumps_alone"] == 0


def test_a_joint_that_was_hidden_a_moment_before_counts_in_the_newest_frame() -> None:
    there = clip(0.1, 0.0)
    visible = np.ones((4, 35), bool)
    visible[0, :20] = False
    there.said["peaks"] = there.truth.copy()
    there.said["peaks"][3, :20] += 50
    late = steadiness.Clip(there.truth, there.space, visible, there.said)
    assert steadiness.scores_of([late])["pck10_newest"] == pytest.approx(15 / 35)


def test_acceleration_errors_are_second_differences() -> None:
    noisy = clip(0.1, 0.001)
    scores = steadiness.scores_of([noisy])
    # Of white noise of 1 mm per axis: sqrt(1 + 4 + 1) per axis, mean length of three of them.
    assert scores["acceleration_mm"] == pytest.approx(np.sqrt(6) * 1.596, rel=0.15)
    assert scores["acceleration_mm_still"] == pytest.approx(0, abs=1e-6)
    assert scores["still_clips"] == scores["clips"] == 1


def test_clips_run_with_and_without_memory(data: Path) -> None:
    clips = steadiness.clips_of(NanoNetwork(), data / "val", 64, 2)
    assert [each.truth.shape for each in clips] == [(4, 35, 2)] * 2
    first = clips[0].said
    # The first frame has no memory yet: both ways of running it must agree on it.
    np.testing.assert_allclose(first["peaks"][0], first["alone"][0], atol=1e-2)
    assert "| jitter of somebody" in table(steadiness.scores_of(clips), lines.CLIPS)
