# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The detection read-out: centres and bounding boxes of all people in a whole image.

One more read-out of the same network ("Input: RGB. Output: People."), at an eighth of the image's
resolution, in the manner of CenterNet (Zhou et al., "Objects as Points", 2019).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.codec import UpStage, conv_norm_relu

STRIDE = 8
"""Pixels per cell of the read-out."""

EDGE_UNIT = 4.0
"""Distance in cells from a cell's centre to an edge of the box if the output for it is 0."""

CENTRE_BIAS = -4.0
"""Initial logit of the centres: one cell in fifty (the prior of the focal loss)."""


class DetectionHead(nn.Module):
    """From latent tokens and the encoder's features to ``[b 5 h/8 w/8]``.

    Channel 0: logit of "this cell has the centre of a person's visible bounding box". Channels 1
    to 4: ln of the distances from the cell's centre to the left, top, right and bottom edge of
    that box, in units of EDGE_UNIT cells.
    """

    def __init__(self, width: int, eighth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.merge = UpStage(width, 64, eighth, 96)
        self.mix = conv_norm_relu(96, 64)
        self.read = nn.Conv2d(64, 5, 1)
        self.read.weight.data *= 0.3
        assert self.read.bias is not None
        self.read.bias.data = torch.tensor([CENTRE_BIAS, 0.0, 0.0, 0.0, 0.0])

    def forward(
        self, latent: Float[Tensor, "b d h16 w16"], eighth: Float[Tensor, "b c h8 w8"]
    ) -> Float[Tensor, "b 5 h8 w8"]:
        outputs: Tensor = self.read(self.mix(self.merge(latent, eighth)))
        return outputs
