# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered frames in a sample's pixels: space and image agree, neighbours have exact labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_store import ROWS, SIZE

from thfm_ros.skeleton import FLIP_PAIRS, Joint
from thfm_ros.training.augmentation.geometric import CropTransform, similarity
from thfm_ros.training.cutouts import PastedPerson
from thfm_ros.training.rendered_crop import (
    HIPS,
    Neighbour,
    RenderedCrop,
    RenderedLayers,
)
from thfm_ros.training.shard_store import Store

PLAIN = CropTransform(np.eye(3)[:2], 1.0, 0.0, False)
MIRROR = CropTransform(np.array([[-1.0, 0, SIZE - 1], [0, 1, 0]]), 1.0, 0.0, True)
FIRST_PASTED = ROWS + 1
COLUMNS = slice(40, 60)
"""Of the pasted rectangle, which covers a part of the painted one."""


@pytest.fixture(scope="module")
def layers(store: Store) -> RenderedLayers:
    return RenderedLayers.read(store, store.frames[0], PLAIN, SIZE)


def pasted_rectangle() -> PastedPerson:
    """A green rectangle with all joints in its middle; the first is unknown."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[20:100, COLUMNS] = True
    rgb = np.zeros((SIZE, SIZE, 3), np.float32) + np.array([0, 255, 0], np.float32)
    joints = np.full((len(Joint), 2), [50.0, 60.0])
    joints[0] = np.nan
    normals = np.zeros((SIZE, SIZE, 3), np.float32) + np.array([0, 1, 0], np.float32)
    return PastedPerson(
        rgb=rgb,
        alpha=mask.astype(np.float32),
        mask=mask,
        parts=np.full((SIZE, SIZE), 9, np.uint8),
        normals=normals,
        dense_pose=normals * 0.5,
        joints=joints,
        visibility=np.full(len(Joint), 2, np.uint8),
    )


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.5, 1.5), angle=st.floats(-0.7, 0.7), mirrored=st.booleans())
def test_joints_in_space_project_onto_the_keypoints(
    data: Path, scale: float, angle: float, mirrored: bool
) -> None:
    store = Store(data / "train")
    middle = np.full(2, (SIZE - 1) / 2)
    matrix = similarity((SIZE, SIZE), middle, scale, angle, mirrored=mirrored)
    transform = CropTransform(matrix, scale, angle, mirrored)
    layers = RenderedLayers.read(store, store.frames[0], transform, SIZE)
    target = layers.people[0]
    depth = target.root_depth + target.positions[:, 2:]
    projected = target.positions[:, :2] * layers.focal_px / depth
    hips = target.peaks[HIPS].mean(0)
    np.testing.assert_allclose(target.peaks - hips, projected - projected[HIPS].mean(0), atol=0.05)


def test_a_mirror_swaps_left_and_right_and_mirrors_the_normals(
    store: Store, layers: RenderedLayers
) -> None:
    plain = layers.at_half_size()
    mirrored = RenderedLayers.read(store, store.frames[0], MIRROR, SIZE).at_half_size()
    one, other = plain.people[0], mirrored.people[0]
    np.testing.assert_allclose(
        other.positions[list(FLIP_PAIRS)], one.positions * [-1, 1, 1], atol=1e-6
    )
    assert mirrored.normals[..., 0].min() == pytest.approx(-0.6, abs=0.01)
    assert plain.normals[..., 0].max() == pytest.approx(0.6, abs=0.01)
    left_wrist = Joint.LEFT_WRIST
    assert other.peaks[left_wrist, 0] == pytest.approx(
        SIZE - one.peaks[FLIP_PAIRS[left_wrist], 0], abs=1e-4
    )
    assert set(np.unique(mirrored.parts)) == {0, 4, 5}
    right_arm = np.flatnonzero((mirrored.parts == 5).any(0))
    left_arm = np.flatnonzero((mirrored.parts == 4).any(0))
    assert right_arm.mean() < left_arm.mean()  # as for a person who faces the camera


def test_a_neighbour_in_front_covers_image_and_labels(layers: RenderedLayers) -> None:
    pasted = pasted_rectangle()
    crop = layers.with_neighbours([Neighbour(pasted, in_front=True)]).at_half_size()
    mask = pasted.mask[::2, ::2]
    assert (crop.instances[mask] == FIRST_PASTED).all()
    assert (crop.parts[mask] == 9).all() and not crop.depth[mask].any()
    np.testing.assert_allclose(crop.normals[mask], np.broadcast_to([0, 1, 0], (mask.sum(), 3)))
    np.testing.assert_allclose(crop.rgb[pasted.mask], np.broadcast_to([0, 255, 0], (1600, 3)))
    before = layers.at_half_size()
    for name in ("instances", "parts", "depth", "normals", "dense_pose"):
        np.testing.assert_array_equal(getattr(crop, name)[~mask], getattr(before, name)[~mask])
    assert crop.alpha[pasted.mask].min() == 1  # stays when the background is swapped


def test_a_neighbour_behind_is_covered_by_the_target(layers: RenderedLayers) -> None:
    mask, target = pasted_rectangle().mask, layers.instances == 1
    both = layers.with_neighbours([Neighbour(pasted_rectangle(), in_front=False)])
    assert (target & mask).any() and (mask & ~target).any()
    for name in ("instances", "parts", "depth", "normals", "dense_pose"):
        before, after = getattr(layers, name), getattr(both, name)
        np.testing.assert_array_equal(after[target], before[target])
    assert (both.instances[mask & ~target] == FIRST_PASTED).all()
    opaque = layers.alpha == 1
    np.testing.assert_array_equal(both.rgb[opaque], layers.rgb[opaque])


def inside_rectangle(crop: RenderedCrop, person: int) -> np.ndarray:
    """Which joints of a person lie in the columns and rows of the pasted rectangle."""
    x, y = crop.people[person].peaks.T
    return np.asarray((x >= COLUMNS.start) & (x < COLUMNS.stop) & (y >= 20) & (y < 100))


def test_joints_behind_a_person_are_occluded(layers: RenderedLayers) -> None:
    neighbour = Neighbour(pasted_rectangle(), in_front=True)
    crop = layers.with_neighbours([neighbour]).at_half_size()
    hidden = inside_rectangle(crop, 0)
    assert hidden.any() and not hidden.all()
    np.testing.assert_array_equal(crop.people[0].visibility, np.where(hidden, 1, 2))
    assert (crop.people[ROWS].visibility == 2).all()


def test_joints_of_a_neighbour_behind_the_target_are_occluded(layers: RenderedLayers) -> None:
    neighbour = Neighbour(pasted_rectangle(), in_front=False)
    crop = layers.with_neighbours([neighbour]).at_half_size()
    assert layers.instances[60, 50] == 1  # where the rectangle has its joints
    visibility = crop.people[ROWS].visibility
    assert (visibility[1:] == 1).all()
    assert (crop.people[0].visibility == 2).all()


def test_what_is_not_known_about_a_neighbour_is_not_labelled(layers: RenderedLayers) -> None:
    crop = layers.with_neighbours([Neighbour(pasted_rectangle(), True)]).at_half_size()
    person = crop.people[ROWS]
    assert np.isnan(person.positions).all() and np.isnan(person.root_depth)
    assert (person.peaks[0] < 0).all()  # of the joint that is unknown: outside of the image
    np.testing.assert_allclose(person.peaks[1], [50.5, 60.5])


def test_another_person_becomes_the_target(layers: RenderedLayers) -> None:
    crop = layers.with_neighbours([Neighbour(pasted_rectangle(), True)]).at_half_size()
    other = crop.with_target(FIRST_PASTED)
    np.testing.assert_array_equal(other.instances == 1, crop.instances == FIRST_PASTED)
    np.testing.assert_array_equal(other.instances == FIRST_PASTED, crop.instances == 1)
    assert other.people[0] is crop.people[ROWS]
    assert other.people[ROWS] is crop.people[0]
    assert crop.with_target(1) is crop
