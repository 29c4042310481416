# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The spatio-temporal transformer: video tokens and learnable tokens in one sequence per frame.

A stream needs one step per frame, because the keys and values of the last frames are cached.
Cached keys are rotated by their position in the image but not by time: time is the slot in the
cache, so that rotation is applied when they are read, and the cache can slide.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.model.attention import angles, attend, block_causal, rms_norm, rotate

TIME_CHANNELS = 8
SPACE_CHANNELS = 12  # for rows, and as many for columns; 8 + 12 + 12 = 32 per head
HEAD_WIDTH = TIME_CHANNELS + 2 * SPACE_CHANNELS
TIME_BASE = 100.0
SPACE_BASE = 30.0


class Cache(NamedTuple):
    """The state of a stream: keys and values of the last ``m`` frames, for each block.

    Slot ``m - 1`` is the previous frame. ``allowed`` is added to the attention logits: 0 for slots
    that hold a frame, a large negative number for empty ones.
    """

    keys: Float[Tensor, "blocks b heads m n c"]
    values: Float[Tensor, "blocks b heads m n c"]
    allowed: Float[Tensor, " m"]


class RotaryTables(NamedTuple):
    """Cosines and sines of the positions of one frame's tokens, ``[n, channels / 2]`` each."""

    cos: Tensor
    sin: Tensor


def rotary_tables(rows: int, columns: int, learnable: int) -> RotaryTables:
    """Positions in the image: patches on a grid, ``learnable`` tokens after them in its centre."""
    row = torch.arange(rows, dtype=torch.float32) - (rows - 1) / 2
    column = torch.arange(columns, dtype=torch.float32) - (columns - 1) / 2
    row_of = torch.cat([row.repeat_interleave(columns), torch.zeros(learnable)])
    column_of = torch.cat([column.repeat(rows), torch.zeros(learnable)])
    angle = torch.cat(
        [
            angles(row_of, SPACE_CHANNELS, SPACE_BASE),
            angles(column_of, SPACE_CHANNELS, SPACE_BASE),
        ],
        dim=1,
    )
    return RotaryTables(angle.cos(), angle.sin())


def rotate_in_time(x: Tensor, slots: Float[Tensor, " t"]) -> Tensor:
    """Rotate the time channels of ``x [b heads t n c]`` by each frame's slot."""
    angle = angles(slots, TIME_CHANNELS, TIME_BASE).to(x.device)[:, None]
    time, rest = x.split([TIME_CHANNELS, HEAD_WIDTH - TIME_CHANNELS], dim=-1)
    return torch.cat([rotate(time, angle.cos(), angle.sin()), rest], dim=-1)


def rotate_in_space(x: Tensor, tables: RotaryTables) -> Tensor:
    """Rotate the row and column channels of ``x [b heads t n c]``."""
    time, space = x.split([TIME_CHANNELS, HEAD_WIDTH - TIME_CHANNELS], dim=-1)
    return torch.cat([time, rotate(space, tables.cos.to(x.device), tables.sin.to(x.device))], -1)


class Block(nn.Module):
    """Pre-norm attention and feed-forward layers; queries and keys are RMS-normalized."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.query_scale = nn.Parameter(torch.ones(HEAD_WIDTH))
        self.key_scale = nn.Parameter(torch.ones(HEAD_WIDTH))
        for last in (self.join, self.narrow):  # initialized near the identity
            nn.init.zeros_(last.bias)
            last.weight.data *= 0.3

    def project(
        self, x: Float[Tensor, "b t n d"], tables: RotaryTables
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (both rotated in space) and values, each ``[b heads t n c]``."""
        b, t, n, _ = x.shape
        projected = self.query_key_value(self.norm_attention(x))
        projected = projected.view(b, t, n, 3, self.heads, HEAD_WIDTH).permute(3, 0, 4, 1, 2, 5)
        q, k, v = projected.unbind(0)
        q, k = rms_norm(q, self.query_scale), rms_norm(k, self.key_scale)
        return rotate_in_space(q, tables), rotate_in_space(k, tables), v

    def feed(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add the output of the attention, then that of the feed-forward layer."""
        x = x + self.join(mixed.view(x.shape))
        out: Tensor = x + self.narrow(F.gelu(self.widen(self.norm_feed(x)), approximate="tanh"))
        return out

    def forward(
        self, x: Float[Tensor, "b t n d"], tables: RotaryTables, allowed: Tensor | None
    ) -> Tensor:
        slots = torch.arange(x.shape[1], dtype=torch.float32)
        q, k, v = self.project(x, tables)
        q, k = rotate_in_time(q, slots), rotate_in_time(k, slots)
        return self.feed(x, attend(q.flatten(2, 3), k.flatten(2, 3), v.flatten(2, 3), allowed))

    def step(
        self,
        x: Float[Tensor, "b 1 n d"],
        tables: RotaryTables,
        keys: Tensor,
        values: Tensor,
        allowed: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame; ``keys`` and ``values [b heads m n c]`` are those of the frames before it.

        Returns:
            The frame's tokens, and keys and values with this frame and without the oldest one.
        """
        q, k, v = self.project(x, tables)
        keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
        m, n = keys.shape[2], keys.shape[3]
        q = rotate_in_time(q, torch.tensor([m - 1.0]))
        rotated = rotate_in_time(keys, torch.arange(m, dtype=torch.float32))
        open_slots = torch.cat([allowed, allowed.new_zeros(1)]).repeat_interleave(n)[None, :]
        mixed = attend(q.flatten(2, 3), rotated.flatten(2, 3), values.flatten(2, 3), open_slots)
        return self.feed(x, mixed), keys[:, :, 1:], values[:, :, 1:]


class Backbone(nn.Module):
    """Transformer blocks over ``[b t n d]`` tokens, whole clips or one frame at a time."""

    def __init__(self, width: int, depth: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b t n d"], tables: RotaryTables) -> Tensor:
        """All frames of a clip; frame t attends to frames t - window + 1 .. t."""
        frames, tokens = x.shape[1], x.shape[2]
        allowed = None
        if frames > 1:
            allowed = block_causal(frames, tokens, self.window).to(x.device)
        for block in self.blocks:
            x = block(x, tables, allowed)
        return self.norm(x)  # type: ignore[no-any-return]

    def step(
        self, x: Float[Tensor, "b 1 n d"], tables: RotaryTables, cache: Cache
    ) -> tuple[Tensor, Cache]:
        """The newest frame of a stream, given its cache."""
        keys, values = [], []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, k, v = block.step(x, tables, cache.keys[i], cache.values[i], cache.allowed)
            keys.append(k)
            values.append(v)
        allowed = torch.cat([cache.allowed[1:], cache.allowed.new_zeros(1)])
        return self.norm(x), Cache(torch.stack(keys), torch.stack(values), allowed)

    def empty_cache(self, batch: int, tokens: int) -> Cache:
        """The cache of a stream before its first frame; ``tokens`` per frame."""
        block = self.blocks[0]
        assert isinstance(block, Block)
        shape = (len(self.blocks), batch, block.heads, self.window - 1, tokens, HEAD_WIDTH)
        return Cache(torch.zeros(shape), torch.zeros(shape), torch.full((self.window - 1,), -1e9))
