"""Where each token is in the clip, as rotary angles.

Positions are in patches: (latent frame, row, column), real numbers. Everything is derived from
the size of the input, so that any window and any image size has its positions.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.genception.config import VAE_TEMPORAL

THETA = 10000.0


class Grid(NamedTuple):
    """Size of a clip in patches; ``frames`` counts latent frames."""

    frames: int
    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """Number of video tokens."""
        return self.frames * self.rows * self.columns

    @property
    def images(self) -> int:
        """Number of camera frames, and so of the tokens in each sparse group."""
        return (self.frames - 1) * VAE_TEMPORAL + 1


class Positions(NamedTuple):
    """Rotation of every token, and how many there are: video first, then group after group."""

    cos: Float[Tensor, "n half"]
    sin: Float[Tensor, "n half"]
    video: int
    groups: tuple[int, ...]


def video_places(grid: Grid, device: torch.device | None = None) -> Float[Tensor, "n 3"]:
    """Positions of the video tokens, frame by frame, row by row."""
    axes = (torch.arange(size, dtype=torch.float64, device=device) for size in grid)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def token_times(grid: Grid, device: torch.device | None = None) -> Float[Tensor, "t"]:
    """When each camera frame is, in latent frames.

    The first latent frame holds one image and each later one four, on which it is centred:
    0, 0.625, 0.875, 1.125, 1.375, 1.625, ...
    """
    later = torch.arange(grid.images - 1, dtype=torch.float64, device=device)
    first = 1.0 - ((VAE_TEMPORAL + 1) / 2 - 1) / VAE_TEMPORAL
    return torch.cat((later.new_zeros(1), first + later / VAE_TEMPORAL))


def group_places(
    place: Float[Tensor, "1 1 1 2"], grid: Grid, native: tuple[int, int]
) -> Float[Tensor, "t 3"]:
    """Positions of one sparse group: its frame's time, and the place that it has learned.

    That place was learned on a grid of ``native`` rows and columns, where it began in the centre.
    On another grid it keeps its distance from the centre. (The official code has one size only;
    on that size nothing moves.)
    """
    times = token_times(grid, place.device)
    shift = place.new_tensor(
        ((grid.rows - native[0]) / 2, (grid.columns - native[1]) / 2), dtype=torch.float64
    )
    here = place.reshape(2).double() + shift
    return torch.cat((times[:, None], here.expand(len(times), 2)), dim=1)


def rotations(
    places: Float[Tensor, "n 3"], head_dim: int
) -> tuple[Float[Tensor, "n half"], Float[Tensor, "n half"]]:
    """Cosines and sines of each token's angles, float32, one per pair of channels.

    The pairs of a head are shared out among time, row and column; the rest goes to time.
    """
    beside = 2 * (head_dim // 6)
    angles = []
    for axis, width in enumerate((head_dim - 2 * beside, beside, beside)):
        steps = torch.arange(0, width, 2, dtype=torch.float64, device=places.device)
        angles.append(places[:, axis : axis + 1] * THETA ** (-steps / width))
    angle = torch.cat(angles, dim=1)
    return angle.cos().float(), angle.sin().float()
