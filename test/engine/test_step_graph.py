# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The graphs that engines compile compute what the network computes, with and without a cue."""

import dataclasses

import pytest
import torch
from small_networks import small_network

from thfm_ros.engine.export import example_inputs
from thfm_ros.engine.step_graph import (
    DetectionGraph,
    StepGraph,
    fold_batch_norms,
    order_shuffled_channels,
    output_list,
)
from thfm_ros.engine.stream import StepTables
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import nano_card

SIZE = (48, 80)  # width, height; the height has an odd number of patches
CUES = ([0.1, 0.2, 0.6, 0.9, 1.0], [0.3, -0.1, 1.1, 0.8, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    return small_network()


@pytest.fixture(scope="module")
def card(network: NanoNetwork) -> ModelCard:
    return dataclasses.replace(nano_card("small", network, "nothing"), crop_size=SIZE)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (5, SIZE[1], SIZE[0], 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def pixels(image: torch.Tensor) -> torch.Tensor:
    return image.permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("cue", CUES, ids=["a box", "a box beyond the crop", "no box"])
@torch.no_grad()
def test_a_stream_of_graph_steps_equals_that_of_the_network(
    network: NanoNetwork, card: ModelCard, images: torch.Tensor, cue: list[float]
) -> None:
    graph = StepGraph(network, SIZE, dense=True)
    _, _, _, _, *past = example_inputs(card)
    tables = StepTables(past[0].shape[1], card.window)
    cache = network.empty_cache(1, SIZE[1], SIZE[0])
    for number, image in enumerate(images):
        rotation, mask = tables.time_rotation(number), tables.attention_mask(number)
        found = graph(
            image, torch.tensor(cue), torch.from_numpy(rotation), torch.from_numpy(mask), *past
        )
        outputs, cache = network.step(pixels(image), cache, True, torch.tensor([cue]))
        expected = output_list(outputs)
        for one, other in zip(found, expected, strict=False):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        present = found[len(expected) :]
        past = [*past[len(present) :], *present]


@torch.no_grad()
def test_the_detection_graph_equals_the_detection_of_the_network(
    network: NanoNetwork, images: torch.Tensor
) -> None:
    graph = DetectionGraph(network, SIZE)
    for image in images:
        (found,) = graph(image)
        torch.testing.assert_close(found, network.detect(pixels(image))[0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_folded_batch_norms_do_not_change_the_encoder(
    network: NanoNetwork, images: torch.Tensor
) -> None:
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    for one, other in zip(
        folded.encoder(pixels(images[0])), network.encoder(pixels(images[0])), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_up_stages_with_channels_ordered_by_pixel_have_the_same_outputs(
    network: NanoNetwork,
) -> None:
    ordered = order_shuffled_channels(fold_batch_norms(network))
    x, skip = torch.randn(2, 64 + 32, 5, 7), torch.randn(2, network.channels[0], 10, 14)
    expected = network.to_half.shuffle(network.to_half.spread(x))
    torch.testing.assert_close(ordered.to_half.shuffle(ordered.to_half.spread(x)), expected)
    torch.testing.assert_close(
        ordered.to_half(x, skip), network.to_half(x, skip), rtol=1e-4, atol=1e-4
    )
