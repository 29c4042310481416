# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People cut out of renders: mirrored, rotated and pasted with all their labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.skeleton import FLIP_PAIRS, Joint
from thfm_ros.training.cutouts import Cutout, flipped, paste, read_cutout, rotated
from thfm_ros.training.shard_store import Store


@pytest.fixture(scope="module")
def person(store: Store) -> Cutout:
    cutout = read_cutout(store, store.frames[0], mirrored=False)
    assert cutout is not None
    return cutout


def standing_person() -> Cutout:
    """4 x 2 pixels: a white head whose normals point up, feet whose normals do not."""
    rgb = np.zeros((4, 2, 3), np.uint8)
    rgb[0] = 255
    normals = np.zeros((4, 2, 3), np.float32)
    normals[0] = (0, -1, 0)
    normals[3] = (0.6, 0, 0.8)
    ones = np.ones((4, 2), np.uint8)
    return Cutout(
        rgb=rgb,
        mask=ones,
        parts=ones,
        normals=normals,
        dense_pose=normals,
        joints=np.array([[0.0, 0.0], [1.0, 3.0]]),
        visibility=np.full(2, 2, np.uint8),
        whole=True,
    )


def test_a_cutout_is_the_painted_rectangle(store: Store, person: Cutout) -> None:
    assert person.rgb.shape == (90, 40, 3) and person.mask.all() and person.whole
    assert (person.rgb == (200, 120, 60)).all()
    expected = store.read("keypoints2d", store.frames[0])[0]
    offset = expected - 0.5 - person.joints
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-4)
    assert (person.joints > -1).all() and (person.joints < [40, 90]).all()


def test_too_small_people_are_not_cut_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thfm_ros.training.cutouts.MIN_HEIGHT", 91)
    assert read_cutout(store, store.frames[0], mirrored=False) is None


def test_a_mirrored_person_has_left_and_right_swapped(person: Cutout) -> None:
    other = flipped(person)
    assert (person.parts[:, :20] == 5).all() and (other.parts[:, :20] == 5).all()
    np.testing.assert_allclose(other.normals[..., 0], -person.normals[..., 0])
    np.testing.assert_allclose(other.dense_pose[..., 1], -person.dense_pose[..., 1])
    left, right = Joint.LEFT_WRIST, FLIP_PAIRS[Joint.LEFT_WRIST]
    np.testing.assert_allclose(other.joints[left], [39, 0] + person.joints[right] * [-1, 1])
    twice = flipped(other)
    for name in ("rgb", "parts", "normals", "dense_pose", "joints", "visibility"):
        np.testing.assert_allclose(getattr(twice, name), getattr(person, name), atol=1e-4)


def test_normals_and_joints_rotate_with_the_pixels() -> None:
    person = standing_person()
    once = rotated(person, 1)  # counterclockwise: the head lies on the left
    assert once.rgb.shape == (2, 4, 3) and (once.rgb[:, 0] == 255).all()
    np.testing.assert_allclose(once.normals[:, 0], [(-1, 0, 0)] * 2, atol=1e-6)
    np.testing.assert_allclose(once.normals[:, 3], [(0, -0.6, 0.8)] * 2, atol=1e-6)
    np.testing.assert_allclose(once.dense_pose, np.rot90(person.dense_pose))  # of the body
    np.testing.assert_allclose(once.joints, [[0, 1], [3, 0]])
    back = rotated(once, 3)
    np.testing.assert_allclose(back.normals, person.normals, atol=1e-6)
    np.testing.assert_allclose(back.joints, person.joints)
    np.testing.assert_array_equal(rotated(person, 3).rgb, rotated(rotated(person, 2), 1).rgb)


@given(height=st.floats(20, 120), left=st.floats(-20, 60), top=st.floats(-20, 60))
def test_a_pasted_person_lies_where_it_was_put(height: float, left: float, top: float) -> None:
    rectangle = np.ones((90, 40), np.uint8)
    person = Cutout(
        rgb=np.full((90, 40, 3), 200, np.uint8),
        mask=rectangle,
        parts=rectangle * 5,
        normals=np.zeros((90, 40, 3), np.float32),
        dense_pose=np.zeros((90, 40, 3), np.float32),
        joints=np.array([[0.0, 0.0], [39.0, 89.0]]),
        visibility=np.full(2, 2, np.uint8),
        whole=True,
    )
    pasted = paste(person, height, left, top, (96, 64))
    scale = height / 90
    assert pasted.mask.shape == pasted.alpha.shape == (64, 96)
    rows, columns = np.flatnonzero(pasted.mask.any(1)), np.flatnonzero(pasted.mask.any(0))
    if len(rows):
        expected = [top, min(top + height, 64), left, min(left + 40 * scale, 96)]
        measured = [rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]
        np.testing.assert_allclose(measured, np.maximum(expected, 0), atol=2.0)
        assert (pasted.parts[pasted.mask] == 5).all()
    np.testing.assert_allclose(pasted.joints, person.joints * scale + [left, top])
