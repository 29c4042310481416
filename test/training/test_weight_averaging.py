# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Several ends of one run become one checkpoint."""

from pathlib import Path

import pytest
import torch

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import CheckpointError, load_network, nano_card, save_network
from thfm_ros.training.weight_averaging import average


def an_end(path: Path, seed: int, depth: int = 2) -> Path:
    torch.manual_seed(seed)
    network = NanoNetwork(channels=(8, 16, 24), width=64, depth=depth, window=3)
    save_network(network, nano_card("nano", network, f"run {seed}"), path)
    return path


def test_every_weight_is_the_mean_of_its_namesakes(tmp_path: Path) -> None:
    ends = [an_end(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    average(ends, tmp_path / "mean.safetensors")
    found, card = load_network(tmp_path / "mean.safetensors")
    states = [load_network(end)[0].state_dict() for end in ends]
    for name, value in found.state_dict().items():
        truth = sum(state[name] for state in states) / 3
        truth = truth.to(value.dtype)  # some are tables of whole numbers
        torch.testing.assert_close(value, truth, rtol=2e-3, atol=1e-6)  # half precision
    assert card.trained_on == "run 0"


def test_networks_of_different_sizes_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    small = an_end(tmp_path / "small.safetensors", 0)
    large = an_end(tmp_path / "large.safetensors", 1, depth=3)
    with pytest.raises(CheckpointError, match="not the same network"):
        average([small, large], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
