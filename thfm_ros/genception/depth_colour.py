"""Depth as a colour, the way the public checkpoints paint it.

Depth goes along seven edges of the RGB cube: black, red, yellow, green, cyan, blue, magenta,
white. An image that a video codec has touched is never quite on the path: a colour is read off
by the nearest point of the nearest edge.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.genception.config import GenceptionError

SCALE = 0.4
"""Of the public checkpoints. White, the end of the path, is 11.2 times the median depth."""

_CORNERS = (
    (0.0, 0.0, 0.0),
    (1.0, 0.0, 0.0),
    (1.0, 1.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0),
    (1.0, 0.0, 1.0),
    (1.0, 1.0, 1.0),
)
_EDGES = len(_CORNERS) - 1


def value_to_colour(value: Float[Tensor, "..."]) -> Float[Tensor, "... 3"]:
    """The colour at a place on the path; 0 is black (near), 1 is white (far).

    What is outside 0..1 is painted as the nearer end; NaN stays NaN.
    """
    corners = value.new_tensor(_CORNERS)
    along = value.clamp(0.0, 1.0) * _EDGES
    edge = along.nan_to_num(0.0).floor().clamp(0, _EDGES - 1).long()
    start = corners[edge]
    return start + (corners[edge + 1] - start) * (along - edge)[..., None]


def colour_to_value(rgb: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
    """The place on the path that is nearest to a colour; of equally near edges, the nearer depth.

    Colours outside the cube are taken as they are; NaN gives NaN.
    """
    _check(rgb)
    corners = torch.tensor(_CORNERS)
    nearest = rgb.new_full(rgb.shape[:-1], torch.inf)
    value = torch.full_like(nearest, torch.nan)
    # Edge by edge: seven small passes instead of an array of seven times the image.
    for edge in range(_EDGES):
        start, step = corners[edge].tolist(), (corners[edge + 1] - corners[edge]).tolist()
        from_start = [rgb[..., i] - start[i] for i in range(3)]
        # An edge runs along one axis, so only that axis says how far along it a colour is.
        axis = next(i for i in range(3) if step[i])
        share = (from_start[axis] * step[axis]).clamp(0.0, 1.0)
        off = [from_start[i] - share * step[i] for i in range(3)]
        distance = off[0] ** 2 + off[1] ** 2 + off[2] ** 2
        better = distance < nearest
        nearest = torch.where(better, distance, nearest)
        value = torch.where(better, (share + edge) / _EDGES, value)
    return value


def depth_to_colour(depth: Float[Tensor, "..."], scale: float = SCALE) -> Float[Tensor, "... 3"]:
    """Paint a depth given in units of the clip's median. Behind about 11 medians all is white."""
    return value_to_colour(scale * torch.log1p(depth))


def colour_to_depth(rgb: Float[Tensor, "... 3"], scale: float = SCALE) -> Float[Tensor, "..."]:
    """Depth in units of the clip's median, 0 at the camera; NaN where the colour is NaN."""
    return torch.exp(colour_to_value(rgb) / scale) - 1.0


def _check(rgb: Tensor) -> None:
    if rgb.shape[-1:] != (3,) or not rgb.is_floating_point():
        raise GenceptionError(
            f"An image of depth is {rgb.dtype} {list(rgb.shape)}; expected floating-point RGB in "
            "0..1, channels last (divide bytes by 255)."
        )
