# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Weights computed by a formula, so that reference outputs need no file of weights."""

import math

import numpy as np
import torch
from torch import Tensor, nn


def fill(network: nn.Module) -> dict[str, Tensor]:
    """A state dict of sine waves for ``network``, scaled to preserve the signals' magnitude."""
    state = {}
    for number, (name, value) in enumerate(sorted(network.state_dict().items())):
        inputs = value[0].numel() if value.ndim > 1 else 4 * len(value)
        wave = np.sin(np.arange(1, value.numel() + 1) ** 1.5 * (1.0 + 0.1 * number))
        scaled = wave * math.sqrt(2.0 / inputs)
        state[name] = torch.from_numpy(scaled.reshape(value.shape).astype(np.float32))
    return state
