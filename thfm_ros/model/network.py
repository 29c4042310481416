# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""nano: THFM's architecture with a few million parameters.

An encoder makes video tokens. They and the learnable joint tokens pass through one transformer,
causal from frame to frame. One decoder serves all dense tasks, and a task's prompt modulates how
its features are read. One pass answers all prompts, because they differ only in the read-out; see
docs/architecture.md for where this departs from THFM and why.

Two encoders, one of them pretrained, are mixed. `NanoNetwork.detect` finds all people of a whole
image from the pretrained one's features after some blocks; a crop then describes one of them, named
by a target cue.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.contract import Task
from thfm_ros.model.backbone import Backbone, Cache, rotary_tables
from thfm_ros.model.codec import Pyramid, ResidualBlock, UpStage
from thfm_ros.model.detection import DetectionHead
from thfm_ros.model.heads import (
    HeatmapReadout,
    KeypointPeaks,
    Lifter,
    ReadBack,
    half_resolution,
    pool,
)
from thfm_ros.model.mixed_encoder import MixedEncoder
from thfm_ros.model.prompts import READOUT_CHANNELS, TARGET_MASK_CHANNEL, readout_slices
from thfm_ros.model.target_cue import TargetCue
from thfm_ros.skeleton import Joint

JOINTS = len(Joint)
HIPS = (int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP))
FEATURES = 32
"""Channels of the feature map at half the image's size from which dense maps are read."""

_DEPTH = readout_slices()[Task.DEPTH]
_AROUND_DEPTH = [_DEPTH.start, _DEPTH.stop - _DEPTH.start, TARGET_MASK_CHANNEL - _DEPTH.stop]


class NetworkOutputs(NamedTuple):
    """Tensors of model.outputs, with a leading axis over frames (``b * t``).

    ``dense`` stacks the read-outs of all tasks (prompts.READOUT_CHANNELS) and the logit of the
    target's mask (prompts.TARGET_MASK_CHANNEL).
    """

    heatmaps: Float[Tensor, "b k gh gw"]
    peaks: Float[Tensor, "b k 2"]  # x, y in 0..1 of the image's width and height
    positions: Float[Tensor, "b k 3"]
    visibility: Float[Tensor, "b k 2"]
    log_width: Float[Tensor, " b"]
    presence: Float[Tensor, " b"]
    dense: Float[Tensor, "b c h w"] | None


