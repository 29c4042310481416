# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Both architectures of nano: streams equal clips, cues, masks, and outputs of the first."""

from collections.abc import Callable

import pytest
import torch
from small_networks import fill_by_formula, first_architecture, second_architecture

from thfm_ros.contract import Task
from thfm_ros.model.card import card_from_json
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import READOUT_CHANNELS, TARGET_MASK_CHANNEL, readout_slices
from thfm_ros.model.weights import load_network, nano_card, save_network

CUES = torch.tensor([[0.1, 0.2, 0.5, 0.9, 1.0], [0.2, 0.2, 0.6, 0.9, 1.0], [0, 0, 0, 0, 0]])


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    return second_architecture()


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.rand(1, 3, 3, 48, 64, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize(
    ("make", "cued"),
    [(first_architecture, False), (second_architecture, False), (second_architecture, True)],
)
def test_a_stream_of_steps_equals_the_whole_clip(
    make: Callable[[], NanoNetwork], clip: torch.Tensor, cued: bool
) -> None:
    network = make()
    whole = network(clip, cue=CUES if cued else None)
    cache = network.empty_cache(1, 48, 64)
    for t in range(3):
        cue = CUES[t : t + 1] if cued else None
        outputs, cache = network.step(clip[:, t], cache, cue=cue)
        for name, value in outputs._asdict().items():
            torch.testing.assert_close(
                value, getattr(whole, name)[t : t + 1], rtol=1e-3, atol=1e-3, msg=name
            )


def test_an_empty_cue_is_no_cue(network: NanoNetwork, clip: torch.Tensor) -> None:
    empty, none = network(clip, cue=torch.zeros(3, 5)), network(clip)
    for one, other in zip(empty, none, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_cue_changes_the_target(network: NanoNetwork, clip: torch.Tensor) -> None:
    cued, none = network(clip, cue=CUES), network(clip)
    assert (cued.heatmaps[0] - none.heatmaps[0]).abs().max() > 1e-3
    assert (cued.presence[0] - none.presence[0]).abs() > 1e-4


def test_the_target_mask_follows_the_channels_of_all_tasks(
    network: NanoNetwork, clip: torch.Tensor
) -> None:
    dense = network(clip).dense
    assert dense.shape == (3, TARGET_MASK_CHANNEL + 1, 24, 32)
    assert first_architecture()(clip).dense.shape[1] == TARGET_MASK_CHANNEL
    network.target_mask.bias.data[-1] += 2.0
    changed = network(clip).dense - dense
    network.target_mask.bias.data[-1] -= 2.0
    torch.testing.assert_close(changed[:, TARGET_MASK_CHANNEL], torch.full((3, 24, 32), 2.0))
    assert not changed[:, :TARGET_MASK_CHANNEL].any()


def test_the_slices_of_the_read_out_cover_its_channels_once() -> None:
    channels = torch.arange(TARGET_MASK_CHANNEL)
    slices = readout_slices()
    assert torch.cat([channels[each] for each in slices.values()]).tolist() == channels.tolist()
    for task, each in slices.items():
        assert each.stop - each.start == READOUT_CHANNELS[task]
    assert slices[Task.SEGMENTATION] == slice(0, 1)


def test_a_network_of_the_second_architecture_survives_its_file(
    network: NanoNetwork, clip: torch.Tensor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "second.safetensors"
    save_network(network, nano_card("second", network, "nothing"), path)
    loaded, card = load_network(path)
    assert card.network["detect_depth"] == loaded.detect_depth == 1
    for name, value in network.state_dict().items():
        stored = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(loaded.state_dict()[name], stored, rtol=0, atol=0)
    assert loaded.detect(clip[0]).isfinite().all()


def test_cards_without_a_detection_size_can_be_read() -> None:
    """The shipped weights were written before whole images had a size of their own."""
    text = nano_card("old", first_architecture(), "nothing").to_json()
    old = text.replace('"detect_size": [320, 240], ', "")
    assert old != text
    assert card_from_json(old, "old").detect_size == (320, 240)


def test_the_first_architecture_has_the_tensors_that_it_had() -> None:
    names = set(first_architecture().state_dict())
    assert not any(name.startswith(("cue.", "detection.", "target_mask.")) for name in names)
    heads = ("tokens", "encoder.at_half.0.weight", "encoder.at_sixteenth.1.second.weight",
             "backbone.blocks.1.query_key_value.weight", "to_eighth.spread.weight",
             "heatmap.sharpness", "lifter.look.weight", "lifter.name", "read_back.value.weight",
             "refine.0.norm.running_var", "readout.prompts")  # fmt: skip
    assert names.issuperset(heads) and len(names) == 206


RECORDED_CHANNELS = [0, 1, 9, 18, 19, 22, 25, 26]
RECORDED = {
    "peaks": [0.1646, 0.4222, 0.1658, 0.2407, 0.7977, 0.1636, 0.8036, 0.1753],
    "positions": [-0.0971, 0.5927, -0.3950, 0.0489, 0.3041, 0.3626, -0.0887, 0.1648, -1.0112],
    "visibility": [-0.6579, 0.6218, 0.4394, 0.5817, -0.8982, 1.0427],
    "log_width": [-0.8836],
    "presence": [0.4547],
    "heatmaps": [-0.3734, -0.2679, -0.8105],
    "dense": [1.5487, -1.1961, 0.2490, -0.6436, 0.6412, 1.5912, -1.3762, -1.2001],
}
"""Outputs for the second frame of two, recorded at commit 0765fb6: one architecture."""


def test_the_first_architecture_computes_what_it_computed() -> None:
    network = NanoNetwork((8, 16, 24), width=64, depth=2, window=3, refine=1).eval()
    fill_by_formula(network)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(48.0), indexing="ij")
    channels = [(x / 7 + y / 11).sin(), (x / 5 - y / 9).sin(), (x * y / 90).cos()]
    image = 127.5 + 127.5 * torch.stack(channels)
    with torch.no_grad():
        outputs = network(torch.stack([image, image.flip(2)])[None])
    second = {name: value[1] for name, value in outputs._asdict().items()}
    second["dense"] = second["dense"][RECORDED_CHANNELS, 3, 5]
    second["heatmaps"] = second["heatmaps"][:3, 4, 5]
    for name, expected in RECORDED.items():
        found = second[name].flatten()[: len(expected)]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-3, atol=1e-3)
