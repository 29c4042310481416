"""Attention over space and time: rotary positions and masks. Functions only.

Rotary positions are kept as real cosines and sines, in half-split form (first half of the
rotated channels against the second half), because that exports to ONNX and TensorRT as
multiplications and one concatenation.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Bool, Float
from torch import Tensor


def angles(positions: Float[Tensor, " n"], channels: int, base: float) -> Float[Tensor, "n c"]:
    """Rotation angles of ``channels / 2`` frequencies at each position, in radians."""
    steps = torch.arange(channels // 2, dtype=torch.float32) / (channels // 2)
    return positions[:, None] * base**-steps


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the channel pairs (i, i + half) of ``x [..., 2 half]`` by tables ``[..., half]``."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Scale the last axis to unit root mean square, times a learned weight."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def block_causal(frames: int, tokens: int, window: int) -> Bool[Tensor, "n n"]:
    """Who may be looked at: a frame sees itself and the ``window - 1`` frames before it.

    Returns:
        True where the row's token may attend to the column's, for ``frames * tokens`` tokens
        laid out frame by frame.
    """
    frame = torch.arange(frames).repeat_interleave(tokens)
    age = frame[:, None] - frame[None, :]
    return (age >= 0) & (age < window)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Float[Tensor, "b n d"]:
    """Scaled dot-product attention of ``[b heads n c]`` tensors, heads joined again."""
    if torch.is_autocast_enabled("cpu"):
        # Trained in bfloat16, the backward pass of this one operator takes four times as long.
        with torch.autocast("cpu", enabled=False):
            mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), allowed)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, allowed)
    return mixed.transpose(1, 2).flatten(2)
