# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Augmentation: transforms, and what is drawn into backgrounds."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.busy_surfaces import MOTIFS, Motif, draw_busy_surfaces
from thfm_ros.training.augmentation.geometric import (
    CropStyle,
    draw_transform,
    similarity,
    with_camera_shake,
)
from thfm_ros.training.augmentation.occluders import draw_counter, draw_window
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
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


def test_a_counter_covers_what_is_below_its_edge(backgrounds: Backgrounds) -> None:
    for seed in range(20):
        counter, *things = draw_counter(np.random.default_rng(seed), 128, 70.0, backgrounds)
        covered = counter.mask(128, 0)
        assert covered[:45].sum() == 0 and covered[70:].any()
        for thing in things:
            rows = np.flatnonzero(thing.mask(128, 0).any(1))
            assert not len(rows) or rows[-1] >= 69  # it stands on the counter


def test_the_window_of_a_close_up_contains_its_middle() -> None:
    borders = [draw_window(np.random.default_rng(seed), 96) for seed in range(40)]
    assert not any(border[24:72, 24:72].any() for border in borders)
    sides = [
        sum((border[0].all(), border[-1].all(), border[:, 0].all(), border[:, -1].all()))
        for border in borders
    ]
    assert max(sides) >= 3 and np.mean(sides) > 1


def test_fog_and_darkness_reduce_the_contrast() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (32, 32, 3)).astype(np.float32)
    clear = replace(draw_photometric(np.random.default_rng(0), 0.0), veil=None)
    plain = apply_photometric(image, clear, rng).astype(float)
    fog = apply_photometric(image, replace(clear, veil=(0.6, 0.9)), rng).astype(float)
    dark = apply_photometric(image, replace(clear, veil=(0.6, 0.02)), rng).astype(float)
    assert fog.std() < 0.5 * plain.std() and fog.mean() > plain.mean() + 30
    assert dark.std() < 0.5 * plain.std() and dark.mean() < plain.mean() - 30


def test_some_crops_show_a_close_up() -> None:
    scales = [
        draw_transform(np.random.default_rng(seed), 128, CropStyle(size=128)).scale
        for seed in range(400)
    ]
    assert 0.02 < np.mean(np.array(scales) > 1.75) < 0.1
