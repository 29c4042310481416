# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The depth colour map of the public checkpoints, and its inverse.

Depth runs along seven edges of the RGB cube: black, red, yellow, green, cyan, blue, magenta,
white. Colours of an image that a VAE decoded are not exactly on that path; each is projected to
the nearest point of the nearest edge.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.genception.config import GenceptionError

DEPTH_SCALE = 0.4
"""Of the public checkpoints: path position = 0.4 ln(depth / median + 1).

White, the end of the path, is 11.2 times the median depth.
"""

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
    """RGB in 0..1 at a position on the colour path; 0 is black (near), 1 is white (far).

    Positions outside 0..1 are clamped; NaN stays NaN.
    """
    corners = value.new_tensor(_CORNERS)
    position = value.clamp(0.0, 1.0) * _EDGES
    edge = position.nan_to_num(0.0).floor().clamp(0, _EDGES - 1).long()
    start = corners[edge]
    return start + (corners[edge + 1] - start) * (position - edge)[..., None]


def colour_to_value(rgb: Float[Tensor, "... 3"]) -> Float[Tensor, "..."]:
    """The position on the colour path, 0..1, that is nearest to a colour.

    Where two edges are equally near, the one of smaller depth is taken. Colours outside the RGB
    cube are not clamped first; NaN gives NaN.

    Raises:
        GenceptionError: not floating point, or the last axis is not RGB.
    """
    _check_rgb(rgb)
    corners = torch.tensor(_CORNERS)
    least_distance = rgb.new_full(rgb.shape[:-1], torch.inf)
    value = torch.full_like(least_distance, torch.nan)
    # Edge by edge: seven small passes instead of an array of seven times the image.
    for edge in range(_EDGES):
        start, step = corners[edge].tolist(), (corners[edge + 1] - corners[edge]).tolist()
        from_start = [rgb[..., i] - start[i] for i in range(3)]
        # An edge is parallel to one axis, which alone gives the projection onto the edge.
        axis = next(i for i in range(3) if step[i])
        fraction = (from_start[axis] * step[axis]).clamp(0.0, 1.0)
        offset = [from_start[i] - fraction * step[i] for i in range(3)]
        distance = offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2
        nearer = distance < least_distance
        least_distance = torch.where(nearer, distance, least_distance)
        value = torch.where(nearer, (fraction + edge) / _EDGES, value)
    return value


def depth_to_colour(
    depth: Float[Tensor, "..."], scale: float = DEPTH_SCALE
) -> Float[Tensor, "... 3"]:
    """RGB of a depth in units of the clip's median; white from about 11 medians on."""
    return value_to_colour(scale * torch.log1p(depth))


def colour_to_depth(
    rgb: Float[Tensor, "... 3"], scale: float = DEPTH_SCALE
) -> Float[Tensor, "..."]:
    """Depth in units of the clip's median, 0 at the camera; NaN where the colour is NaN."""
    return torch.exp(colour_to_value(rgb) / scale) - 1.0


def _check_rgb(rgb: Tensor) -> None:
    if rgb.shape[-1:] != (3,) or not rgb.is_floating_point():
        raise GenceptionError(
            f"The depth image is {rgb.dtype} {list(rgb.shape)}; expected floating-point RGB in "
            "0..1, channels last (divide bytes by 255)."
        )
