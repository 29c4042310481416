# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The images of media/drawing.py, fast enough for every frame of a camera.

A test compares each function with the slower one of the same name there.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt32

from thfm_ros.contract import Perception, TrackState
from thfm_ros.media import drawing
from thfm_ros.ros.to_msg.map_size import with_maps_for

_PARTS, _STEPS = 17, 32  # dense-pose colours are a table of parts and of 32 steps of u and v

# Rows: red, green, blue from x, y, z and 1. Right is red, up is green, towards the camera is blue.
_NORMAL_TO_RGB = np.array(
    [[127.5, 0, 0, 127.5], [0, -127.5, 0, 127.5], [0, 0, -127.5, 127.5]], np.float32
)
# As in media/drawing.py: strength of a tint, the smallest probability that is tinted, and the
# colour of mask pixels without an instance.
_TINT, _MIN_PROBABILITY = 0.45, 0.02 / 0.45
_NO_INSTANCE_COLOUR = (200, 200, 200)


def normal_colours(normals: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """`drawing.normal_colours`."""
    mixed = cv2.transform(np.ascontiguousarray(normals), _NORMAL_TO_RGB)
    # OpenCV clips while it rounds, and turns NaN into 0.
    return np.asarray(cv2.convertScaleAbs(mixed.reshape(len(mixed), -1))).reshape(normals.shape)


def dense_pose_colours(dense_pose: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """`drawing.dense_pose_colours`, with quantised u and v."""
    rgb = np.zeros(dense_pose.shape, np.uint8)
    part = cv2.extractChannel(dense_pose, 0)
    rows, columns = _bounding_slices(cv2.compare(part, 0.5, cv2.CMP_GT))  # false for NaN
    if rows.start == rows.stop:
        return rgb
    _, u, v = cv2.split(np.ascontiguousarray(dense_pose[rows, columns]))
    index = np.minimum(np.floor(u * _STEPS), _STEPS - 1) * _STEPS
    index += np.minimum(np.floor(v * _STEPS), _STEPS - 1)
    index += part[rows, columns] * (_STEPS * _STEPS)
    np.nan_to_num(index, copy=False)
    colours = _DENSE_POSE_TABLE.take(index.astype(np.int32))
    rgba = colours.view(np.uint8).reshape(*index.shape, 4)
    rgb[rows, columns] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    return rgb


def overlay(rgb: UInt8[np.ndarray, "h w 3"], perception: Perception) -> UInt8[np.ndarray, "h w 3"]:
    """`drawing.overlay`, tinting only the rectangle that contains people."""
    image = np.array(rgb, order="C")
    if perception.mask is not None:
        _tint(image, with_maps_for(perception, (image.shape[1], image.shape[0])))
    for body in perception.bodies:
        if body.state is not TrackState.LOST:
            drawing.draw_skeleton(image, body)
            drawing.draw_label(image, body)
    return image


def _tint(image: UInt8[np.ndarray, "h w 3"], perception: Perception) -> None:
    assert perception.mask is not None
    person = cv2.compare(perception.mask, _MIN_PROBABILITY, cv2.CMP_GT)
    rows, columns = _bounding_slices(person)
    pixels = image[rows, columns]
    if not pixels.size:
        return
    indices = np.full(pixels.shape[:2], 255, np.uint8)
    if perception.instances is not None:
        np.minimum(perception.instances[rows, columns], 255, out=indices, casting="unsafe")
    palette = np.full((1, 256, 3), _NO_INSTANCE_COLOUR, np.uint8)
    for index, body in enumerate(perception.bodies[:255]):
        palette[0, index] = drawing.colour_of(body.id)
    colours = cv2.LUT(cv2.merge([indices] * 3), palette)
    strength = np.clip(perception.mask[rows, columns], 0, 1) * np.float32(_TINT)
    blended = cv2.blendLinear(np.ascontiguousarray(pixels), colours, 1 - strength, strength)
    image[rows, columns] = blended


def _bounding_slices(mask: UInt8[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle with all non-zero pixels; empty if none."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(y, y + height), slice(x, x + width)


def _dense_pose_table() -> UInt32[np.ndarray, "n"]:
    """Colours by part * 32 * 32 + u step * 32 + v step; the bytes are red, green, blue, 0."""
    centres = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
    parts = np.arange(_PARTS, dtype=np.float32)
    grid = np.stack(np.meshgrid(parts, centres, centres, indexing="ij"), axis=-1)
    rgba = np.zeros((_PARTS * _STEPS * _STEPS, 4), np.uint8)
    rgba[:, :3] = drawing.dense_pose_colours(grid.reshape(_PARTS, -1, 3)).reshape(-1, 3)
    rgba[: _STEPS * _STEPS] = 0  # part 0 is background
    return rgba.view(np.uint32).reshape(-1)


_DENSE_POSE_TABLE = _dense_pose_table()