def sine_grid(rows: int, columns: int, width: int) -> Float[Tensor, "n d"]:
    """Absolute position embedding of patches: sines and cosines of shares of the image."""

    def waves(count: int, channels: int) -> Float[Tensor, "n c"]:
        position = (torch.arange(count) + 0.5) / count
        angle = position[:, None] * 2 ** torch.linspace(0, 5, channels // 2) * math.pi / 2
        return torch.cat([angle.sin(), angle.cos()], 1)

    down, right = waves(rows, width // 2), waves(columns, width // 2)
    grid = torch.cat(
        [down[:, None].expand(-1, columns, -1), right[None].expand(rows, -1, -1)], dim=-1
    )
    return grid.flatten(0, 1)


def crop_grid(rows: int, columns: int, width: int) -> Float[Tensor, "n d"]:
    """`sine_grid` of a person crop: one that is not square is the middle of a square one."""
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    square = sine_grid(side, side, width).view(side, side, width)
    return square[top : top + rows, left : left + columns].reshape(rows * columns, width)


class PromptedReadout(nn.Module):
    """One linear read-out per prompt, modulated by prompt and image.

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

    def forward(
        self, features: Float[Tensor, "b f h w"], summary: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b c h w"]:
        b, prompts = summary.shape[0], self.prompts.shape[0]
        queries = torch.cat(
            [
                summary[:, None].expand(-1, prompts, -1),
                self.prompts[None].expand(b, -1, -1),
            ],
            dim=-1,
        )
        modulation = self.modulate(queries)[:, self.prompt_of_channel]
        weight = self.read.weight.flatten(1) * (1 + modulation[..., :-1])
        assert self.read.bias is not None
        bias = self.read.bias + modulation[..., -1]
        maps: Tensor = (weight @ features.flatten(2) + bias[..., None]).unflatten(
            2, features.shape[2:]
        )
        return maps


class NanoNetwork(nn.Module):
    """The embedded network; see the module. Images are RGB in 0..255, sides multiples of 16.

    Args:
        channels: of the encoder's features at half, a quarter and an eighth of the image's size.
        width: of the tokens.
        depth: transformer blocks.
        window: frames that attention spans, the newest included.
        refine: residual blocks before the dense read-outs.
        detect_depth: of these, blocks before the detection read-out.
    """

    def __init__(
        self,
        channels: tuple[int, int, int] = (24, 48, 96),
        width: int = 192,
        depth: int = 6,
        window: int = 4,
        refine: int = 2,
        detect_depth: int = 3,
    ) -> None:
        super().__init__()
        half, quarter, eighth = channels
        self.width, self.depth, self.channels = width, depth, tuple(channels)
        self.detect_depth = detect_depth
        self.encoder = MixedEncoder(channels, width)
        self.cue = TargetCue(width)
        self.target_mask = nn.Linear(width, FEATURES + 1)
        self.detection = DetectionHead(width, eighth)
        self.tokens = nn.Parameter(torch.randn(JOINTS + 1, width) * 0.3)
        self.backbone = Backbone(width, depth, window)
        self.to_eighth = UpStage(width, 64, eighth, 96)
        self.to_quarter = UpStage(96, 32, quarter, 64)
        self.heatmap = HeatmapReadout(width, 64)
        self.lifter = Lifter(JOINTS, width + 96 + 64, HIPS)
        self.joint_visibility = nn.Linear(width + self.lifter.width, 2)
        self.summary = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2))
        self.read_back = ReadBack(width, self.lifter.width, 64)
        self.to_half = UpStage(64 + 32, 24, half, FEATURES)
        self.refine = nn.Sequential(*[ResidualBlock(FEATURES) for _ in range(refine)])
        self.readout = PromptedReadout(width, FEATURES)

    def detect(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5 h8 w8"]:
        """Centres and boxes of all people in whole images; see `DetectionHead`.

        Only video tokens take part, without memory.
        """
        pyramid = self.encoder.pretrained(images)
        rows, columns = pyramid.sixteenth.shape[2:]
        x = pyramid.sixteenth.flatten(2).transpose(1, 2)
        x = (x + sine_grid(rows, columns, self.width).to(x))[:, None]
        tables = rotary_tables(rows, columns, 0)
        for block in self.backbone.blocks[: self.detect_depth]:
            x = block(x, tables, None)
        latent = self.detection.norm(x[:, 0]).transpose(1, 2).unflatten(2, (rows, columns))
        outputs: Tensor = self.detection(latent, pyramid.eighth)
        return outputs

    def forward(
        self,
        clip: Float[Tensor, "b t 3 h w"],
        dense: bool = True,
        cue: Float[Tensor, "n 5"] | None = None,
    ) -> NetworkOutputs:
        """All frames of clips; outputs, and rows of the cue, are flattened over ``n = b * t``."""
        frames = clip.shape[1]
        pyramid = self.encoder(clip.flatten(0, 1))
        tokens, rows, columns = self._tokens(pyramid, cue)
        tables = rotary_tables(rows, columns, JOINTS + 1)
        tokens = self.backbone(tokens.unflatten(0, (-1, frames)), tables).flatten(0, 1)
        return self._read(tokens, pyramid, dense)

    def step(
        self,
        image: Float[Tensor, "b 3 h w"],
        cache: Cache,
        dense: bool = True,
        cue: Float[Tensor, "b 5"] | None = None,
    ) -> tuple[NetworkOutputs, Cache]:
        """The newest frame of a stream; equal to the last frame of ``forward``."""
        pyramid = self.encoder(image)
        tokens, rows, columns = self._tokens(pyramid, cue)
        tables = rotary_tables(rows, columns, JOINTS + 1)
        tokens, cache = self.backbone.step(tokens[:, None], tables, cache)
        return self._read(tokens[:, 0], pyramid, dense), cache

    def sizes(self) -> dict[str, Any]:
        """The arguments for another network of this architecture and size."""
        return {
            "channels": list(self.channels),
            "width": self.width,
            "depth": self.depth,
            "window": self.backbone.window,
            "refine": len(self.refine),
            "detect_depth": self.detect_depth,
        }

    def empty_cache(self, batch: int, height: int, width: int) -> Cache:
        """The cache of a stream of ``height`` x ``width`` images before its first frame."""
        return self.backbone.empty_cache(batch, (height // 16) * (width // 16) + JOINTS + 1)

    def _tokens(
        self, pyramid: Pyramid, cue: Tensor | None
    ) -> tuple[Float[Tensor, "b n d"], int, int]:
        """Patches, then learnable tokens; and the patches' rows and columns."""
        patches = pyramid.sixteenth
        rows, columns = patches.shape[2:]
        grid = crop_grid(rows, columns, self.width).to(patches)
        video = patches.flatten(2).transpose(1, 2) + grid
        learnable = self.tokens.expand(video.shape[0], -1, -1)
        if cue is not None:
            of_patches, of_learnable = self.cue(cue, rows, columns)
            video, learnable = video + of_patches, learnable + of_learnable
        return torch.cat([video, learnable], dim=1), rows, columns

    def _read(self, tokens: Tensor, pyramid: Pyramid, dense: bool) -> NetworkOutputs:
        """All outputs, from the backbone's tokens of single frames."""
        rows, columns = pyramid.sixteenth.shape[2:]
        patches = rows * columns
        video, joints, summary = tokens.split([patches, JOINTS, 1], dim=1)
        latent = video.transpose(1, 2).unflatten(2, (rows, columns))
        eighth = self.to_eighth(latent, pyramid.eighth)
        quarter = self.to_quarter(eighth, pyramid.quarter)
        keypoints = self.heatmap(joints, quarter)
        log_width, presence = self.summary(summary[:, 0]).unbind(-1)
        image_features = self.features_of(joints, keypoints, quarter, eighth)
        positions, joint_features = self.lifter(
            keypoints.peaks.detach(),
            keypoints.mass.detach(),
            log_width.detach(),
            int(rows) / int(columns),  # numbers, not tensors, while a graph is traced
            image_features,
        )
        joints = torch.cat([joints, joint_features], dim=-1)
        maps = None
        if dense:
            maps = self._decode(joints, summary[:, 0], positions[..., 2], quarter, pyramid.half)
        return NetworkOutputs(
            keypoints.heatmaps,
            keypoints.peaks,
            positions,
            self.joint_visibility(joints),
            log_width,
            presence,
            maps,
        )

    def features_of(
        self, joints: Tensor, keypoints: KeypointPeaks, quarter: Tensor, eighth: Tensor
    ) -> Float[Tensor, "b k f"]:
        """Each joint's token, and the image's features where the joint is."""
        probability = keypoints.heatmaps.flatten(2).softmax(-1)
        probability = probability.unflatten(2, keypoints.heatmaps.shape[2:])
        probability = probability.detach()  # only the heatmap's loss teaches where a joint is
        near = pool(probability.flatten(2), quarter)
        return torch.cat([joints, near, pool(half_resolution(probability), eighth)], dim=-1)

    def _decode(
        self, joints: Tensor, summary: Tensor, depths: Tensor, quarter: Tensor, half: Tensor
    ) -> Float[Tensor, "b c h w"]:
        values, depth = self.read_back(quarter, joints, depths)
        features = self.refine(self.to_half(torch.cat([quarter, values], dim=1), half))
        maps = self.readout(features, summary)
        depth = F.interpolate(depth, scale_factor=2.0, mode="bilinear", align_corners=False)
        # The joints determine most of the depth; the read-out adds what is between them.
        before, residual, after = maps.split(_AROUND_DEPTH, dim=1)
        weight, bias = self.target_mask(summary).split([FEATURES, 1], dim=1)
        target = (weight[:, None] @ features.flatten(2) + bias[..., None]).unflatten(
            2, features.shape[2:]
        )
        return torch.cat([before, residual + depth, after, target], dim=1)
