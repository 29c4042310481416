# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""nano's encoder: a pretrained one and one trained from scratch, mixed channel by channel."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.codec import Encoder, Pyramid
from thfm_ros.model.efficientnet import EfficientNetEncoder


class MixedEncoder(EfficientNetEncoder):
    """The pretrained encoder beside one that was trained from scratch on rendered people.

    The first recognizes things that are never rendered, the second has the finer features for
    joints and outlines. ``shares`` are the shares of the pretrained features, 0 to 1, one per
    channel of each level of the pyramid; they are trained.
    """

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__(channels, width)
        self.scratch = Encoder(channels, width)
        self.shares = nn.ParameterList(
            [nn.Parameter(torch.full((count, 1, 1), 0.5)) for count in (*channels, width)]
        )

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """The mixed features; for crops."""
        levels = zip(self.scratch(rgb), self.pretrained(rgb), self.shares, strict=True)
        return Pyramid(*(own + share * (prior - own) for own, prior, share in levels))

    def pretrained(self, rgb: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """The pretrained encoder's features alone; for the detection of people in whole images."""
        return super().forward(rgb)
