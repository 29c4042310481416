# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A small nano network, and weights that hide no error."""

import math

import numpy as np
import torch
from torch import nn

from thfm_ros.model.network import NanoNetwork


def small_network() -> NanoNetwork:
    """Two blocks, a window of 3, one refining block; detection after the first block."""
    torch.manual_seed(0)
    return randomized(
        NanoNetwork((8, 16, 24), width=64, depth=2, window=3, refine=1, detect_depth=1)
    )


def randomized(network: NanoNetwork) -> NanoNetwork:
    """Change the weights that are initialized to 0 or 1, since they would hide errors."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.named_parameters():
        if "norm" in name or "scale" in name or "modulate" in name or name.endswith("bias"):
            value.data += 0.2 * torch.randn(value.shape, generator=generator)
    for value in network.cue.parameters():
        nn.init.normal_(value, std=0.3, generator=generator)
    network.heatmap.sharpness.data += 2.0  # peaks that rounding does not move
    normalize(network.requires_grad_(False), torch.rand(4, 3, 64, 96, generator=generator) * 255)
    return network.eval()


def normalize(network: NanoNetwork, images: torch.Tensor) -> None:
    """Give batch norms the statistics of ``images``: without them a deep encoder with random
    weights lets nothing of an image through."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train().detect(images)
    network(images[:, None])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def fill_by_formula(network: nn.Module) -> None:
    """Set parameters to sine waves, which no random generator of PyTorch can change.

    They are scaled to preserve the signals' magnitude. Vectors oscillate around 1 in norms and
    scales, and around 0 elsewhere.
    """
    for number, (name, value) in enumerate(sorted(network.named_parameters())):
        inputs = value[0].numel() if value.ndim > 1 else 100
        wave = np.sin(np.arange(1, value.numel() + 1) ** 1.5 * (1.0 + 0.1 * number))
        scaled = torch.from_numpy(wave * math.sqrt(2.0 / inputs)).float().view(value.shape)
        is_scale = value.ndim == 1 and not name.endswith("bias")
        value.data = scaled + 1 if is_scale else scaled
