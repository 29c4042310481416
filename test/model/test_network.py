# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""nano: streams equal clips, cues, masks, files, and outputs that must not change."""

import pytest
import torch
from small_networks import fill_by_formula, small_network

from thfm_ros.contract import Task
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import READOUT_CHANNELS, TARGET_MASK_CHANNEL, readout_slices
from thfm_ros.model.weights import load_network, nano_card, save_network

CUES = torch.tensor([[0.1, 0.2, 0.5, 0.9, 1.0], [0.2, 0.2, 0.6, 0.9, 1.0], [0, 0, 0, 0, 0]])


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    return small_network()


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.rand(1, 3, 3, 48, 64, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("cued", [True, False])
def test_a_stream_of_steps_equals_the_whole_clip(
    network: NanoNetwork, clip: torch.Tensor, cued: bool
) -> None:
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


def test_a_network_survives_its_file(
    network: NanoNetwork, clip: torch.Tensor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_network(network, nano_card("small", network, "nothing"), path)
    loaded, card = load_network(path)
    assert card.network["detect_depth"] == loaded.detect_depth == 1
    for name, value in network.state_dict().items():
        stored = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(loaded.state_dict()[name], stored, rtol=0, atol=0)
    assert loaded.detect(clip[0]).isfinite().all()


def test_the_tensors_of_checkpoints_keep_their_names() -> None:
    names = set(small_network().state_dict())
    heads = ("tokens", "encoder.stem.0.weight", "encoder.blocks.1.depthwise.0.weight",
             "encoder.adapters.3.1.running_var", "encoder.deep.bias",
             "encoder.scratch.at_eighth.1.norm.running_var", "encoder.shares.3", "cue.told.weight",
             "target_mask.bias", "detection.merge.spread.weight", "detection.read.bias",
             "backbone.blocks.1.query_key_value.weight", "to_eighth.spread.weight",
             "heatmap.sharpness", "lifter.look.weight", "lifter.name", "read_back.value.weight",
             "refine.0.norm.running_var", "readout.prompts")  # fmt: skip
    assert names.issuperset(heads)


RECORDED_CHANNELS = [0, 1, 9, 18, 19, 22, 25, 26, TARGET_MASK_CHANNEL]
RECORDED = {
    "peaks": [0.1166, 0.2914, 0.1214, 0.2903, 0.119, 0.2886, 0.1188, 0.2904],
    "positions": [-0.0709, -0.0504, -0.0594, 0.3174, 0.0676, 0.1215, -0.0132, -0.1834, -0.008],
    "visibility": [0.9047, -0.2024, 0.8605, -0.53, 0.5053, -0.5363],
    "log_width": [0.8472],
    "presence": [-0.3264],
    "heatmaps": [0.1382, 0.1907, 0.249],
    "dense": [0.6654, -0.3785, -0.4435, 0.9107, -0.3158, 0.3636, -0.6885, 2.265, -4.6347],
    "detections": [0.2693, -0.1503, 0.2906, -0.3331, -0.3718],
}
"""Outputs for the second frame of two with cues, and detections in the first."""


def test_the_network_computes_what_it_computed() -> None:
    network = NanoNetwork((8, 16, 24), width=64, depth=2, window=3, refine=1, detect_depth=1).eval()
    fill_by_formula(network)
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    channels = [(x / 7 + y / 11).sin(), (x / 5 - y / 9).sin(), (x * y / 90).cos()]
    image = 127.5 + 127.5 * torch.stack(channels)
    with torch.no_grad():
        outputs = network(torch.stack([image, image.flip(2)])[None], cue=CUES[:2])
        detections = network.detect(image[None])
    second = {name: value[1] for name, value in outputs._asdict().items()}
    second["dense"] = second["dense"][RECORDED_CHANNELS, 3, 5]
    second["heatmaps"] = second["heatmaps"][:3, 4, 5]
    second["detections"] = detections[0, :, 1, 2]
    for name, expected in RECORDED.items():
        found = second[name].flatten()[: len(expected)]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-3, atol=1e-3)
