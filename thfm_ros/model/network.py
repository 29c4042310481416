"""nano: THFM's architecture at a few million parameters.

A video encoder makes tokens; they and the learnable joint tokens go through one transformer,
causal from frame to frame; one decoder serves all dense tasks, and the prompt of a task says how
its features are read. One pass answers everything, because the prompts differ only in the
read-out; see docs/architecture.md for where this departs from THFM and why.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.backbone import Backbone, Cache, places
from thfm_ros.model.codec import Encoder, Pyramid, ResidualBlock, UpStage
from thfm_ros.model.heads import (
    HeatmapReadout,
    Joints2d,
    Lifter,
    ReadBack,
    half_size,
    pool,
)
from thfm_ros.model.prompts import READOUT_CHANNELS
from thfm_ros.skeleton import Joint

JOINTS = len(Joint)
HIPS = (int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP))


class NetworkOutputs(NamedTuple):
    """As model.outputs, with a leading axis over frames (``b * t``); ``dense`` stacks the
    read-outs of all prompts in the order of prompts.READOUT_CHANNELS."""

    heatmaps: Float[Tensor, "b k gh gw"]
    peaks: Float[Tensor, "b k 2"]
    positions: Float[Tensor, "b k 3"]
    visibility: Float[Tensor, "b k 2"]
    log_width: Float[Tensor, " b"]
    presence: Float[Tensor, " b"]
    dense: Float[Tensor, "b 27 h w"] | None


def sine_grid(rows: int, columns: int, width: int) -> Float[Tensor, "n d"]:
    """Where in the image a patch lies, whatever the image's size: sines and cosines."""

    def waves(count: int, channels: int) -> Tensor:
        place = (torch.arange(count) + 0.5) / count
        angle = place[:, None] * 2 ** torch.linspace(0, 5, channels // 2) * math.pi / 2
        return torch.cat([angle.sin(), angle.cos()], 1)

    down, right = waves(rows, width // 2), waves(columns, width // 2)
    grid = torch.cat(
        [down[:, None].expand(-1, columns, -1), right[None].expand(rows, -1, -1)], dim=-1
    )
    return grid.flatten(0, 1)


class PromptedReadout(nn.Module):
    """One linear read-out per prompt, bent by what the image's global token says.

    The modulation is folded into the weights, so that a prompt costs no pass over the pixels.
    """

    def __init__(self, width: int, features: int, prompt_width: int = 64) -> None:
        super().__init__()
        channels = list(READOUT_CHANNELS.values())
        self.read = nn.Conv2d(features, sum(channels), 1)
        self.prompts = nn.Parameter(torch.randn(len(channels), prompt_width) * 0.3)
        self.modulate = nn.Linear(width + prompt_width, features + 1)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        of_prompt = torch.arange(len(channels)).repeat_interleave(torch.tensor(channels))
        self.register_buffer("prompt_of_channel", of_prompt, persistent=False)

    def forward(self, features: Float[Tensor, "b c h w"], summary: Float[Tensor, "b d"]) -> Tensor:
        b, prompts = summary.shape[0], self.prompts.shape[0]
        asked = torch.cat(
            [
                summary[:, None].expand(-1, prompts, -1),
                self.prompts[None].expand(b, -1, -1),
            ],
            dim=-1,
        )
        bend = self.modulate(asked)[:, self.prompt_of_channel]
        weight = self.read.weight.flatten(1) * (1 + bend[..., :-1])
        assert self.read.bias is not None
        bias = self.read.bias + bend[..., -1]
        maps: Tensor = (weight @ features.flatten(2) + bias[..., None]).unflatten(
            2, features.shape[2:]
        )
        return maps


class NanoNetwork(nn.Module):
    """The embedded network; see the module's text. Images are RGB in 0..255."""

    def __init__(
        self,
        channels: tuple[int, int, int] = (24, 48, 96),
        width: int = 192,
        depth: int = 5,
        window: int = 4,
        refine: int = 0,
    ) -> None:
        super().__init__()
        half, quarter, eighth = channels
        self.width, self.depth, self.channels = width, depth, tuple(channels)
        self.encoder = Encoder(channels, width)
        self.tokens = nn.Parameter(torch.randn(JOINTS + 1, width) * 0.3)
        self.backbone = Backbone(width, depth, window)
        self.to_eighth = UpStage(width, 64, eighth, 96)
        self.to_quarter = UpStage(96, 32, quarter, 64)
        self.heatmap = HeatmapReadout(width, 64)
        self.lifter = Lifter(JOINTS, width + 96 + 64, HIPS)
        self.joint_visibility = nn.Linear(width + self.lifter.width, 2)
        self.summary = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2))
        self.read_back = ReadBack(width, self.lifter.width, 64)
        self.to_half = UpStage(64 + 32, 24, half, 32)
        self.refine = nn.Sequential(*[ResidualBlock(32) for _ in range(refine)])
        self.readout = PromptedReadout(width, 32)

    def forward(self, clip: Float[Tensor, "b t 3 h w"], dense: bool = True) -> NetworkOutputs:
        """All frames of a clip; outputs are flattened over ``b * t``."""
        frames = clip.shape[1]
        pyramid = self.encoder(clip.flatten(0, 1))
        tokens, rows, columns = self._tokens(pyramid)
        where = places(rows, columns, JOINTS + 1)
        tokens = self.backbone(tokens.unflatten(0, (-1, frames)), where).flatten(0, 1)
        return self._read(tokens, pyramid, dense)

    def step(
        self, image: Float[Tensor, "b 3 h w"], cache: Cache, dense: bool = True
    ) -> tuple[NetworkOutputs, Cache]:
        """The newest frame of a stream; equal to the last frame of ``forward``."""
        pyramid = self.encoder(image)
        tokens, rows, columns = self._tokens(pyramid)
        where = places(rows, columns, JOINTS + 1)
        tokens, cache = self.backbone.step(tokens[:, None], where, cache)
        return self._read(tokens[:, 0], pyramid, dense), cache

    def sizes(self) -> dict[str, Any]:
        """The arguments that make this network again."""
        return {
            "channels": list(self.channels),
            "width": self.width,
            "depth": self.depth,
            "window": self.backbone.window,
            "refine": len(self.refine),
        }

    def empty_cache(self, batch: int, height: int, width: int) -> Cache:
        """The memory of a stream of ``height`` x ``width`` images that has not begun."""
        return self.backbone.empty_cache(batch, (height // 16) * (width // 16) + JOINTS + 1)

    def _tokens(self, pyramid: Pyramid) -> tuple[Float[Tensor, "b n d"], int, int]:
        patches = pyramid.sixteenth
        rows, columns = patches.shape[2:]
        grid = sine_grid(rows, columns, self.width).to(patches)
        video = patches.flatten(2).transpose(1, 2) + grid
        learnable = self.tokens.expand(video.shape[0], -1, -1)
        return torch.cat([video, learnable], dim=1), rows, columns

    def _read(self, tokens: Tensor, pyramid: Pyramid, dense: bool) -> NetworkOutputs:
        rows, columns = pyramid.sixteenth.shape[2:]
        patches = rows * columns
        video, joints, summary = tokens.split([patches, JOINTS, 1], dim=1)
        latent = video.transpose(1, 2).unflatten(2, (rows, columns))
        eighth = self.to_eighth(latent, pyramid.eighth)
        quarter = self.to_quarter(eighth, pyramid.quarter)
        found = self.heatmap(joints, quarter)
        log_width, presence = self.summary(summary[:, 0]).unbind(-1)
        seen = self.features_of(joints, found, quarter, eighth)
        positions, thought = self.lifter(
            found.peaks.detach(), found.mass.detach(), log_width.detach(), rows / columns, seen
        )
        joints = torch.cat([joints, thought], dim=-1)
        maps = None
        if dense:
            maps = self._decode(joints, summary[:, 0], positions[..., 2], quarter, pyramid.half)
        return NetworkOutputs(
            found.heatmaps,
            found.peaks,
            positions,
            self.joint_visibility(joints),
            log_width,
            presence,
            maps,
        )

    def features_of(
        self, joints: Tensor, found: Joints2d, quarter: Tensor, eighth: Tensor
    ) -> Float[Tensor, "b k f"]:
        """What is known about each joint beside its place: its token, and the image there."""
        belief = found.heatmaps.flatten(2).softmax(-1).unflatten(2, found.heatmaps.shape[2:])
        belief = belief.detach()  # where a joint is, is learned from the heatmap alone
        return torch.cat(
            [joints, pool(belief.flatten(2), quarter), pool(half_size(belief), eighth)], dim=-1
        )

    def _decode(
        self, joints: Tensor, summary: Tensor, depths: Tensor, quarter: Tensor, half: Tensor
    ) -> Float[Tensor, "b 27 h w"]:
        answers, depth = self.read_back(quarter, joints, depths)
        features = self.refine(self.to_half(torch.cat([quarter, answers], dim=1), half))
        maps = self.readout(features, summary)
        depth = F.interpolate(depth, scale_factor=2.0, mode="bilinear", align_corners=False)
        # The joints carry the relief; the read-out of the depth prompt adds what is between them.
        before, relief, after = maps.split([18, 1, 8], dim=1)
        return torch.cat([before, relief + depth, after], dim=1)
