# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which shards of a data set are rendered when the command is repeated with other options."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.synth.dataset import ShardError, write_shard
from thfm_ros.synth.generate import DatasetConfig, missing_shards

CONFIG = DatasetConfig(
    pack="", seed=1, split="all", view="crop", clips=100, shard=64, frames=(2,), size=32, samples=1
)


def write(config: DatasetConfig, folder: Path) -> None:
    """All shards of a data set, without images."""
    for number in range(config.shards):
        about = {name: value for name, value in asdict(config).items() if name != "pack"}
        write_shard(config.path(folder, number), {"scene": np.zeros(1, np.int32)}, about)


@pytest.mark.parametrize(
    ("clips", "numbers"),
    [
        (100, []),
        (101, [1]),  # the last shard has 36 of 37 clips
        (128, [1]),
        (129, [1, 2]),
        (300, [1, 2, 3, 4]),
    ],
)
def test_with_more_clips_the_last_shard_is_rendered_again_and_more_follow(
    clips: int, numbers: list[int], tmp_path: Path
) -> None:
    write(CONFIG, tmp_path)
    assert missing_shards(replace(CONFIG, clips=clips), tmp_path) == numbers


@pytest.mark.parametrize(("clips", "numbers"), [(10, []), (11, [0]), (64, [0]), (65, [0, 1])])
def test_the_only_shard_of_a_small_data_set_can_grow(
    clips: int, numbers: list[int], tmp_path: Path
) -> None:
    write(replace(CONFIG, clips=10, shard=10), tmp_path)  # as the command makes it with --shard 64
    config = replace(CONFIG, clips=clips, shard=min(64, clips))
    assert missing_shards(config, tmp_path) == numbers


@pytest.mark.parametrize("changes", [{"shard": 32}, {"shard": 128}, {"size": 64}])
def test_other_options_are_refused(changes: dict[str, int], tmp_path: Path) -> None:
    write(CONFIG, tmp_path)
    with pytest.raises(ShardError, match=f"another {next(iter(changes))}"):
        missing_shards(replace(CONFIG, **changes), tmp_path)  # type: ignore[arg-type]
