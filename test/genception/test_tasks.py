# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decoding of predicted RGB videos into depth, normals and masks."""

from itertools import product

import numpy as np
import pytest
import torch

from thfm_ros.contract import Intrinsics, Task
from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.depth_colour import depth_to_colour
from thfm_ros.genception.tasks import (
    ASSUMED_NORMALS,
    NormalConvention,
    decode,
    decode_depth,
    decode_mask,
    decode_normals,
    likeliest_convention,
    normals_of_depth,
)

CAMERA = Intrinsics(fx=60.0, fy=60.0, cx=32.0, cy=24.0, width=64, height=48)


def bumpy_depth() -> np.ndarray:
    """A plane with a sphere in front of it, so that there are normals of all directions."""
    y, x = np.mgrid[0:48, 0:64].astype(np.float32) + 0.5
    ball = 20.0**2 - (x - 32) ** 2 - (y - 24) ** 2
    return np.asarray(3.0 - np.sqrt(np.clip(ball, 0, None)) / 20, np.float32)


def test_depth_is_decoded_in_units_of_the_median() -> None:
    depth = torch.rand(2, 5, 6) * 10
    rgb = depth_to_colour(depth).movedim(-1, 1)
    torch.testing.assert_close(decode_depth(rgb), depth, rtol=1e-4, atol=1e-5)


def test_blue_is_a_surface_facing_the_camera_and_green_faces_up() -> None:
    towards = decode_normals(torch.tensor([0.5, 0.5, 1.0]).reshape(1, 3, 1, 1))
    torch.testing.assert_close(towards.flatten(), torch.tensor([0.0, 0.0, -1.0]))
    up = decode_normals(torch.tensor([0.5, 1.0, 0.5]).reshape(1, 3, 1, 1))
    torch.testing.assert_close(up.flatten(), torch.tensor([0.0, -1.0, 0.0]))  # y points down


def test_normals_have_unit_length_or_are_nan() -> None:
    rgb = torch.rand(3, 3, 9, 9)
    rgb[0, :, 0, 0] = 0.5
    length = decode_normals(rgb).norm(dim=1)
    assert torch.isnan(length[0, 0, 0])
    finite = length[~torch.isnan(length)]
    torch.testing.assert_close(finite, torch.ones_like(finite))


def test_normals_of_a_frontal_plane_point_at_the_camera() -> None:
    normals = normals_of_depth(np.full((48, 64), 2.0, np.float32), CAMERA)
    np.testing.assert_allclose(normals[5:-5, 5:-5], np.broadcast_to([0, 0, -1], (38, 54, 3)))


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_likeliest_convention_recovers_the_signs(
    signs: tuple[int, int, int],
) -> None:
    depth = bumpy_depth()
    normals = torch.from_numpy(normals_of_depth(depth, CAMERA)).movedim(-1, 0)
    rgb = (normals * torch.tensor(signs)[:, None, None] + 1) / 2
    rgb += 0.05 * torch.randn(rgb.shape, generator=torch.manual_seed(0))
    convention, angle = likeliest_convention(rgb, torch.from_numpy(depth) * 7, CAMERA)
    assert convention == NormalConvention(*signs)
    assert angle < 10


def test_mask_is_the_brightest_channel() -> None:
    rgb = torch.tensor([[0.1, 0.7, 0.2], [-0.1, -0.2, -0.3], [1.2, 0, 0]]).reshape(3, 3, 1, 1)
    torch.testing.assert_close(decode_mask(rgb).flatten(), torch.tensor([0.7, 0.0, 1.0]))


def test_each_task_has_its_number_of_channels() -> None:
    rgb = torch.rand(2, 3, 4, 5)
    channels = {t: decode(t, rgb).shape for t in (Task.DEPTH, Task.NORMALS, Task.SEGMENTATION)}
    assert channels == {
        Task.DEPTH: (2, 1, 4, 5),
        Task.NORMALS: (2, 3, 4, 5),
        Task.SEGMENTATION: (2, 1, 4, 5),
    }
    with pytest.raises(GenceptionError, match="nano"):
        decode(Task.BODIES, rgb)


def test_assumed_normal_convention() -> None:
    assert NormalConvention(-1, -1, -1) == ASSUMED_NORMALS
