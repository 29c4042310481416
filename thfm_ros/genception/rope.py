# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rotary position embedding of the video tokens and of the learned tokens.

Coordinates are real numbers in patches: (latent frame, row, column). They are derived from the
size of the input, so that any window length and any image size is possible.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.genception.config import VAE_TEMPORAL

THETA = 10000.0


class Grid(NamedTuple):
    """Size of a clip in patches."""

    latent_frames: int
    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """Number of video tokens."""
        return self.latent_frames * self.rows * self.columns

    @property
    def camera_frames(self) -> int:
        """Number of camera frames, which is the number of tokens in each learned-token group."""
        return (self.latent_frames - 1) * VAE_TEMPORAL + 1


class Positions(NamedTuple):
    """Rotary embedding of every token, video first, then group after group; and their numbers."""

    cos: Float[Tensor, "n half"]
    sin: Float[Tensor, "n half"]
    video_tokens: int
    group_sizes: tuple[int, ...]


def video_coordinates(grid: Grid, device: torch.device | None = None) -> Float[Tensor, "n 3"]:
    """Coordinates of the video tokens in patches, frame by frame, row by row."""
    axes = (torch.arange(size, dtype=torch.float64, device=device) for size in grid)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def frame_times(grid: Grid, device: torch.device | None = None) -> Float[Tensor, "t"]:
    """Time of each camera frame, in latent frames.

    The first latent frame encodes one camera frame, each later one four, on which it is centred:
    0, 0.625, 0.875, 1.125, 1.375, 1.625, ...
    """
    later = torch.arange(grid.camera_frames - 1, dtype=torch.float64, device=device)
    first = 1.0 - ((VAE_TEMPORAL + 1) / 2 - 1) / VAE_TEMPORAL
    return torch.cat((later.new_zeros(1), first + later / VAE_TEMPORAL))


def group_coordinates(
    learned: Float[Tensor, "1 1 1 2"], grid: Grid, native_grid: tuple[int, int]
) -> Float[Tensor, "t 3"]:
    """Coordinates of one learned-token group in patches: frame time, learned row and column.

    Args:
        learned: row and column in patches, learned on ``native_grid``.
        grid: of the clip.
        native_grid: rows and columns of patches in training. On another grid the coordinates keep
            their offset from the centre; on the native one they are used unchanged, as in the
            official code, which has that size only.
    """
    times = frame_times(grid, learned.device)
    shift = learned.new_tensor(
        ((grid.rows - native_grid[0]) / 2, (grid.columns - native_grid[1]) / 2),
        dtype=torch.float64,
    )
    row_and_column = learned.reshape(2).double() + shift
    return torch.cat((times[:, None], row_and_column.expand(len(times), 2)), dim=1)


def rotary_embedding(
    coordinates: Float[Tensor, "n 3"], head_dim: int
) -> tuple[Float[Tensor, "n half"], Float[Tensor, "n half"]]:
    """Cosines and sines of each token's angles, float32, one per pair of channels.

    The channels of a head are divided among time, row and column; the remainder goes to time.
    """
    spatial_dim = 2 * (head_dim // 6)
    angles = []
    for axis, dim in enumerate((head_dim - 2 * spatial_dim, spatial_dim, spatial_dim)):
        channels = torch.arange(0, dim, 2, dtype=torch.float64, device=coordinates.device)
        angles.append(coordinates[:, axis : axis + 1] * THETA ** (-channels / dim))
    angle = torch.cat(angles, dim=1)
    return angle.cos().float(), angle.sin().float()
