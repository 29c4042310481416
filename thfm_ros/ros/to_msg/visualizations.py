"""The images of draw.py, fast enough to be made from every frame of a camera.

A test holds each of them to its plain twin there.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import Perception, TrackState
from thfm_ros.media import drawing as draw

_PARTS, _STEPS = 17, 32  # places of the surface with a colour of their own: u, v in 32 steps

# Rows: red, green, blue from x, y, z and 1. Right is red, up is green, towards us is blue.
_NORMAL_TO_RGB = np.array(
    [[127.5, 0, 0, 127.5], [0, -127.5, 0, 127.5], [0, 0, -127.5, 127.5]], np.float32
)
# As in draw.py: how strong a tint is, the least mask that is tinted, and the colour where the mask
# sees somebody whom no instance claims.
_TINT, _FAINTEST = 0.45, 0.02 / 0.45
_NOBODY = (200, 200, 200)


def normal_colours(normals: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """`draw.normal_colours`."""
    mixed = cv2.transform(np.ascontiguousarray(normals), _NORMAL_TO_RGB)
    # OpenCV saturates while it rounds, and NaN to 0.
    return np.asarray(cv2.convertScaleAbs(mixed.reshape(len(mixed), -1))).reshape(normals.shape)


def dense_pose_colours(surface: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """`draw.dense_pose_colours`, with u and v in steps."""
    rgb = np.zeros(surface.shape, np.uint8)
    part = cv2.extractChannel(surface, 0)
    rows, columns = _filled(cv2.compare(part, 0.5, cv2.CMP_GT))  # NaN is not greater
    if rows.start == rows.stop:
        return rgb
    _, u, v = cv2.split(np.ascontiguousarray(surface[rows, columns]))
    place = np.minimum(np.floor(u * _STEPS), _STEPS - 1) * _STEPS
    place += np.minimum(np.floor(v * _STEPS), _STEPS - 1)
    place += part[rows, columns] * (_STEPS * _STEPS)
    np.nan_to_num(place, copy=False)
    colours = _SURFACE.take(place.astype(np.int32)).view(np.uint8).reshape(*place.shape, 4)
    rgb[rows, columns] = cv2.cvtColor(colours, cv2.COLOR_RGBA2RGB)
    return rgb


def overlay(rgb: UInt8[np.ndarray, "h w 3"], seen: Perception) -> UInt8[np.ndarray, "h w 3"]:
    """`draw.overlay`, tinting only the rectangle that holds people."""
    image = np.array(rgb, order="C")
    if seen.mask is not None:
        _tint(image, seen)
    for body in seen.bodies:
        if body.state is not TrackState.LOST:
            draw.skeleton(image, body)
            draw.label(image, body)
    return image


def _tint(image: UInt8[np.ndarray, "h w 3"], seen: Perception) -> None:
    assert seen.mask is not None
    rows, columns = _filled(cv2.compare(seen.mask, _FAINTEST, cv2.CMP_GT))
    here = image[rows, columns]
    if not here.size:
        return
    numbers = np.full(here.shape[:2], 255, np.uint8)
    if seen.instances is not None:
        np.minimum(seen.instances[rows, columns], 255, out=numbers, casting="unsafe")
    palette = np.full((1, 256, 3), _NOBODY, np.uint8)
    for index, body in enumerate(seen.bodies[:255]):
        palette[0, index] = draw.colour_of(body.id)
    colours = cv2.LUT(cv2.merge([numbers] * 3), palette)
    strength = np.clip(seen.mask[rows, columns], 0, 1) * np.float32(_TINT)
    blended = cv2.blendLinear(np.ascontiguousarray(here), colours, 1 - strength, strength)
    image[rows, columns] = blended


def _filled(marks: UInt8[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds every mark; empty for none."""
    x, y, width, height = cv2.boundingRect(marks)
    return slice(y, y + height), slice(x, x + width)


def _surface_colours() -> np.ndarray:
    """Red, green, blue, 0 as one number for each place: part * 32 * 32 + u * 32 + v."""
    middles = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
    parts = np.arange(_PARTS, dtype=np.float32)
    grid = np.stack(np.meshgrid(parts, middles, middles, indexing="ij"), axis=-1)
    rgba = np.zeros((_PARTS * _STEPS * _STEPS, 4), np.uint8)
    rgba[:, :3] = draw.dense_pose_colours(grid.reshape(_PARTS, -1, 3)).reshape(-1, 3)
    rgba[: _STEPS * _STEPS] = 0  # part 0 is where nobody is
    return rgba.view(np.uint32).reshape(-1)


_SURFACE = _surface_colours()
