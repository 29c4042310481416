# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The target cue: a bounding box that tells the network which person of a crop is the target."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TargetCue(nn.Module):
    """Embeds the target's box: inside or outside of it for patches, its edges for other tokens.

    A cue is ``[x_min, y_min, x_max, y_max, given]``: the box in shares of the image's width and
    height, and 1; or zeros for no cue, when the target is the person in the middle.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Parameter(torch.zeros(width))
        self.outside = nn.Parameter(torch.zeros(width))
        self.told = nn.Linear(4, width)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)

    def forward(
        self, cue: Float[Tensor, "b 5"], rows: int, columns: int
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b 1 d"]]:
        """What to add to ``n = rows * columns`` patches, and to each learnable token."""
        box, given = cue[:, :4], cue[:, 4:, None]
        x = ((torch.arange(columns) + 0.5) / columns).to(cue)
        y = ((torch.arange(rows) + 0.5) / rows).to(cue)
        across = soft_interval(x, box[:, 0:1], box[:, 2:3], columns)
        down = soft_interval(y, box[:, 1:2], box[:, 3:4], rows)
        inside = (down[:, :, None] * across[:, None, :]).flatten(1)[..., None]
        patches = inside * self.inside + (1 - inside) * self.outside
        if rows != columns:  # a square crop's graph has no operator for it
            box = in_square(box.unflatten(1, (2, 2)), rows / columns).flatten(1)
        return patches * given, self.told(2 * box - 1)[:, None] * given


def soft_interval(
    x: Float[Tensor, " n"], low: Float[Tensor, "b 1"], high: Float[Tensor, "b 1"], cells: int
) -> Float[Tensor, "b n"]:
    """1 between ``low`` and ``high``, 0 outside, with transitions about a cell wide."""
    return torch.sigmoid((x - low) * 4 * cells) * torch.sigmoid((high - x) * 4 * cells)


def in_square(points: Float[Tensor, "*n 2"], aspect: float) -> Float[Tensor, "*n 2"]:
    """Points of an image that is the middle of a square one (`model.crop_shapes`), in that square.

    Args:
        points: x and y in shares of the image's width and height.
        aspect: the image's height over its width.
    """
    if aspect == 1:
        return points
    share = torch.tensor([1 / max(aspect, 1), min(aspect, 1)]).to(points)
    return points * share + (1 - share) / 2
