# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Read-outs of the learnable joint tokens: keypoints in the image, and joints in space.

A coordinate regressed from a token collapses to the mean pose. The product of a token with the
feature map does not, because a distribution with two peaks keeps both. So a joint token becomes a
heatmap first; a small lifter then estimates 3D joints from the 2D keypoints, and the decoder
reads depth and left/right from the lifted joints.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.attention import attend
from thfm_ros.model.target_cue import in_square

PEAK_RADIUS = 2
"""Cells on each side of a peak over which its position is averaged. The mean over the whole map
lies between two peaks, on neither."""


class KeypointPeaks(NamedTuple):
    """Keypoints in the image, one per heatmap."""

    heatmaps: Float[Tensor, "b k gh gw"]  # logits over the cells
    peaks: Float[Tensor, "b k 2"]  # x, y in 0..1 of the image's width and height
    mass: Float[Tensor, "b k"]  # share of the probability within PEAK_RADIUS of the peak


def cell_centres(rows: int, columns: int) -> tuple[Float[Tensor, " gh"], Float[Tensor, " gw"]]:
    """Centres of the cells, y then x, in 0..1 of the image's height and width."""
    return (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns


def find_peaks(heatmaps: Float[Tensor, "b k gh gw"]) -> KeypointPeaks:
    """The most likely cell of each heatmap, refined by the cells around it."""
    rows, columns = heatmaps.shape[-2:]
    probability = heatmaps.flatten(2).softmax(-1)
    peak = probability.argmax(-1, keepdim=True)
    y, x = cell_centres(rows, columns)
    y_of, x_of = (a.to(probability) for a in (y.repeat_interleave(columns), x.repeat(rows)))
    index = torch.arange(rows * columns, device=probability.device)
    down = (index // columns)[None, None] - peak // columns
    right = (index % columns)[None, None] - peak % columns
    near = probability * ((down.abs() <= PEAK_RADIUS) & (right.abs() <= PEAK_RADIUS))
    mass = near.sum(-1)
    peaks = torch.stack([(near * x_of).sum(-1), (near * y_of).sum(-1)], -1) / mass[..., None]
    return KeypointPeaks(heatmaps, peaks, mass)


class HeatmapReadout(nn.Module):
    """Heatmaps as the scaled dot product of joint tokens with the feature map."""

    def __init__(self, width: int, features: int, channels: int = 64) -> None:
        super().__init__()
        self.query = nn.Linear(width, channels)
        self.key = nn.Conv2d(features, channels, 1)
        self.sharpness = nn.Parameter(torch.zeros(()))
        self.scale = channels**-0.5

    def forward(
        self, tokens: Float[Tensor, "b k d"], features: Float[Tensor, "b c gh gw"]
    ) -> KeypointPeaks:
        keys = self.key(features)
        logits = self.query(tokens) @ keys.flatten(2) * (self.sharpness.exp() * self.scale)
        if logits.dtype == torch.bfloat16:  # in training; peaks of 8 bits would be half a cell off
            logits = logits.float()
        return find_peaks(logits.unflatten(2, keys.shape[2:]))


class LiftBlock(nn.Module):
    """Attention among the joints of one body, and a feed-forward layer."""

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
        projected = self.query_key_value(self.norm_attention(x)).view(b, k, 3, self.heads, -1)
        q, key, v = projected.permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.join(attend(q, key, v, None))
        out: Tensor = x + self.feed(x)
        return out


class Lifter(nn.Module):
    """From keypoints in the image to joints in space.

    Lifting a 2D skeleton needs no pixels, so the lifter also learns from motion capture alone
    (``image_features`` None). Features of the image add what 2D leaves open, above all whether a
    person faces the camera.
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
        image_features: Float[Tensor, "b k f"] | None,
    ) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k w"]]:
        """Lift.

        Args:
            peaks: keypoints in 0..1 of the image.
            mass: confidence of each keypoint, 0..1.
            log_width: ln of the metres that the image's longer side spans at the root's depth.
            aspect: height of the image over its width.
            image_features: features of each joint, or None if only the skeleton is known.

        Returns:
            Positions in metres from the middle of the hips, and features of each joint.
        """
        in_sides = in_square(peaks, aspect)
        root = in_sides[:, list(self.root)].mean(1, keepdim=True)
        flat = (in_sides - root) * log_width.clamp(-2.0, 3.0).exp()[:, None, None]
        x = self.name + self.place(torch.cat([flat, in_sides - 0.5, mass[..., None]], -1))
        if image_features is not None:
            x = x + self.look(image_features)
        for block in self.blocks:
            x = block(x)
        offset = self.space(x)
        # The image already determines x and y up to the perspective; the offset corrects them.
        positions = torch.cat([flat + offset[..., :2], offset[..., 2:]], -1)
        middle = positions[:, list(self.root)].mean(1, keepdim=True)
        return positions - middle, x


class ReadBack(nn.Module):
    """Cross-attention from pixels to the lifted joints: which joints a pixel belongs to."""

    def __init__(self, width: int, lifted: int, features: int, channels: int = 32) -> None:
        super().__init__()
        self.query = nn.Conv2d(features, channels, 1)
        self.key = nn.Linear(width + lifted, channels)
        self.value = nn.Linear(width + lifted, channels)
        self.scale = channels**-0.5

    def forward(
        self,
        features: Float[Tensor, "b c h w"],
        tokens: Float[Tensor, "b k d"],
        depths: Float[Tensor, "b k"],
    ) -> tuple[Float[Tensor, "b v h w"], Float[Tensor, "b 1 h w"]]:
        """Features, and depth in metres from the root, of the joints at each pixel."""
        h, w = features.shape[2:]
        queries = self.query(features).flatten(2).transpose(1, 2)
        attention = (queries @ self.key(tokens).transpose(1, 2) * self.scale).softmax(-1)
        values = (attention @ self.value(tokens)).transpose(1, 2).unflatten(2, (h, w))
        return values, (attention @ depths[..., None]).transpose(1, 2).unflatten(2, (h, w))


def pool(
    probability: Float[Tensor, "b k n"], features: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k c"]:
    """Mean of the features over the ``n = h * w`` cells, weighted by each joint's probability."""
    return probability @ features.flatten(2).transpose(1, 2)


def half_resolution(probability: Float[Tensor, "b k gh gw"]) -> Float[Tensor, "b k n"]:
    """The same distribution over cells of twice the size, flattened."""
    return (F.avg_pool2d(probability, 2) * 4).flatten(2)
