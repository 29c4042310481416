# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A grown network begins with the same answers, and then learns with what was added."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from painted_store import write_data

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import nano_card, parameters_of, save_network
from thfm_ros.training.network_growth import grown_network
from thfm_ros.training.recipe import TrainingRecipe, TrainingStage
from thfm_ros.training.trainer import Trainer

SMALL = {"channels": (8, 8, 8), "width": 32, "depth": 1, "refine": 0, "detect_depth": 1}
STAGE = TrainingStage(
    name="tiny", steps=2, batch=2, size=32, frame_size=(48, 32), lift_batch=4, depth=1, muon=True
)


def test_a_grown_network_gives_the_same_answers() -> None:
    torch.manual_seed(0)
    network = NanoNetwork(**SMALL).eval()  # type: ignore[arg-type]
    larger = grown_network(network, depth=3, refine=2, seed=1)
    clip = torch.rand(1, 3, 3, 32, 48) * 255
    assert parameters_of(larger) > parameters_of(network)
    with torch.no_grad():
        for name, value in network(clip)._asdict().items():
            torch.testing.assert_close(getattr(larger(clip), name), value, rtol=0, atol=0)


def test_a_network_does_not_shrink() -> None:
    network = NanoNetwork(**{**SMALL, "refine": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not shrink to 1 and 0"):
        grown_network(network, depth=1, refine=0, seed=1)


def test_the_average_keeps_what_it_had_and_takes_the_rest_from_the_grown_network() -> None:
    network, average = (NanoNetwork(**SMALL) for _ in range(2))  # type: ignore[arg-type]
    larger, after_average = (
        grown_network(each, depth=2, refine=1, seed=1) for each in (network, average)
    )
    after = after_average.state_dict()
    for name, value in average.state_dict().items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    torch.testing.assert_close(
        after["backbone.blocks.1.widen.weight"],
        larger.state_dict()["backbone.blocks.1.widen.weight"],
    )


def test_a_run_grows_between_stages_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    stages = (STAGE, replace(STAGE, name="larger", steps=4, depth=2, refine=1))
    recipe = TrainingRecipe(stages=stages, warm_up=1, detect_depth=1)
    first_stage = replace(recipe, stages=stages[:1])
    network, start = NanoNetwork(**SMALL), tmp_path / "start.safetensors"  # type: ignore[arg-type]
    save_network(network, nano_card("start", network, "nothing"), start)
    whole = Trainer(tmp_path / "whole", recipe, data, "test", begin_from=start)
    whole.run(1e9, 1e9, workers=0, heldout=2)
    assert (whole.network.depth, len(whole.network.refine)) == (2, 1)
    assert whole.network.state_dict()["backbone.blocks.1.join.weight"].any()

    parts = Trainer(tmp_path / "parts", first_stage, data, "test", begin_from=start)
    parts.run(1e9, 1e9, workers=0, heldout=2)
    third = Trainer(tmp_path / "parts", recipe, data, "test")
    third.run(0.0, 1e9, workers=0, heldout=2)  # out of time after the step that grows
    assert third.step == 3
    last = Trainer(tmp_path / "parts", recipe, data, "test")
    last.run(1e9, 1e9, workers=0, heldout=2)
    for a, b in zip(whole.network.parameters(), last.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(whole.average.parameters(), last.average.parameters(), strict=True):
        torch.testing.assert_close(a, b)
