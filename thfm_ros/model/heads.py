"""Learnable tokens for sparse outputs: where a joint is in the image, and where in space.

A coordinate regressed from a token collapses to the mean pose; the product of a token with the
feature map does not, because a two-peaked belief stays two peaks. So a joint token becomes a
heatmap first; then a small lifter turns the 2D joints into space, and the decoder reads depth
and sides back from the lifted joints.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.attention import attend

PEAK_RADIUS = 2
"""Cells beside the peak that share in its position: the mean over the whole map would fall
between two candidates, on neither."""


class Joints2d(NamedTuple):
    """Joints in the image."""

    heatmaps: Float[Tensor, "b k gh gw"]  # logits over the cells
    peaks: Float[Tensor, "b k 2"]  # x, y in 0..1 of the image's width and height
    mass: Float[Tensor, "b k"]  # share of the belief within PEAK_RADIUS of the peak


def cell_centres(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Centres of the cells, y then x, in 0..1 of the image."""
    return (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns


def find_peaks(heatmaps: Float[Tensor, "b k gh gw"]) -> Joints2d:
    """The strongest cell of every heatmap, refined by the cells around it."""
    rows, columns = heatmaps.shape[-2:]
    belief = heatmaps.flatten(2).softmax(-1)
    peak = belief.argmax(-1, keepdim=True)
    y, x = cell_centres(rows, columns)
    y_of, x_of = (a.to(belief) for a in (y.repeat_interleave(columns), x.repeat(rows)))
    index = torch.arange(rows * columns, device=belief.device)
    down = (index // columns)[None, None] - peak // columns
    right = (index % columns)[None, None] - peak % columns
    near = belief * ((down.abs() <= PEAK_RADIUS) & (right.abs() <= PEAK_RADIUS))
    mass = near.sum(-1)
    peaks = torch.stack([(near * x_of).sum(-1), (near * y_of).sum(-1)], -1) / mass[..., None]
    return Joints2d(heatmaps, peaks, mass)


class HeatmapReadout(nn.Module):
    """Token times feature: the place where a joint token and the image agree."""

    def __init__(self, width: int, features: int, channels: int = 64) -> None:
        super().__init__()
        self.query = nn.Linear(width, channels)
        self.key = nn.Conv2d(features, channels, 1)
        self.sharpness = nn.Parameter(torch.zeros(()))
        self.scale = channels**-0.5

    def forward(self, tokens: Float[Tensor, "b k d"], features: Tensor) -> Joints2d:
        keys = self.key(features)
        heat = self.query(tokens) @ keys.flatten(2) * (self.sharpness.exp() * self.scale)
        if heat.dtype == torch.bfloat16:  # trained so; a place of 8 bits would be half a cell off
            heat = heat.float()
        return find_peaks(heat.unflatten(2, keys.shape[2:]))


class LiftBlock(nn.Module):
    """Attention among the joints of one body."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        b, k, _ = x.shape
        parts = self.query_key_value(self.norm_attention(x)).view(b, k, 3, self.heads, -1)
        q, key, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.join(attend(q, key, v, None))
        thought: Tensor = x + self.feed(x)
        return thought


class Lifter(nn.Module):
    """From joints in the image to joints in space.

    It can be taught by motion capture alone (``seen`` absent), since lifting a 2D skeleton needs
    no pixels; the features then tell what 2D leaves open, above all front and back.
    """

    def __init__(self, joints: int, features: int, root: tuple[int, int], width: int = 96) -> None:
        super().__init__()
        self.root = root  # the two hips: their middle is the origin of the positions
        self.place = nn.Sequential(nn.Linear(5, width), nn.GELU(), nn.Linear(width, width))
        self.look = nn.Linear(features, width)
        self.name = nn.Parameter(torch.randn(joints, width) * 0.3)
        self.blocks = nn.ModuleList([LiftBlock(width, 4) for _ in range(3)])
        self.space = nn.Linear(width, 3)
        nn.init.zeros_(self.space.bias)
        self.space.weight.data *= 0.1
        self.width = width

    def forward(
        self,
        peaks: Float[Tensor, "b k 2"],
        mass: Float[Tensor, "b k"],
        log_width: Float[Tensor, " b"],
        aspect: float,
        seen: Float[Tensor, "b k f"] | None,
    ) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k w"]]:
        """Lift.

        Args:
            peaks: joints in 0..1 of the image.
            mass: how sure each of them is, 0..1.
            log_width: ln of the metres that the image's width spans at the root's depth.
            aspect: height of the image over its width.
            seen: features of each joint, or None when only the skeleton is known.

        Returns:
            metres from the middle of the hips, and what was thought about each joint.
        """
        in_widths = torch.stack([peaks[..., 0], peaks[..., 1] * aspect], -1)
        root = in_widths[:, list(self.root)].mean(1, keepdim=True)
        flat = (in_widths - root) * log_width.clamp(-2.0, 3.0).exp()[:, None, None]
        x = self.name + self.place(torch.cat([flat, in_widths - 0.5, mass[..., None]], -1))
        if seen is not None:
            x = x + self.look(seen)
        for block in self.blocks:
            x = block(x)
        offset = self.space(x)
        # The image already says where a joint lies across the axis; only the rest is learned.
        positions = torch.cat([flat + offset[..., :2], offset[..., 2:]], -1)
        middle = positions[:, list(self.root)].mean(1, keepdim=True)
        return positions - middle, x


class ReadBack(nn.Module):
    """Every pixel asks the joints: which of you am I part of, and how deep are you?"""

    def __init__(self, width: int, lifted: int, features: int, channels: int = 32) -> None:
        super().__init__()
        self.query = nn.Conv2d(features, channels, 1)
        self.key = nn.Linear(width + lifted, channels)
        self.value = nn.Linear(width + lifted, channels)
        self.scale = channels**-0.5

    def forward(
        self, features: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b k d"], depths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Answers, as a feature map and as a depth in metres from the root, ``[b 1 h w]``."""
        h, w = features.shape[2:]
        ask = self.query(features).flatten(2).transpose(1, 2)
        share = (ask @ self.key(tokens).transpose(1, 2) * self.scale).softmax(-1)
        answers = (share @ self.value(tokens)).transpose(1, 2).unflatten(2, (h, w))
        return answers, (share @ depths[..., None]).transpose(1, 2).unflatten(2, (h, w))


def pool(belief: Float[Tensor, "b k n"], features: Float[Tensor, "b c h w"]) -> Tensor:
    """Features where a joint is believed to be, ``[b k c]``."""
    return belief @ features.flatten(2).transpose(1, 2)


def half_size(belief: Float[Tensor, "b k gh gw"]) -> Float[Tensor, "b k n"]:
    """The same belief on cells of twice the size."""
    return (F.avg_pool2d(belief, 2) * 4).flatten(2)
