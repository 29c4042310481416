# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Visualization: perceptions drawn over the frame, and dense maps as colours.

All images are RGB uint8 of the frame's size. Unknown pixels of a map are black.
"""

import colorsys
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.skeleton import BONES, PART_NAMES, Joint

_MAX_PANEL_HEIGHT = 2048
_BAND = 256  # rows that are drawn at a time
_TINT = 0.45  # opacity of the tint of people
_MIN_TINT = 0.02  # rows with less are left as they are
_LEFT = (80, 220, 100)
_RIGHT = (255, 140, 60)
_CENTRE = (240, 240, 240)
_GOLDEN_ANGLE = 0.381966  # in turns: hues of consecutive numbers differ clearly


def overlay(rgb: UInt8[np.ndarray, "h w 3"], perception: Perception) -> UInt8[np.ndarray, "h w 3"]:
    """A copy of the frame with each person tinted in a colour of their id, skeletons and labels.

    Lost tracks are left out.
    """
    image = np.array(rgb)  # a contiguous copy, which OpenCV can draw on
    if perception.mask is not None:
        _tint(image, perception)
    for body in perception.bodies:
        if body.state is not TrackState.LOST:
            draw_skeleton(image, body)
            draw_label(image, body)
    return image


def colour_of(body_id: str) -> tuple[int, int, int]:
    """The bright RGB colour of an id: the same in every frame and in every view."""
    hue = zlib.crc32(body_id.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_skeleton(image: UInt8[np.ndarray, "h w 3"], body: Body, min_score: float = 0.0) -> None:
    """Draw the body's bones and keypoints into ``image``; left is green, right is orange.

    Keypoints with a lower score are darker. Keypoints that are unknown or have a score below
    ``min_score`` are left out, and so are the bones that end in them.
    """
    longer_side = float((body.box[2:] - body.box[:2]).max())
    thickness = max(1, round(longer_side / 120))
    pixels = body.keypoints[:, :2]
    known = np.isfinite(pixels).all(axis=1) & (body.keypoints[:, 2] >= min_score)
    for a, b in BONES:
        if known[a] and known[b]:
            score = float(min(body.keypoints[a, 2], body.keypoints[b, 2]))
            colour = _darkened(_side_colour(b if _side_colour(a) == _CENTRE else a), score)
            cv2.line(image, _pixel(pixels[a]), _pixel(pixels[b]), colour, thickness, cv2.LINE_AA)
    for joint in Joint:
        if known[joint]:
            colour = _darkened(_side_colour(joint), float(body.keypoints[joint, 2]))
            cv2.circle(image, _pixel(pixels[joint]), thickness + 1, colour, -1, cv2.LINE_AA)


def draw_label(image: UInt8[np.ndarray, "h w 3"], body: Body) -> None:
    """Draw the body's box into ``image``, with its id and distance above; "?" if tentative."""
    colour = colour_of(body.id)
    x0, y0, x1, y1 = (int(edge) for edge in body.box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)
    text = body.id
    if np.isfinite(body.root_m[2]):
        text += f" {body.root_m[2]:.1f} m"
    if body.state is TrackState.TENTATIVE:
        text += " ?"
    size = min(0.6, max(0.35, (x1 - x0) / 250))
    corner = (x0, max(10, y0 - 4))
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def depth_colours(
    depth: Float32[np.ndarray, "h w"], near: float | None = None, far: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Depth as colours: near is red, far is blue, unknown (NaN) is black.

    ``near`` and ``far`` are the ends of the colour scale; by default the 2nd and 98th percentile
    of the image.
    """
    known = np.isfinite(depth)
    image = np.zeros((*depth.shape, 3), np.uint8)
    if not known.any():
        return image
    low, high = np.quantile(depth[known], [0.02, 0.98])
    low, high = low if near is None else near, high if far is None else far
    span = max(float(high - low), 1e-3)
    nearness = np.clip((high - depth[known]) / span, 0, 1)
    # A column: whether OpenCV takes a vector for a row or a column changed with OpenCV 5.
    levels = np.round(nearness * 255).astype(np.uint8).reshape(-1, 1)
    image[known] = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return image


def normal_colours(normals: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Normals (optical frame) as colours: right is red, up is green, to the camera is blue."""
    axes = np.array([0.5, -0.5, -0.5], np.float32)
    image = np.nan_to_num(normals * axes + 0.5, nan=0.0)
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


def part_colours(parts: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """One colour per part of skeleton.PART_NAMES; background is black."""
    return np.asarray(_PART_PALETTE[np.minimum(parts, len(_PART_PALETTE) - 1)])


def dense_pose_colours(dense_pose: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Part, u and v as colours: hue changes with u, brightness with v; unknown (NaN) is black."""
    known = np.isfinite(dense_pose[..., 0])
    part, u, v = np.moveaxis(np.nan_to_num(dense_pose), -1, 0)
    hue = (u + part * _GOLDEN_ANGLE) % 1.0
    hsv = np.stack([hue * 180, np.full_like(u, 190), 90 + 165 * v], -1)
    image = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    image[~known] = 0
    return np.asarray(image)


class DepthScale:
    """Ends of the scale of `depth_colours` for a video, smoothed so that colours do not flicker."""

    def __init__(self) -> None:
        self._near_far: Float32[np.ndarray, "2"] | None = None

    def update(self, depth: Float32[np.ndarray, "h w"]) -> tuple[float, float]:
        """Near and far end after this image; 0 and 1 while no depth was known in any image."""
        known = depth[np.isfinite(depth)]
        if len(known):
            current = np.quantile(known, [0.02, 0.98]).astype(np.float32)
            previous = current if self._near_far is None else self._near_far
            self._near_far = np.asarray(0.9 * previous + 0.1 * current)
        near, far = (0.0, 1.0) if self._near_far is None else self._near_far
        return float(near), float(far)


def side_by_side(
    rgb: UInt8[np.ndarray, "h w 3"],
    perception: Perception,
    scale: DepthScale,
    panel_width: int,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Input, overlay and one panel for each map of the perception, in rows of three.

    Panels have the size of the image, reduced to ``panel_width`` if the image is wider, and to 2048
    pixels if it is higher.
    ``scale`` is updated.
    """
    width, height = perception.width, perception.height
    reduction = min(1.0, panel_width / width, _MAX_PANEL_HEIGHT / height)
    size = max(1, round(width * reduction)), max(1, round(height * reduction))
    depth = perception.depth_m if perception.depth_m is not None else perception.depth_relative
    panels = [_resized(np.asarray(rgb), size), _resized(overlay(rgb, perception), size)]
    if depth is not None:
        near, far = scale.update(depth)
        panels.append(_panel(lambda band: depth_colours(band, near, far), depth, size))
    for colours, values in (
        (normal_colours, perception.normals),
        (part_colours, perception.parts),
        (dense_pose_colours, perception.dense_pose),
    ):
        if values is not None:
            panels.append(_panel(colours, values, size))
    columns = min(3, len(panels))
    panels += [np.zeros_like(panels[0])] * (-len(panels) % columns)
    rows = [np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    return np.vstack(rows)


def _panel(
    colours: Callable[[Any], UInt8[np.ndarray, "h w 3"]], values: np.ndarray, size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A map in colours at the size of a panel, made band by band, since floats need much memory."""
    image = np.empty((*values.shape[:2], 3), np.uint8)
    for top in range(0, len(values), _BAND):
        image[top : top + _BAND] = colours(values[top : top + _BAND])
    return _resized(image, size)


def _resized(
    image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(
        cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8
    )


def _tint(image: UInt8[np.ndarray, "h w 3"], perception: Perception) -> None:
    assert perception.mask is not None
    rows = np.flatnonzero((perception.mask > _MIN_TINT / _TINT).any(axis=1))
    if not len(rows):
        return
    for top in range(rows[0], rows[-1] + 1, _BAND):  # only the rows that show a person
        band = slice(top, min(top + _BAND, rows[-1] + 1))
        opacity = (np.clip(perception.mask[band], 0, 1) * _TINT)[..., None]
        colours = np.full((*opacity.shape[:2], 3), 200, np.float32)
        if perception.instances is not None:
            for index, body in enumerate(perception.bodies):
                colours[perception.instances[band] == index] = colour_of(body.id)
        mixed = image[band] * (1 - opacity) + colours * opacity
        image[band] = np.rint(mixed).astype(np.uint8)


def _side_colour(joint: Joint) -> tuple[int, int, int]:
    if joint.name.startswith("LEFT"):
        return _LEFT
    return _RIGHT if joint.name.startswith("RIGHT") else _CENTRE


def _darkened(colour: tuple[int, int, int], score: float) -> tuple[int, int, int]:
    brightness = 0.35 + 0.65 * min(max(score, 0.0), 1.0)
    red, green, blue = colour
    return round(brightness * red), round(brightness * green), round(brightness * blue)


def _pixel(keypoint: Float32[np.ndarray, "2"]) -> tuple[int, int]:
    # OpenCV counts pixel centres from 0, this package from 0.5. Clipped, since keypoints far
    # outside the image would overflow OpenCV's integers.
    x, y = np.clip(keypoint - 0.5, -1e4, 1e4)
    return round(float(x)), round(float(y))


def _palette() -> UInt8[np.ndarray, "n 3"]:
    colours = [(0, 0, 0)]
    for number in range(1, len(PART_NAMES)):
        red, green, blue = colorsys.hsv_to_rgb(
            (number * _GOLDEN_ANGLE) % 1, 0.65, 1 - 0.12 * (number % 3)
        )
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(colours, np.uint8)


_PART_PALETTE = _palette()
