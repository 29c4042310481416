# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Augmentation: transforms, and what is drawn into backgrounds."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.training.augmentation.busy_surfaces import MOTIFS, Motif, draw_busy_surfaces
from thfm_ros.training.augmentation.geometric import (
    CropStyle,
    draw_transform,
    similarity,
    with_camera_shake,
)
from thfm_ros.training.augmentation.thin_objects import THIN_OBJECTS, draw_thin_objects


@given(scale=st.floats(0.2, 3), angle=st.floats(-np.pi, np.pi), mirrored=st.booleans())
def test_a_similarity_brings_the_middle_to_its_place(
    scale: float, angle: float, mirrored: bool
) -> None:
    middle = np.array([20.0, 31.5])
    matrix = similarity((128, 96), middle, scale, angle, mirrored=mirrored)
    np.testing.assert_allclose(matrix @ [63.5, 47.5, 1], middle, atol=1e-9)
    determinant = np.linalg.det(matrix[:, :2])
    assert determinant == pytest.approx(scale**2 * (-1 if mirrored else 1))


@given(seed=st.integers(0, 1000))
def test_a_drawn_transform_describes_its_own_matrix(seed: int) -> None:
    transform = draw_transform(np.random.default_rng(seed), 128, CropStyle(size=96))
    mirror = np.diag([-1.0, 1.0]) if transform.mirrored else np.eye(2)
    np.testing.assert_allclose(
        transform.matrix[:, :2], transform.scale * transform.rotation @ mirror, atol=1e-9
    )


def test_early_in_training_rotations_are_small() -> None:
    def angles(ramp: float) -> np.ndarray:
        style = CropStyle(augmentation_ramp=ramp)
        rng = np.random.default_rng(0)
        return np.abs([draw_transform(rng, 128, style).angle for _ in range(500)])

    assert (angles(1.0) > 0.8).mean() == 0
    assert (angles(0.0) > 0.8).mean() > 0.05


def test_camera_shake_only_shifts() -> None:
    rng = np.random.default_rng(0)
    transform = draw_transform(rng, 128, CropStyle())
    shaken = with_camera_shake(rng, transform, 128, 4)
    assert len(shaken) == 4
    for each in shaken:
        np.testing.assert_array_equal(each.matrix[:, :2], transform.matrix[:, :2])
        assert (each.scale, each.angle) == (transform.scale, transform.angle)
    assert len({tuple(each.matrix[:, 2]) for each in shaken}) == 4


@pytest.mark.parametrize("kind", THIN_OBJECTS, ids=lambda kind: kind.__name__.strip("_"))
def test_every_thin_object_is_about_as_tall_as_its_unit(
    kind: Callable[[np.random.Generator], list[list[tuple[float, float]]]],
) -> None:
    for seed in range(20):
        lines = kind(np.random.default_rng(seed))
        heights = np.concatenate([np.array(line)[:, 1] for line in lines])
        assert heights.min() < 0.2 and 0.85 <= heights.max() <= 1.01


def drawn(
    draw: Callable[[np.random.Generator, np.ndarray], None], count: int
) -> Iterator[np.ndarray]:
    """Grey images into which ``draw`` has drawn; no value may leave 0..255."""
    for seed in range(count):
        image = np.full((96, 128, 3), 128, np.float32)
        draw(np.random.default_rng(seed), image)
        assert image.min() >= 0 and image.max() <= 255
        yield image


def test_thin_objects_change_a_part_of_the_image() -> None:
    changed = [float((image != 128).any(-1).mean()) for image in drawn(draw_thin_objects, 30)]
    assert max(changed) < 0.7 and np.median(changed) > 0.005


@pytest.mark.parametrize("motif", MOTIFS, ids=lambda motif: motif.__name__.strip("_"))
@given(height=st.integers(8, 60), width=st.integers(8, 80), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_every_busy_surface_fits_patches_of_any_size(
    motif: Motif, height: int, width: int, seed: int
) -> None:
    patch = np.full((height, width, 3), 128, np.uint8)
    motif(np.random.default_rng(seed), patch)
    assert patch.shape == (height, width, 3)


def test_busy_surfaces_have_many_edges() -> None:
    steps = (np.abs(np.diff(image[..., 0], axis=1)) for image in drawn(draw_busy_surfaces, 20))
    edges = [float((step > 8).mean()) for step in steps]
    assert np.median(edges) > 0.02
