# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Shards on disk: sampling of rare views, damaged and changed shards, concurrent unpacking."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from painted_store import write_data

from thfm_ros.skeleton import FLIP_PAIRS, Joint
from thfm_ros.synth.dataset import read_shard, write_shard
from thfm_ros.training.rendered_crop import HIPS
from thfm_ros.training.shard_store import (
    BACK_VIEWS,
    KEYS,
    LEGS_APART,
    LEGS_CROSSED,
    Store,
    legs_apart_sideways,
    legs_crossed,
)

SHOULDERS = [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]
KNEES = [Joint.LEFT_KNEE, Joint.RIGHT_KNEE]
ANKLES = [Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 frames, six clips of four."""
    return write_data(tmp_path) / "train"


def keypoints_of(folder: Path) -> np.ndarray:
    return np.array(read_shard(folder / "shard_0.npz", KEYS)["keypoints2d"])


def with_keypoints(folder: Path, keypoints: np.ndarray) -> Store:
    """The store, with other keypoints in its shard."""
    arrays = read_shard(folder / "shard_0.npz", KEYS) | {"keypoints2d": keypoints}
    write_shard(folder / "shard_0.npz", arrays, {}, store="plain")
    shutil.rmtree(folder / "shard_0.arrays", ignore_errors=True)
    return Store(folder)


def share_of_every_fourth(store: Store) -> float:
    """How often one of the first frames of clips is drawn."""
    rng = np.random.default_rng(0)
    return float(np.mean([store.pick(rng).row % 4 == 0 for _ in range(2000)]))


def test_people_seen_from_behind_are_drawn_more_often(folder: Path) -> None:
    keypoints = keypoints_of(folder)
    keypoints[:, 0, SHOULDERS] = [[90, 40], [30, 40]]
    keypoints[:, 0, HIPS] = [[70, 90], [50, 90]]
    keypoints[::4, 0] = keypoints[::4, 0][:, list(FLIP_PAIRS)]
    store = with_keypoints(folder, keypoints)
    share = share_of_every_fourth(store)
    assert share == pytest.approx(BACK_VIEWS / (BACK_VIEWS + 3), abs=0.05)
    clip = store.pick_clip(np.random.default_rng(0), 4)
    assert [ref.row - clip[0].row for ref in clip] == [0, 1, 2, 3] and clip[0].row % 4 == 0


def test_people_seen_from_the_side_in_mid_stride_are_drawn_more_often(folder: Path) -> None:
    keypoints = keypoints_of(folder)
    keypoints[:, 0, SHOULDERS] = [[61, 40], [59, 40]]
    keypoints[:, 0, HIPS] = [[61, 90], [59, 90]]
    keypoints[:, 0, ANKLES] = [[62, 120], [58, 120]]
    keypoints[::4, 0, Joint.LEFT_ANKLE] = [95, 115]
    np.testing.assert_array_equal(
        legs_apart_sideways(keypoints[:, 0]), np.arange(len(keypoints)) % 4 == 0
    )
    share = share_of_every_fourth(with_keypoints(folder, keypoints))
    assert share == pytest.approx(LEGS_APART / (LEGS_APART + 3), abs=0.05)


def with_crossed_legs(keypoints: np.ndarray) -> np.ndarray:
    """People on straight legs, seen from the front, every fourth with crossed legs."""
    keypoints = keypoints.copy()
    keypoints[:, 0, SHOULDERS] = [[75, 40], [45, 40]]
    keypoints[:, 0, HIPS] = [[68, 90], [52, 90]]
    keypoints[:, 0, KNEES] = [[66, 105], [54, 105]]
    keypoints[:, 0, ANKLES] = [[68, 120], [52, 120]]
    keypoints[::4, 0, Joint.LEFT_ANKLE] = [40, 120]
    return keypoints


@given(angle=st.floats(-np.pi, np.pi))
def test_crossed_legs_are_recognized_in_any_orientation(angle: float) -> None:
    keypoints = with_crossed_legs(np.zeros((8, 1, len(Joint), 2)))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    crossed = np.arange(8) % 4 == 0
    np.testing.assert_array_equal(legs_crossed((keypoints - 64)[:, 0] @ rotation), crossed)


def test_people_with_crossed_legs_are_drawn_more_often(folder: Path) -> None:
    store = with_keypoints(folder, with_crossed_legs(keypoints_of(folder)))
    share = share_of_every_fourth(store)
    assert share == pytest.approx(LEGS_CROSSED / (LEGS_CROSSED + 3), abs=0.05)


def test_clips_that_are_too_short_are_not_drawn(folder: Path) -> None:
    with pytest.raises(ValueError, match="no clips of 5 frames"):
        Store(folder).pick_clip(np.random.default_rng(0), 5)


def test_a_folder_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no shard"):
        Store(tmp_path)


@pytest.mark.fault("file", "a damaged shard of training data")
def test_a_damaged_shard_is_logged_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "shard_1.npz").write_bytes(b"not a zip file")
    assert len(Store(folder)) == 24
    assert "shard_1.npz" in caplog.text


def test_new_shards_are_added_by_a_refresh(folder: Path) -> None:
    store = Store(folder)
    shutil.copy(folder / "shard_0.npz", folder / "shard_1.npz")
    assert len(store) == 24
    store.refresh()
    assert len(store) == 48 and len(store.clips) == 12


def test_a_shard_that_was_rendered_again_is_unpacked_again(folder: Path) -> None:
    first = Store(folder)
    assert first.read("rgb", first.frames[0]).any()
    arrays = read_shard(folder / "shard_0.npz", KEYS)
    black = {**arrays, "rgb": np.zeros_like(arrays["rgb"])}
    write_shard(folder / "shard_0.npz", black, {}, store="plain")
    again = Store(folder)
    assert not again.read("rgb", again.frames[0]).any()


def test_several_processes_may_unpack_a_shard_at_once(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store(folder), range(4)))
    assert [len(store) for store in stores] == [24] * 4
    assert sorted(path.name for path in folder.iterdir()) == ["shard_0.arrays", "shard_0.npz"]
