# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The detection read-out: its cells, its first outputs, and what it depends on."""

import copy

import pytest
import torch
from small_networks import small_network

from thfm_ros.model.detection import CENTRE_BIAS, STRIDE, DetectionHead
from thfm_ros.model.network import NanoNetwork


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    return small_network()


def test_there_is_one_cell_per_stride(network: NanoNetwork) -> None:
    outputs = network.detect(torch.rand(2, 3, 48, 96) * 255)
    assert outputs.shape == (2, 5, 48 // STRIDE, 96 // STRIDE)


def test_at_first_hardly_any_cell_has_a_person() -> None:
    torch.manual_seed(0)
    head = DetectionHead(64, 24).train()
    outputs = head(torch.randn(4, 64, 4, 6), torch.randn(4, 24, 8, 12))
    assert outputs[:, 0].mean().item() == pytest.approx(CENTRE_BIAS, abs=0.3)
    assert outputs[:, 0].sigmoid().max() < 0.2
    assert outputs[:, 1:].mean().item() == pytest.approx(0, abs=0.3)


def test_only_the_first_blocks_take_part(network: NanoNetwork) -> None:
    image = torch.rand(1, 3, 48, 64) * 255
    before = network.detect(image)
    for block, changes in ((0, True), (1, False)):
        changed = copy.deepcopy(network)
        changed.state_dict()[f"backbone.blocks.{block}.widen.weight"].mul_(-1)
        assert (changed.detect(image) != before).any().item() == changes


def test_the_learnable_tokens_and_their_outputs_take_no_part(network: NanoNetwork) -> None:
    image = torch.rand(1, 3, 48, 64) * 255
    before = network.detect(image)
    changed = copy.deepcopy(network)
    changed.tokens.data += 1
    changed.cue.inside.data += 1
    changed.to_eighth.spread.weight.data *= 2  # the decoder's own stage
    torch.testing.assert_close(changed.detect(image), before, rtol=0, atol=0)
