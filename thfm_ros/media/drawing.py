"""Images for people: what is perceived, drawn over the frame or as colours of its own.

All images are RGB uint8 of the frame's size. Unknown pixels stay as they are, or black.
"""

import colorsys
import zlib

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.skeleton import BONES, PART_NAMES, Joint

_TINT = 0.45
_LEFT = (80, 220, 100)
_RIGHT = (255, 140, 60)
_MIDDLE = (240, 240, 240)


def overlay(rgb: UInt8[np.ndarray, "h w 3"], seen: Perception) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with everybody tinted in a colour of their own, and their skeletons."""
    image = np.array(rgb)  # contiguous, and ours to draw on
    if seen.mask is not None:
        _tint(image, seen)
    for body in seen.bodies:
        if body.state is not TrackState.LOST:
            skeleton(image, body)
            label(image, body)
    return image


def colour_of(name: str) -> tuple[int, int, int]:
    """A bright colour that belongs to an id: the same in every frame and in every view."""
    hue = zlib.crc32(name.encode()) / 2**32
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def skeleton(image: UInt8[np.ndarray, "h w 3"], body: Body, min_score: float = 0.0) -> None:
    """Draw bones and joints into ``image``; left is green, right orange, as on ships.

    Fainter is less sure; bones with an unknown end are left out.
    """
    longer = float((body.box[2:] - body.box[:2]).max())
    thick = max(1, round(longer / 120))
    places = body.keypoints[:, :2]
    known = np.isfinite(places).all(axis=1) & (body.keypoints[:, 2] >= min_score)
    for a, b in BONES:
        if known[a] and known[b]:
            sure = float(min(body.keypoints[a, 2], body.keypoints[b, 2]))
            colour = _faded(_side_colour(b if _side_colour(a) == _MIDDLE else a), sure)
            cv2.line(image, _pixel(places[a]), _pixel(places[b]), colour, thick, cv2.LINE_AA)
    for joint in Joint:
        if known[joint]:
            colour = _faded(_side_colour(joint), float(body.keypoints[joint, 2]))
            cv2.circle(image, _pixel(places[joint]), thick + 1, colour, -1, cv2.LINE_AA)


def label(image: UInt8[np.ndarray, "h w 3"], body: Body) -> None:
    """Write id and distance over the body's box."""
    colour = colour_of(body.id)
    x0, y0, x1, y1 = (int(edge) for edge in body.box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)
    text = body.id
    if np.isfinite(body.root_m[2]):
        text += f" {body.root_m[2]:.1f} m"
    if body.state is TrackState.TENTATIVE:
        text += " ?"
    size = min(0.6, max(0.35, (x1 - x0) / 250))
    at = (x0, max(10, y0 - 4))
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def depth_colours(
    depth: Float32[np.ndarray, "h w"], near: float | None = None, far: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Near is red, far is blue, unknown is black; the range is the image's own if not given."""
    known = np.isfinite(depth)
    image = np.zeros((*depth.shape, 3), np.uint8)
    if not known.any():
        return image
    low, high = np.quantile(depth[known], [0.02, 0.98])
    low, high = low if near is None else near, high if far is None else far
    span = max(float(high - low), 1e-3)
    share = np.clip((high - depth[known]) / span, 0, 1)
    # A column: what a vector is, a row or a column, changed with OpenCV 5.
    levels = np.round(share * 255).astype(np.uint8).reshape(-1, 1)
    image[known] = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return image


def normal_colours(normals: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The usual image of normals: right is red, up is green, towards the camera is blue."""
    towards = np.array([0.5, -0.5, -0.5], np.float32)
    image = np.nan_to_num(normals * towards + 0.5, nan=0.0)
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), np.uint8)


def part_colours(parts: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """One colour per body part; left and right differ, background is black."""
    return np.asarray(_PART_PALETTE[np.minimum(parts, len(_PART_PALETTE) - 1)])


def dense_pose_colours(surface: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Hue runs round each part with u, brightness along it with v."""
    known = np.isfinite(surface[..., 0])
    part, u, v = np.moveaxis(np.nan_to_num(surface), -1, 0)
    hue = (u + part * 0.381966) % 1.0  # the golden angle keeps neighbouring parts apart
    hsv = np.stack([hue * 180, np.full_like(u, 190), 90 + 165 * v], -1)
    image = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    image[~known] = 0
    return np.asarray(image)


class DepthScale:
    """A range of depths for `depth_colours` that follows a video without flicker."""

    def __init__(self) -> None:
        self._near_far: Float32[np.ndarray, "2"] | None = None

    def follow(self, depth: Float32[np.ndarray, "h w"]) -> tuple[float, float]:
        """Near and far end, after one more image was seen."""
        known = depth[np.isfinite(depth)]
        if len(known):
            now = np.quantile(known, [0.02, 0.98]).astype(np.float32)
            before = now if self._near_far is None else self._near_far
            self._near_far = np.asarray(0.9 * before + 0.1 * now)
        near, far = (0.0, 1.0) if self._near_far is None else self._near_far
        return float(near), float(far)


def side_by_side(
    rgb: UInt8[np.ndarray, "h w 3"],
    seen: Perception,
    scale: DepthScale,
    panel_width: int,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Input, overlay and whatever maps there are, in rows of three.

    Panels are as large as the image, or as ``panel_width`` if that is less.
    """
    panels = [np.asarray(rgb), overlay(rgb, seen)]
    depth = seen.depth_m if seen.depth_m is not None else seen.depth_relative
    if depth is not None:
        panels.append(depth_colours(depth, *scale.follow(depth)))
    if seen.normals is not None:
        panels.append(normal_colours(seen.normals))
    if seen.parts is not None:
        panels.append(part_colours(seen.parts))
    if seen.dense_pose is not None:
        panels.append(dense_pose_colours(seen.dense_pose))
    if seen.width > panel_width:
        size = panel_width, round(seen.height * panel_width / seen.width)
        panels = [
            cv2.resize(np.ascontiguousarray(panel), size, interpolation=cv2.INTER_AREA)
            for panel in panels
        ]
    columns = min(3, len(panels))
    panels += [np.zeros_like(panels[0])] * (-len(panels) % columns)
    rows = [np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)]
    return np.vstack(rows)


def _tint(image: UInt8[np.ndarray, "h w 3"], seen: Perception) -> None:
    assert seen.mask is not None
    strength = (np.clip(seen.mask, 0, 1) * _TINT)[..., None]
    colours = np.full((seen.height, seen.width, 3), 200, np.float32)
    if seen.instances is not None:
        for index, body in enumerate(seen.bodies):
            colours[seen.instances == index] = colour_of(body.id)
    rows = np.flatnonzero((strength > 0.02).any(axis=(1, 2)))
    if len(rows):  # blend only the rows with somebody in them
        band = slice(rows[0], rows[-1] + 1)
        mixed = image[band] * (1 - strength[band]) + colours[band] * strength[band]
        image[band] = np.rint(mixed).astype(np.uint8)


def _side_colour(joint: Joint) -> tuple[int, int, int]:
    if joint.name.startswith("LEFT"):
        return _LEFT
    return _RIGHT if joint.name.startswith("RIGHT") else _MIDDLE


def _faded(colour: tuple[int, int, int], sure: float) -> tuple[int, int, int]:
    share = 0.35 + 0.65 * min(max(sure, 0.0), 1.0)
    return round(share * colour[0]), round(share * colour[1]), round(share * colour[2])


def _pixel(place: Float32[np.ndarray, "2"]) -> tuple[int, int]:
    # OpenCV counts pixel centres from 0, this package from 0.5; far-off joints must not overflow.
    x, y = np.clip(place - 0.5, -1e4, 1e4)
    return round(float(x)), round(float(y))


def _palette() -> UInt8[np.ndarray, "n 3"]:
    colours = [(0, 0, 0)]
    for number in range(1, len(PART_NAMES)):
        red, green, blue = colorsys.hsv_to_rgb(
            (number * 0.381966) % 1, 0.65, 1 - 0.12 * (number % 3)
        )
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(colours, np.uint8)


_PART_PALETTE = _palette()
