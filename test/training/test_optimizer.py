# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Optimizers: which weights are updated by which, and with which learning rate."""

import pytest
import torch
from small_networks import small_network

from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.optimizer import OUTER_LAYERS, Optimizer
from thfm_ros.training.prior import is_pretrained


def trainable(network: NanoNetwork) -> NanoNetwork:
    return network.requires_grad_(True).train()


def updates(network: NanoNetwork, optimizer: Optimizer) -> dict[str, float]:
    """Largest change of each weight in a step whose gradients are all 1."""
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    for value in network.parameters():
        value.grad = torch.ones_like(value)
    optimizer.step()
    return {
        name: (value - before[name]).abs().max().item()
        for name, value in network.named_parameters()
    }


@pytest.mark.parametrize("muon", [False, True])
def test_pretrained_layers_learn_at_their_share_of_the_rate(muon: bool) -> None:
    network = trainable(small_network())
    optimizer = Optimizer(network, muon=muon)
    optimizer.set_learning_rate(1e-3, prior_share=0.2)
    for name, change in updates(network, optimizer).items():
        if is_pretrained(name):  # without weight decay, the first step of Adam is the rate
            assert change == pytest.approx(2e-4, rel=0.02), name
        elif not muon:
            assert change == pytest.approx(1e-3, rel=0.1), name
        else:
            assert 0 < change < 0.02, name


def test_only_stem_and_blocks_of_the_encoder_are_pretrained() -> None:
    names = [name for name, _ in small_network().named_parameters()]
    pretrained = {name for name in names if is_pretrained(name)}
    assert {name.split(".")[1] for name in pretrained} == {"stem", "blocks"}
    assert not is_pretrained("encoder.adapters.0.0.weight")
    assert not is_pretrained("backbone.blocks.0.join.weight")


def test_muon_updates_inner_matrices_only() -> None:
    network = trainable(small_network())
    optimizer = Optimizer(network, muon=True)
    parts = optimizer.state_dict()
    assert set(parts) == {"adamw", "prior", "muon"}
    counts = {
        name: sum(len(group["params"]) for group in part["param_groups"])
        for name, part in parts.items()
    }
    inner = [
        name
        for name, value in network.named_parameters()
        if value.ndim > 1 and not name.startswith(OUTER_LAYERS) and not is_pretrained(name)
    ]
    assert counts["muon"] == len(inner)
    assert sum(counts.values()) == len(list(network.parameters()))


@pytest.mark.parametrize("muon", [False, True])
def test_a_restored_state_continues_with_the_same_updates(muon: bool) -> None:
    networks = [trainable(small_network()) for _ in range(2)]
    optimizers = [Optimizer(network, muon=muon) for network in networks]
    for optimizer in optimizers:
        optimizer.set_learning_rate(1e-3, 0.2)
    updates(networks[0], optimizers[0])
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers[1].load_state_dict(optimizers[0].state_dict())
    for network, optimizer in zip(networks, optimizers, strict=True):
        optimizer.set_learning_rate(1e-3, 0.2)
        updates(network, optimizer)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        # Muon's products in bfloat16 depend on the alignment of the memory.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
