# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The feature pyramid of the encoder, and the upsampling stages of the decoder.

Encoder (efficientnet.py) and decoder take the place of THFM's video codec. Both work frame by frame
and are therefore causal: earlier frames reach a frame only through the attention between them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Pyramid(NamedTuple):
    """Features of one image at half, a quarter, an eighth and a sixteenth of its size."""

    half: Float[Tensor, "b c2 h2 w2"]
    quarter: Float[Tensor, "b c4 h4 w4"]
    eighth: Float[Tensor, "b c8 h8 w8"]
    sixteenth: Float[Tensor, "b d h16 w16"]


def conv_norm_relu(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm (folded into the convolution for inference), ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        # Low momentum: batches are small, and crops alternate with whole frames.
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a residual connection; initialized as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, momentum=0.03)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.second(self.first(x))))


class Encoder(nn.Module):
    """From RGB in 0..255 to a feature pyramid; trained from scratch."""

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        half, quarter, eighth = channels
        self.at_half = conv_norm_relu(3, half, 2)
        self.at_quarter = nn.Sequential(conv_norm_relu(half, quarter, 2), ResidualBlock(quarter))
        self.at_eighth = nn.Sequential(
            conv_norm_relu(quarter, eighth, 2), ResidualBlock(eighth), ResidualBlock(eighth)
        )
        self.at_sixteenth = nn.Sequential(conv_norm_relu(eighth, width, 2), ResidualBlock(width))

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Pyramid:
        half = self.at_half((rgb - 115.0) / 64.0)  # mean near 0, standard deviation near 1
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        return Pyramid(half, quarter, eighth, self.at_sixteenth(eighth))


class UpStage(nn.Module):
    """Double the resolution by pixel shuffle, then merge the encoder's features of that size."""

    def __init__(self, inputs: int, shuffled: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(inputs, 4 * shuffled, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.merge = conv_norm_relu(shuffled + skip, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([self.shuffle(self.spread(x)), skip], dim=1))
        return merged
