# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decoding the RGB videos that the full-size network predicts into depth, normals and masks.

Every prediction is an RGB video in 0..1. The published encodings are used; what is not published
is an explicit assumption, see `NormalConvention`.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import normalize

from thfm_ros.contract import Intrinsics, Task
from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.depth_colour import DEPTH_SCALE, colour_to_depth
from thfm_ros.geometry import unproject

MASK_THRESHOLD = 0.5
"""A pixel belongs to the mask above this value."""
_MIN_NORMAL_LENGTH = 0.25
"""Vectors shorter than this before normalization have no reliable direction (grey pixels)."""


@dataclass(frozen=True)
class NormalConvention:
    """Signs of the normal encoding: axis = sign * (2 * channel - 1); red x, green y, blue z.

    Axes are those of the optical frame: x right, y down, z forward.
    """

    x: int
    y: int
    z: int


ASSUMED_NORMALS = NormalConvention(-1, -1, -1)
"""Red left, green up, blue towards the camera, as in a related work by the same group.

The signs of the public GenCeption weights are not published. `likeliest_convention` estimates
them from a clip whose depth is known.
"""


def decode_depth(
    rgb: Float[Tensor, "t 3 h w"], scale: float = DEPTH_SCALE
) -> Float[Tensor, "t h w"]:
    """Depth along +Z in units of the clip's median, never metres; at most about 11.2 (white)."""
    return colour_to_depth(rgb.float().movedim(1, -1), scale)


def decode_normals(
    rgb: Float[Tensor, "t 3 h w"], convention: NormalConvention = ASSUMED_NORMALS
) -> Float[Tensor, "t 3 h w"]:
    """Unit normals in the optical frame; NaN where the colour is too grey to give a direction."""
    signs = rgb.new_tensor((convention.x, convention.y, convention.z), dtype=torch.float32)
    vectors = (2 * rgb.float() - 1) * signs[:, None, None]
    reliable = vectors.norm(dim=1, keepdim=True) >= _MIN_NORMAL_LENGTH
    return torch.where(reliable, normalize(vectors, dim=1), torch.nan)


def decode_mask(rgb: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t h w"]:
    """Mask score of each pixel for the prompted expression, 0..1; see `MASK_THRESHOLD`.

    The brightness of the predicted image, not a calibrated probability.
    """
    return rgb.float().amax(dim=1).clamp(0, 1)


def decode(
    task: Task,
    rgb: Float[Tensor, "t 3 h w"],
    *,
    depth_scale: float = DEPTH_SCALE,
    normals: NormalConvention = ASSUMED_NORMALS,
) -> Float[Tensor, "t c h w"]:
    """Decode a predicted video according to its task.

    Args:
        task: depth, normals or segmentation.
        rgb: the predicted video in 0..1.
        depth_scale: of the depth colour map.
        normals: signs of the normal encoding.

    Returns:
        One channel; three for normals.

    Raises:
        GenceptionError: the full-size network does not have this task.
    """
    if task is Task.DEPTH:
        return decode_depth(rgb, depth_scale)[:, None]
    if task is Task.NORMALS:
        return decode_normals(rgb, normals)
    if task is Task.SEGMENTATION:
        return decode_mask(rgb)[:, None]
    raise GenceptionError(
        f"{task.value} is not a task of the full-size network; it has depth, normals and "
        "segmentation. Use the checkpoint 'nano' for the others."
    )


def normals_of_depth(
    depth: Float32[np.ndarray, "h w"], intrinsics: Intrinsics
) -> Float32[np.ndarray, "h w 3"]:
    """Unit normals, facing the camera, of a depth map of any scale; NaN at the image border."""
    points = unproject(depth, intrinsics).astype(np.float64)
    out = np.full(points.shape, np.nan, np.float32)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normals = np.cross(down, right)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[1:-1, 1:-1] = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    return out


def likeliest_convention(
    rgb: Float[Tensor, "3 h w"], depth: Float[Tensor, "h w"], intrinsics: Intrinsics
) -> tuple[NormalConvention, float]:
    """The signs for which predicted normals agree best with a depth map of the same image.

    Args:
        rgb: predicted normal image in 0..1.
        depth: along +Z, in any unit.
        intrinsics: of that image size.

    Returns:
        The convention, and the median angle to the normals of the depth map, in degrees. It is
        reliable only if the scene has surfaces that face left, right, up and down.
    """
    expected = torch.from_numpy(normals_of_depth(depth.float().cpu().numpy(), intrinsics))
    best, least_angle = ASSUMED_NORMALS, float("inf")
    for signs in product((1, -1), repeat=3):
        normals = decode_normals(rgb[None].cpu(), NormalConvention(*signs))[0].movedim(0, -1)
        cosine = (normals * expected).sum(dim=-1).clamp(-1, 1)
        angle = float(cosine.acos().rad2deg().nanmedian())
        if angle < least_angle:
            best, least_angle = NormalConvention(*signs), angle
    return best, least_angle
