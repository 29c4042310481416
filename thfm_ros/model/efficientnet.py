# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""EfficientNet-Lite0 as nano's encoder, so that it begins with what ImageNet teaches.

Tan and Le, "EfficientNet", ICML 2019, in the "lite" form of 2020: ReLU6, no squeeze-and-excitation.
`thfm_ros.training.prior` loads the pretrained weights (Apache-2.0). Padding is TensorFlow's "SAME":
an odd amount has its larger half at the right and bottom, for odd image sizes too.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.codec import Pyramid


class StageSpec(NamedTuple):
    """One stage of EfficientNet: ``stride`` is that of its first block."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    StageSpec(1, 3, 1, 1, 16),
    StageSpec(2, 3, 2, 6, 24),
    StageSpec(2, 5, 2, 6, 40),
    StageSpec(3, 3, 2, 6, 80),
    StageSpec(3, 5, 1, 6, 112),
    StageSpec(4, 5, 2, 6, 192),
    StageSpec(1, 3, 1, 6, 320),
)
TAPS = {0: 16, 2: 24, 4: 40, 10: 112}
"""Blocks whose outputs become the pyramid, at strides 2, 4, 8 and 16, and their channels."""


def same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of ``length``, as TensorFlow's "SAME" pads it."""
    missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return missing // 2, missing - missing // 2


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME"."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        rows = same_padding(int(x.shape[2]), kernel, stride)
        columns = same_padding(int(x.shape[3]), kernel, stride)
        if rows == columns and rows[0] == rows[1]:  # one operator fewer in the exported graph
            return F.conv2d(x, self.weight, self.bias, self.stride, rows[0], 1, self.groups)
        # With its value given, ONNX Runtime makes the padding a part of the convolution.
        padded = F.pad(x, (*columns, *rows), value=0.0)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, batch norm, and ReLU6 unless ``act`` is false."""
    layers: list[nn.Module] = [
        SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, nn.ReLU6()) if act else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expansion, depthwise convolution, projection, residual connection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = conv_norm(inputs, wide, 1) if expansion != 1 else nn.Identity()
        self.depthwise = conv_norm(wide, wide, kernel, stride, groups=wide)
        self.project = conv_norm(wide, outputs, 1, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def adapter(inputs: int, outputs: int) -> nn.Sequential:
    """From pretrained features to the channels that the rest of the network expects."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.ReLU(inplace=True),
    )


class EfficientNetEncoder(nn.Module):
    """From RGB in 0..255 to a feature pyramid.

    Stem and blocks are pretrained; the adapters of the four levels are not, nor is ``deep``, which
    adds the last block's features (stride 32) to the level of stride 16.
    """

    def __init__(self, channels: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.stem = conv_norm(3, STEM_CHANNELS, 3, 2)
        blocks, inputs = [], STEM_CHANNELS
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(
                    InvertedResidual(inputs, stage.channels, stage.kernel, stride, stage.expansion)
                )
                inputs = stage.channels
        self.blocks = nn.ModuleList(blocks)
        outputs = (*channels, width)
        self.adapters = nn.ModuleList(
            [adapter(tap, out) for tap, out in zip(TAPS.values(), outputs, strict=True)]
        )
        self.deep = nn.Conv2d(inputs, width, 1)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Pyramid:
        *taps, last = self._features_in_single_precision(rgb)
        half, quarter, eighth, sixteenth = (
            adapt(tap) for adapt, tap in zip(self.adapters, taps, strict=True)
        )
        deep = F.interpolate(self.deep(last), size=taps[3].shape[2:], mode="nearest")
        return Pyramid(half, quarter, eighth, sixteenth + deep)

    def _features_in_single_precision(self, rgb: Tensor) -> list[Tensor]:
        device = rgb.device.type
        if torch.is_autocast_enabled(device):
            # Depthwise convolutions take longer in bfloat16 on a CPU.
            with torch.autocast(device, enabled=False):
                return self.features(rgb)
        return self.features(rgb)

    def features(self, rgb: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Pretrained features at the TAPS, then those of the last block, at stride 32."""
        x = self.stem(((rgb - 127.0) / 128.0).contiguous(memory_format=torch.channels_last))
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in TAPS:
                features.append(x)
        return [*features, x]
