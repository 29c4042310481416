# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The clips of a run: shards, in an order that depends on the seed alone."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
pytest.importorskip("peft", reason="fine-tuning needs thfm_ros[finetune]")

import finetuning_runs as runs

from thfm_ros.contract import PerceptionError
from thfm_ros.finetuning.clips import RenderedClips
from thfm_ros.synth.dataset import ShardError

MADE_UP = [runs.made_up_clip(number) for number in range(5)]


def opened(folder: Path, seed: int = 1) -> RenderedClips:
    return RenderedClips(folder, frames=5, height=480, seed=seed)


def numbers(clips: RenderedClips, count: int) -> list[int]:
    """Which of the made-up clips the first clips of a run are."""
    found = []
    for number in range(count):
        clip = clips.clip(number)
        (which,) = (i for i, each in enumerate(MADE_UP) if (each["rgb"] == clip["rgb"]).all())
        assert all(np.array_equal(MADE_UP[which][n], clip[n], equal_nan=True) for n in clip)
        found.append(which)
    return found


def test_every_clip_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    clips = opened(runs.write_data(tmp_path / "data", shards=(3, 2)))
    assert len(clips) == 5
    order = numbers(clips, 15)
    epochs = [order[:5], order[5:10], order[10:]]
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in epochs)
    assert len({tuple(each) for each in epochs}) > 1


def test_the_order_depends_on_the_seed_alone(tmp_path: Path) -> None:
    data = runs.write_data(tmp_path / "data")
    order = numbers(opened(data), 10)
    assert numbers(opened(data), 10) == order
    assert any(numbers(opened(data, seed), 10) != order for seed in (2, 3))
    assert opened(data).clip(7)["rgb"].tobytes() == MADE_UP[order[7]]["rgb"].tobytes()


def test_the_checksum_is_that_of_all_shards(tmp_path: Path) -> None:
    two = opened(runs.write_data(tmp_path / "a", shards=(1, 1)))
    same = opened(runs.write_data(tmp_path / "b", shards=(1, 1)))
    fewer = opened(runs.write_data(tmp_path / "c", shards=(1,)))
    assert two.checksum == same.checksum != fewer.checksum


def test_a_folder_without_shards_is_refused_with_the_command_that_makes_them(
    tmp_path: Path,
) -> None:
    with pytest.raises(PerceptionError, match=r"no shards.*synth render --frames 5 --size 427"):
        opened(tmp_path)
    with pytest.raises(PerceptionError, match="no shards"):
        opened(tmp_path / "missing")


def test_clips_of_another_length_are_refused(tmp_path: Path) -> None:
    data = runs.write_data(tmp_path / "data", frames=4)
    with pytest.raises(PerceptionError, match="clips of 4 frames; the checkpoint's window is 5"):
        opened(data)


@pytest.mark.fault("file", "a shard for fine-tuning that was damaged, before and during the run")
def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    data = runs.write_data(tmp_path / "data", shards=(1,))
    clips = opened(data)
    (shard,) = data.iterdir()
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ShardError, match=shard.name):
        clips.clip(0)
    with pytest.raises(ShardError, match=shard.name):
        opened(data)
