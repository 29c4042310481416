# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A checkpoint of a small nano network that is quick to run and to export."""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import nano_card, save_network


def write_small_checkpoint(folder: Path) -> Path:
    """Write small.safetensors: two blocks, a window of 3, images of 64 x 64 and 96 x 64."""
    torch.manual_seed(0)
    network = randomized(NanoNetwork(channels=(8, 16, 24), width=64, depth=2, window=3))
    card = dataclasses.replace(
        nano_card("small", network, "nothing"), crop_size=(64, 64), frame_size=(96, 64)
    )
    path = folder / "small.safetensors"
    save_network(network, card, path)
    return path


def randomized(network: NanoNetwork) -> NanoNetwork:
    """Change the weights that are initialized to 0 or 1, since they would hide errors."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            noise = torch.rand(2, module.num_features, generator=generator)
            module.running_mean, module.running_var = noise[0] - 0.5, noise[1] + 0.5
    for name, value in network.named_parameters():
        if "norm" in name or "scale" in name or "modulate" in name or name.endswith("bias"):
            value.data += 0.2 * torch.randn(value.shape, generator=generator)
    network.heatmap.sharpness.data += 2.0  # peaks that rounding does not move
    return network.eval().requires_grad_(False)
