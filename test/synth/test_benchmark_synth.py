# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import argparse
from dataclasses import replace

import pytest

from thfm_ros.commands.benchmark_synth import STAGES, add_arguments, measure, run, table
from thfm_ros.config_option import ConfigError
from thfm_ros.synth.generate import DatasetConfig
from thfm_ros.synth.scene.asset_choices import AssetChoices

CONFIG = DatasetConfig(
    pack="", seed=1, split="all", view="crop", clips=2, shard=2, frames=(2,), size=48, samples=1
)


@pytest.mark.parametrize("people", [1, 2])
def test_the_stages_add_up_to_the_total_time(choices: AssetChoices, people: int) -> None:
    result = measure(CONFIG, choices, people)
    per_clip_ms = 1e3 / result["clips_per_s"]
    assert sum(result[name] for name in STAGES) == pytest.approx(per_clip_ms, rel=0.25)
    assert all(result[name] > 0 for name in STAGES)
    assert result["frames_per_s"] == pytest.approx(2 * result["clips_per_s"])
    text = table(CONFIG, result)
    assert "clips/s" in text and all(name in text for name in STAGES)


def test_larger_images_need_more_disk_space(choices: AssetChoices) -> None:
    small, large = (measure(replace(CONFIG, size=size), choices, 1) for size in (32, 96))
    assert large["mb_per_1000_clips"] > 1.5 * small["mb_per_1000_clips"]


@pytest.mark.parametrize(
    "words", ["--clips 0", "--frames -1", "--size 8", "--samples 0", "--people -1", "--people 5"]
)
def test_numbers_that_make_no_sense_are_refused(words: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ConfigError, match=f"{words}: it must be from"):
        run(parser.parse_args(words.split()))
