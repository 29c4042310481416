"""What the videos mean that the full-size network answers with.

Every answer is an RGB video in 0..1. What is published of the encodings is used; what is not is
an assumption with a name, and says so: see `NormalConvention`.
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
from thfm_ros.genception.depth_colour import SCALE, colour_to_depth
from thfm_ros.geometry import unproject

MASK_THRESHOLD = 0.5
_SHORTEST = 0.25
"""A normal shorter than this before it is made a unit is no direction: grey says nothing."""


@dataclass(frozen=True)
class NormalConvention:
    """Signs from channels to axes: axis = sign * (2 * channel - 1); red x, green y, blue z.

    Axes are those of the optical frame: x right, y down, z away from the camera.
    """

    x: int
    y: int
    z: int


ASSUMED_NORMALS = NormalConvention(-1, -1, -1)
"""Red left, green up, blue towards the camera, as in a related work by the same group.

For the public GenCeption weights the signs are not published. `likeliest_convention` finds them
from one clip of which depth is known too.
"""


def decode_depth(rgb: Float[Tensor, "t 3 h w"], scale: float = SCALE) -> Float[Tensor, "t h w"]:
    """Depth along +Z in units of the clip's median; never metres. Ends at about 11.2 (white)."""
    return colour_to_depth(rgb.float().movedim(1, -1), scale)


def decode_normals(
    rgb: Float[Tensor, "t 3 h w"], convention: NormalConvention = ASSUMED_NORMALS
) -> Float[Tensor, "t 3 h w"]:
    """Unit vectors in the optical frame; NaN where the colour is too grey to be a direction."""
    signs = rgb.new_tensor((convention.x, convention.y, convention.z), dtype=torch.float32)
    vectors = (2 * rgb.float() - 1) * signs[:, None, None]
    known = vectors.norm(dim=1, keepdim=True) >= _SHORTEST
    return torch.where(known, normalize(vectors, dim=1), torch.nan)


def decode_mask(rgb: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t h w"]:
    """How much each pixel belongs to what was asked for, 0..1; a mask above `MASK_THRESHOLD`.

    A brightness that the network painted, not a calibrated probability.
    """
    return rgb.float().amax(dim=1).clamp(0, 1)


def decode(
    task: Task,
    rgb: Float[Tensor, "t 3 h w"],
    *,
    depth_scale: float = SCALE,
    normals: NormalConvention = ASSUMED_NORMALS,
) -> Float[Tensor, "t c h w"]:
    """What an answer says, by the task that was asked: one channel, three for normals."""
    if task is Task.DEPTH:
        return decode_depth(rgb, depth_scale)[:, None]
    if task is Task.NORMALS:
        return decode_normals(rgb, normals)
    if task is Task.SEGMENTATION:
        return decode_mask(rgb)[:, None]
    raise GenceptionError(
        f"{task.value} is not a task of the full-size network; it has depth, normals and "
        "segmentation. Take the checkpoint 'nano' for the others."
    )


def normals_of_depth(
    depth: Float32[np.ndarray, "h w"], intrinsics: Intrinsics
) -> Float32[np.ndarray, "h w 3"]:
    """Unit normals towards the camera of a depth map of any scale; NaN at its rim."""
    points = unproject(depth, intrinsics).astype(np.float64)
    out = np.full(points.shape, np.nan, np.float32)
    right = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    crossed = np.cross(down, right)
    with np.errstate(invalid="ignore", divide="ignore"):
        out[1:-1, 1:-1] = crossed / np.linalg.norm(crossed, axis=-1, keepdims=True)
    return out


def likeliest_convention(
    rgb: Float[Tensor, "3 h w"], depth: Float[Tensor, "h w"], intrinsics: Intrinsics
) -> tuple[NormalConvention, float]:
    """The signs under which painted normals agree best with a depth map of the same image.

    Returns:
        The convention, and the median angle to the normals of the depth map, in degrees. Trust
        it only if the scene has surfaces that face left, right, up and down.
    """
    wanted = torch.from_numpy(normals_of_depth(depth.float().cpu().numpy(), intrinsics))
    best, least = ASSUMED_NORMALS, float("inf")
    for signs in product((1, -1), repeat=3):
        found = decode_normals(rgb[None].cpu(), NormalConvention(*signs))[0].movedim(0, -1)
        cosine = (found * wanted).sum(dim=-1).clamp(-1, 1)
        angle = float(cosine.acos().rad2deg().nanmedian())
        if angle < least:
            best, least = NormalConvention(*signs), angle
    return best, least
