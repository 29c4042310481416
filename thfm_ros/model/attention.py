# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Attention over space and time: rotary position embeddings and masks. Functions only.

Rotary embeddings are real cosines and sines in half-split form (the first half of the rotated
channels against the second half), because that exports to ONNX and TensorRT as multiplications and
one concatenation.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Bool, Float
from torch import Tensor


def angles(positions: Float[Tensor, " n"], channels: int, base: float) -> Float[Tensor, "n c"]:
    """Rotation angles in radians of ``c = channels / 2`` frequencies at each position."""
    exponents = torch.arange(channels // 2, dtype=torch.float32) / (channels // 2)
    return positions[:, None] * base**-exponents


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the channel pairs (i, i + half) of ``x [..., 2 half]`` by tables ``[..., half]``."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Scale the last axis to unit root mean square, times a learned weight."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def block_causal(frames: int, tokens: int, window: int) -> Bool[Tensor, "n n"]:
    """The attention mask of a clip: a frame sees itself and the ``window - 1`` frames before it.

    Returns:
        True where the row's token may attend to the column's, for ``n = frames * tokens`` tokens
        in order of the frames.
    """
    frame = torch.arange(frames).repeat_interleave(tokens)
    age = frame[:, None] - frame[None, :]
    return (age >= 0) & (age < window)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Float[Tensor, "b n d"]:
    """Scaled dot-product attention of ``[b heads n c]`` tensors; heads are concatenated."""
    device = q.device.type
    if q.is_cpu and torch.is_autocast_enabled(device):
        # On a CPU the backward pass of this operator takes four times as long in bfloat16.
        with torch.autocast(device, enabled=False):
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), allowed)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, allowed)
    return mixed.transpose(1, 2).flatten(2)
