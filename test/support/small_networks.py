# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Small nano networks of both architectures, with weights that hide no error."""

import math

import numpy as np
import torch
from small_checkpoint import randomized
from torch import nn

from thfm_ros.model.network import NanoNetwork


def first_architecture() -> NanoNetwork:
    """Two blocks, a window of 3, one refining block; without detection and target cue."""
    torch.manual_seed(0)
    return randomized(NanoNetwork((8, 16, 24), width=64, depth=2, window=3, refine=1))


def second_architecture() -> NanoNetwork:
    """The same sizes with an EfficientNet encoder, and detection after the first block."""
    torch.manual_seed(0)
    network = NanoNetwork((8, 16, 24), width=64, depth=2, window=3, refine=1, detect_depth=1)
    for value in network.cue.parameters():  # initialized to zero, which would hide the cue
        nn.init.normal_(value, std=0.3)
    return randomized(network)


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
