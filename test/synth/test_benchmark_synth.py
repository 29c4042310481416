from dataclasses import replace

import pytest

from thfm_ros.commands.benchmark_synth import STAGES, measure, table
from thfm_ros.synth.generate import Order
from thfm_ros.synth.scene.asset_choices import Choices

ORDER = Order(
    pack="", seed=1, split="all", view="crop", clips=2, shard=2, frames=(2,), size=48, samples=1
)


@pytest.mark.parametrize("people", [1, 2])
def test_the_stages_add_up_to_the_whole(choices: Choices, people: int) -> None:
    result = measure(ORDER, choices, people)
    per_clip_ms = 1e3 / result["clips_per_s"]
    assert sum(result[name] for name in STAGES) == pytest.approx(per_clip_ms, rel=0.25)
    assert all(result[name] > 0 for name in STAGES)
    assert result["frames_per_s"] == pytest.approx(2 * result["clips_per_s"])
    text = table(ORDER, result)
    assert "clips/s" in text and all(name in text for name in STAGES)


def test_more_pixels_cost_more_disk(choices: Choices) -> None:
    small, large = (measure(replace(ORDER, size=size), choices, 1) for size in (32, 96))
    assert large["mb_per_1000_clips"] > 1.5 * small["mb_per_1000_clips"]
