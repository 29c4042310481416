# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered clips as targets, and the losses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
pytest.importorskip("peft", reason="fine-tuning needs thfm_ros[finetune]")

import finetuning_runs as runs

from thfm_ros.contract import Task
from thfm_ros.finetuning.losses import joint_loss, latent_loss, new_token_map
from thfm_ros.finetuning.targets import example_of
from thfm_ros.genception.config import GenceptionConfig, GenceptionError
from thfm_ros.genception.tasks import decode
from thfm_ros.genception.transformer import GenceptionOutputs

EXAMPLE = runs.example(0)
CLIP = runs.made_up_clip(0)
SHOWN = slice(8, 40)  # columns of the network image, 48 wide, that show the square clip of 32


def decoded(task: Task) -> torch.Tensor:
    return decode(task, (EXAMPLE.targets[task].video[0].transpose(0, 1) + 1) / 2)[..., SHOWN]


def test_targets_decode_to_the_rendered_maps() -> None:
    depth = CLIP["depth_m"].astype(np.float32)
    known = EXAMPLE.targets[Task.DEPTH].known[..., SHOWN].numpy()
    np.testing.assert_array_equal(known, depth > 0)
    unit = np.median(depth[depth > 0])
    np.testing.assert_allclose(decoded(Task.DEPTH)[:, 0][known], depth[known] / unit, rtol=1e-4)
    normals = np.moveaxis(decoded(Task.NORMALS).numpy(), 1, -1)
    np.testing.assert_allclose(normals[known], CLIP["normals"][known] / 127, atol=1e-5)
    mask = decoded(Task.SEGMENTATION)[:, 0].numpy()
    np.testing.assert_array_equal(mask, CLIP["instances"] > 0)


def test_cells_of_the_sky_and_of_the_bars_are_not_known() -> None:
    cells = EXAMPLE.targets[Task.DEPTH].known_cells()[0, 0]
    assert cells.shape == (2, 4, 6), "latent frames, rows, columns"
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[1:, 1:5] = True  # 8 rows of sky, 8 columns of bars at each side
    assert all(torch.equal(each, expected) for each in cells)


def test_one_unknown_pixel_makes_the_cell_of_its_four_frames_unknown() -> None:
    target = EXAMPLE.targets[Task.SEGMENTATION]
    known = target.known.clone()
    known[3, 17, 25] = False
    before, after = target.known_cells(), replace(target, known=known).known_cells()
    assert (before != after).nonzero().tolist() == [[0, 0, 1, 2, 3]]


def test_unknown_cells_do_not_count() -> None:
    target, known = torch.zeros(1, 16, 2, 4, 6), torch.zeros(1, 1, 2, 4, 6, dtype=torch.bool)
    assert latent_loss(target + 3, target, known) == 0
    known[..., 0, 0] = True
    wrong_elsewhere = target + 100 * ~known + 2
    assert latent_loss(wrong_elsewhere, target, known) == pytest.approx(4)


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_joints_as_the_map_says_have_no_loss(layout: str) -> None:
    new = new_token_map(GenceptionConfig())
    assert new is not None and "" not in new.joints
    order = np.random.default_rng(0).permutation(33)
    matrix = ((0.0, 100.0, 0.0), (-100.0, 0.0, 0.0), (0.0, 0.0, 50.0))
    joints = tuple(new.joints[joint] for joint in order)
    each = replace(new, layout=layout, joints=joints, matrix=matrix, offset=(1.0, 2.0, 3.0))
    points = EXAMPLE.poses.points("camera")[:, order]
    values = points @ np.array(matrix).T + np.array(each.offset)
    values = values if layout == "rows" else values.swapaxes(1, 2)
    table = torch.from_numpy(values.reshape(1, 5, 33, 3)).float()
    outputs = GenceptionOutputs(torch.zeros(1), torch.zeros(1, 5, 13, 1), table)
    assert joint_loss(outputs, (each,), EXAMPLE.poses) < 1e-9
    assert joint_loss(outputs, (new,), EXAMPLE.poses) > 1


def test_joints_count_only_in_frames_that_show_one_person_alone() -> None:
    clip = runs.made_up_clip(0)
    clip["people"][1] = 2
    clip["people"][2] = 0
    clip["instances"][3] = 0  # out of the image
    poses = example_of(clip, runs.PROFILE, runs.TASKS, 0.4, runs.CPU).poses
    counted = [bool(np.isfinite(each).all()) for each in poses.positions_m]
    assert counted == [True, False, False, False, True]
    assert np.isnan(poses.positions_m[1:4]).all() and np.isnan(poses.pixels[1:4]).all()
    new = new_token_map(GenceptionConfig())
    assert new is not None
    table = torch.from_numpy(np.nan_to_num(poses.positions_m[None, :, :33], nan=1e3)).float()
    outputs = GenceptionOutputs(torch.zeros(1), torch.zeros(1, 5, 13, 1), table)
    assert joint_loss(outputs, (new,), poses) < 1e-9


def test_a_clip_without_a_person_has_gradients_which_are_zero() -> None:
    clip = {**runs.made_up_clip(0), "people": np.zeros(5, np.uint8)}
    clip["keypoints3d"] = np.full_like(clip["keypoints3d"], np.nan)
    poses = example_of(clip, runs.PROFILE, runs.TASKS, 0.4, runs.CPU).poses
    new = new_token_map(GenceptionConfig())
    assert new is not None
    table = torch.ones(1, 5, 33, 3, requires_grad=True)
    loss = joint_loss(
        GenceptionOutputs(torch.zeros(1), torch.zeros(1, 5, 13, 1), table), (new,), poses
    )
    loss.backward()
    assert loss == 0
    assert table.grad is not None and not table.grad.any()


def test_tables_too_narrow_for_joints_have_no_target() -> None:
    assert new_token_map(GenceptionConfig(token2_proj_dim=98, token2_output_dim=2)) is None


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(GenceptionError, match="9 frames cannot be used: the network takes 5"):
        example_of(runs.made_up_clip(0, frames=9), runs.PROFILE, runs.TASKS, 0.4, runs.CPU)
