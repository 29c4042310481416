# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The start of a run from a network of the first architecture."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from efficientnet_weights import random_prior
from painted_store import write_data
from small_checkpoint import randomized
from small_networks import first_architecture, second_architecture
from torch.nn import functional

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import TARGET_MASK_CHANNEL
from thfm_ros.model.weights import CheckpointError, load_network, nano_card, save_network
from thfm_ros.training import encoder_transfer
from thfm_ros.training.encoder_transfer import (
    fit_encoder,
    initial_weights,
    level_errors,
    take_over,
)


@pytest.fixture(scope="module")
def source() -> NanoNetwork:
    torch.manual_seed(0)
    return randomized(NanoNetwork((8, 16, 24), width=64, depth=3, window=3, refine=2))


@pytest.fixture
def network(source: NanoNetwork) -> NanoNetwork:
    return initial_weights(source, random_prior(), depth=2, refine=1, detect_depth=1).eval()


def test_all_but_the_encoder_is_copied(source: NanoNetwork, network: NanoNetwork) -> None:
    assert (network.depth, len(network.refine), network.detect_depth) == (2, 1, 1)
    theirs, ours = source.state_dict(), network.state_dict()
    copied = set(theirs) & set(ours) - {name for name in ours if name.startswith("encoder.")}
    assert {name.split(".")[0] for name in copied} == {
        *("tokens", "backbone", "to_eighth", "to_quarter", "heatmap", "lifter"),
        *("joint_visibility", "summary", "read_back", "to_half", "refine", "readout"),
    }
    for name in copied:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    assert "backbone.blocks.2.join.weight" not in ours and "refine.1.norm.weight" not in ours
    for new, old in (("detection.merge", "to_eighth"), ("detection.norm", "backbone.norm")):
        for name, value in theirs.items():
            if name.startswith(f"{old}."):
                assert torch.equal(ours[name.replace(old, new)], value)


def test_the_encoder_is_the_pretrained_one(network: NanoNetwork) -> None:
    weights, prior = network.state_dict(), random_prior()
    assert torch.equal(weights["encoder.stem.0.weight"], prior["_conv_stem.weight"])
    assert torch.equal(
        weights["encoder.blocks.15.project.1.running_var"], prior["_blocks.15._bn2.running_var"]
    )


def test_the_mask_of_the_target_begins_as_that_of_all_people(network: NanoNetwork) -> None:
    network.readout.modulate.weight.data.zero_()
    network.readout.modulate.bias.data.zero_()
    with torch.no_grad():
        dense = network(torch.rand(1, 1, 3, 48, 64) * 255).dense
    torch.testing.assert_close(dense[:, TARGET_MASK_CHANNEL], dense[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "refine", "detect_depth"), [(4, 1, 1), (2, 3, 1), (2, 1, 0), (2, 1, 3)]
)
def test_sizes_that_the_source_does_not_have_are_refused(
    source: NanoNetwork, depth: int, refine: int, detect_depth: int
) -> None:
    with pytest.raises(CheckpointError, match="3 blocks and 2 refining"):
        initial_weights(source, random_prior(), depth, refine, detect_depth)


def test_a_network_of_the_second_architecture_is_no_source() -> None:
    with pytest.raises(CheckpointError, match="pretrained one already"):
        initial_weights(second_architecture(), random_prior(), 2, 1, 1)


@pytest.mark.parametrize("prior_rate_share", [0.0, 0.25])
def test_a_fitted_encoder_matches_the_old_one_better_and_nothing_else_changes(
    source: NanoNetwork,
    network: NanoNetwork,
    prior_rate_share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder_transfer, "LEARNING_RATE", 1e-2)  # few steps, random weights
    monkeypatch.setattr(encoder_transfer, "WARM_UP", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 8, 3, 8, 8, generator=generator) * 255
    batches = [functional.interpolate(each, scale_factor=8, mode="bilinear") for each in coarse]

    def errors() -> torch.Tensor:
        with torch.no_grad():
            pairs = [(network.encoder(batch), source.encoder(batch)) for batch in batches]
        return torch.tensor([level_errors(*pair) for pair in pairs]).mean(0)

    first = errors()
    last = fit_encoder(network, source.encoder, iter(batches * 40), 160, prior_rate_share)
    assert len(last) == 4 and not network.training
    assert (errors() < 0.7 * first).all(), (first, errors())
    changed = {
        name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {name.split(".")[0] for name in changed} == {"encoder"}
    prior = {"stem", "blocks"} if prior_rate_share else set()
    assert {name.split(".")[1] for name in changed} == {"adapters", "deep"} | prior


def test_an_earlier_run_gives_its_encoder_detection_and_cue(network: NanoNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    earlier = randomized(NanoNetwork(**network.sizes()))
    take_over(earlier, network)
    for name, value in network.state_dict().items():
        is_new = name.split(".")[0] in ("encoder", "detection", "cue", "target_mask")
        assert torch.equal(value, earlier.state_dict()[name] if is_new else before[name]), name


def test_an_encoder_of_the_first_architecture_is_not_taken_over(network: NanoNetwork) -> None:
    with pytest.raises(CheckpointError, match="does not fit"):
        take_over(first_architecture(), network)


def test_the_command_writes_a_checkpoint_with_which_a_run_can_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, prior, out = (tmp_path / name for name in ("a.safetensors", "b.pth", "c.safetensors"))
    network = first_architecture()
    save_network(network, nano_card("nano", network, "painted people"), source)
    torch.save(random_prior(), prior)
    monkeypatch.setattr(encoder_transfer, "weights_file", lambda: prior)
    monkeypatch.setattr(
        encoder_transfer,
        "STAGE",
        replace(encoder_transfer.STAGE, batch=2, size=32, detect_size=(64, 48), detect_batch=2),
    )
    command = ["encoder_transfer", "--checkpoint", str(source), "--out", str(out)]
    command += ["--data", str(write_data(tmp_path / "data")), "--steps", "4"]
    sizes = ["--depth", "2", "--refine", "1", "--detect-depth", "1"]
    monkeypatch.setattr(sys, "argv", [*command, *sizes])
    assert encoder_transfer.main() == 0
    loaded, card = load_network(out)
    assert loaded.detect_depth == 1 and "painted people" in card.trained_on
    assert loaded.detect(torch.rand(1, 3, 48, 64) * 255).isfinite().all()
    monkeypatch.setattr(sys, "argv", [*command, "--depth", "9"])
    assert encoder_transfer.main() == 2
