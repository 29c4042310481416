# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tall training crops are the middle of square ones, labels included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.model.crop_shapes import crop_sizes, tall_crop_size
from thfm_ros.training.crop_samples import CropSample, single_frame, votes_of
from thfm_ros.training.tall_crops import tall_photo, tall_sample
from thfm_ros.training.unlabelled_photos import PhotoCrop

SIZE, WIDTH = 160, 96
JOINTS = 3


def square_sample(peaks_px: np.ndarray, box: tuple[float, float]) -> CropSample:
    """A person in columns 20 to 60 of the labels; ``box``: x_min and x_max of the cue, shares."""
    instances = np.zeros((SIZE // 2, SIZE // 2), np.uint8)
    instances[10:70, 20:60] = 1
    columns = np.arange(SIZE, dtype=np.uint8)
    return single_frame(
        image=np.broadcast_to(columns[None, :, None], (SIZE, SIZE, 3)).copy(),
        instances=instances,
        parts=instances,
        relative_depth=np.zeros(instances.shape, np.float32),
        depth_known=instances > 0,
        normals=np.zeros((*instances.shape, 3), np.float32),
        dense_pose=np.zeros((*instances.shape, 3), np.float32),
        votes=votes_of(instances),
        peaks=(peaks_px / SIZE).astype(np.float32),
        visibility=np.full(JOINTS, 2, np.uint8),
        positions=np.arange(JOINTS * 3, dtype=np.float32).reshape(JOINTS, 3),
        log_width=np.float32(0.7),
        presence=np.float32(1),
        cue=np.array([box[0], 0.1, box[1], 0.9, 1], np.float32),
    )


@given(st.lists(st.floats(0, SIZE - 1), min_size=JOINTS, max_size=JOINTS))
def test_joints_keep_their_pixel_and_are_outside_in_columns_that_are_cut(x: list[float]) -> None:
    peaks = np.stack([np.array(x), np.full(JOINTS, 50.0)], 1)
    tall = tall_sample(square_sample(peaks, (0.3, 0.7)), WIDTH)
    assert tall.image.shape == (1, SIZE, WIDTH, 3)
    left = (SIZE - WIDTH) // 2
    np.testing.assert_array_equal(tall.image[0, 0, :, 0], np.arange(left, left + WIDTH))
    np.testing.assert_allclose(tall.peaks[0] * [WIDTH, SIZE], peaks - [left, 0], atol=1e-3)
    inside = (peaks[:, 0] >= left + 0.01) & (peaks[:, 0] < left + WIDTH - 0.01)
    assert (tall.visibility[0][inside] == 2).all()
    outside = (peaks[:, 0] < left - 0.01) | (peaks[:, 0] > left + WIDTH + 0.01)
    assert (tall.visibility[0][outside] == 0).all()


def test_maps_votes_and_the_cue_are_those_of_the_columns_that_remain() -> None:
    square = square_sample(np.full((JOINTS, 2), 80.0), (0.25, 0.75))
    tall = tall_sample(square, WIDTH)
    assert tall.instances.shape == (1, SIZE // 2, WIDTH // 2)
    np.testing.assert_array_equal(tall.instances[0], square.instances[0][:, 16:64])
    np.testing.assert_array_equal(tall.votes[0], votes_of(tall.instances[0]))
    # Columns 40 to 120 of 160 are columns 8 to 88 of 96.
    np.testing.assert_allclose(tall.cue[0], [8 / 96, 0.1, 88 / 96, 0.9, 1], atol=1e-6)
    for same in ("positions", "log_width", "presence"):
        np.testing.assert_array_equal(getattr(tall, same), getattr(square, same))


def test_no_cue_stays_no_cue() -> None:
    square = square_sample(np.full((JOINTS, 2), 80.0), (0.2, 0.8))
    square = square._replace(cue=np.zeros((1, 5), np.float32))
    np.testing.assert_array_equal(tall_sample(square, WIDTH).cue, np.zeros((1, 5)))


def test_crops_of_photographs_are_cut_alike() -> None:
    image = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    cue = np.array([0.25, 0.1, 0.75, 0.9, 1], np.float32)
    tall = tall_photo(PhotoCrop(image, image + 1, cue, 1.0), WIDTH)
    np.testing.assert_array_equal(tall.image, image[:, 32:128])
    np.testing.assert_array_equal(tall.altered, image[:, 32:128] + 1)
    np.testing.assert_allclose(tall.cue, [8 / 96, 0.1, 88 / 96, 0.9, 1], atol=1e-6)


@pytest.mark.parametrize("size", [(96, 96), (832, 480), (100, 100)])
def test_networks_of_other_sizes_have_no_tall_crops(size: tuple[int, int]) -> None:
    assert tall_crop_size(size) is None and crop_sizes(size) == (size,)


@pytest.mark.parametrize("side", [64, 128, 192])
def test_a_tall_crop_has_nearly_as_many_pixels_in_whole_patches(side: int) -> None:
    _, tall = crop_sizes((side, side))
    assert 0.9 * side**2 < tall[0] * tall[1] < side**2
    assert tall[0] % 16 == tall[1] % 16 == 0
