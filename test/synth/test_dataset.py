# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Shards: round trips, damaged files, other formats, and files that cannot be written."""

import logging
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.synth.dataset import ShardError, read_about, read_shard, read_shards, write_shard


def random_arrays(frames: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    size = (frames, 20, 28)
    smooth = np.cumsum(rng.integers(-2, 3, (*size, 3)), axis=2).astype(np.uint8)
    return {
        "rgb": smooth,
        "depth_m": rng.uniform(0, 9, size).astype(np.float16),
        "normals": rng.integers(-127, 128, (*size, 3)).astype(np.int8),
        "parts": rng.integers(0, 17, size).astype(np.uint8),
        "instances": rng.integers(0, 3, size).astype(np.uint8),
        "dense_pose_uv": rng.integers(-127, 128, (*size, 3)).astype(np.int8),
        "flow": rng.normal(0, 4, (*size, 2)).astype(np.float16),
        "depth_flow_m": rng.normal(0, 0.1, size).astype(np.float16),
        "keypoints2d": np.full((frames, 4, 35, 2), np.nan, np.float32),
        "people": np.ones(frames, np.uint8),
    }


@pytest.mark.parametrize("store", ["small", "lossless", "plain"])
def test_a_shard_is_read_as_it_was_written(tmp_path: Path, store: str) -> None:
    arrays = random_arrays()
    write_shard(tmp_path / "a.npz", arrays, {"seed": 7}, store=store)
    back = read_shard(tmp_path / "a.npz")
    assert set(back) == set(arrays)
    for name, values in arrays.items():
        assert back[name].dtype == values.dtype and back[name].shape == values.shape
        if name == "rgb" and store == "small":  # JPEG
            assert np.abs(back[name].astype(int) - values).mean() < 6
        else:
            np.testing.assert_array_equal(back[name], values)
    assert read_about(tmp_path / "a.npz")["seed"] == 7


def test_only_the_requested_arrays_are_decoded(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.npz", random_arrays(), {})
    assert set(read_shard(tmp_path / "a.npz", ("parts", "people"))) == {"parts", "people"}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_shard_is_reported_and_the_others_are_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.npz", "b.npz"):
        write_shard(tmp_path / name, random_arrays(), {}, store="plain")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    match damage:
        case "truncated":
            data = data[: len(data) // 2]
        case "flipped":
            data[len(data) // 2] ^= 0xFF
        case "empty":
            data = bytearray()
        case "foreign":
            np.savez(tmp_path / "c", x=np.zeros(3))
            data = bytearray((tmp_path / "c.npz").read_bytes())
            (tmp_path / "c.npz").unlink()
    (tmp_path / "a.npz").write_bytes(data)
    with caplog.at_level(logging.WARNING):
        read = [path.name for path, _ in read_shards(tmp_path)]
    assert read == ["b.npz"] and "a.npz" in caplog.text


def test_another_format_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thfm_ros.synth.dataset.FORMAT", 99)
    write_shard(tmp_path / "a.npz", random_arrays(), {})
    monkeypatch.undo()
    with pytest.raises(ShardError, match=r"format 99; .* reads format 2\. Render it again"):
        read_shard(tmp_path / "a.npz")


def test_a_full_disk_leaves_no_partial_shard_and_the_error_gives_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thfm_ros.synth.dataset.np.savez", full)
    with pytest.raises(ShardError, match=r"No space left on device.*Free some space.*same command"):
        write_shard(tmp_path / "a.npz", random_arrays(), {})
    assert list(tmp_path.iterdir()) == []
