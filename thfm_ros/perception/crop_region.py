"""Where to look: the whole frame, or a steady square round a person; and cutting it out.

Regions lie on whole source pixels, so that a cut is one resize of a rectangle (a view of the
message's bytes) and the `PixelMap` is exact.
"""

import math
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from thfm_ros.config import RegionConfig
from thfm_ros.contract import Frame, PixelMap

OUTSIDE = 114
"""Grey of what lies outside the image; training pads with the same."""

_PART = 0.6  # of the image's length, so that four parts with an overlap cover it
_OVERLAP = 0.3  # of a part: who is smaller is whole in one of them
_LEAST_SHRINK = 1.5  # of the whole image, below which a part shows nothing new


class RegionKind(str, Enum):
    """What the network is asked about a region."""

    FRAME = "frame"  # who is there
    PERSON = "person"  # everything about the one in the middle


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the source image, as the network sees it."""

    map: PixelMap
    kind: RegionKind


def whole_frame(width: int, height: int, size: tuple[int, int]) -> Region:
    """The whole image of ``width`` x ``height``, letterboxed to ``size`` (width, height)."""
    step = math.gcd(*size)
    units = max(math.ceil(width * step / size[0]), math.ceil(height * step / size[1]))
    return Region(_snapped(width / 2, height / 2, units, size), RegionKind.FRAME)


def parts_of_frame(width: int, height: int, size: tuple[int, int]) -> list[Region]:
    """Overlapping parts that cover the image, each _PART of it, letterboxed to ``size``.

    None of an image that is hardly larger than what the network is shown.
    """
    shrink = max(width / size[0], height / size[1])
    if shrink < _LEAST_SHRINK:
        return []
    step = math.gcd(*size)
    units = max(1, round(_PART * step * shrink))
    side = size[0] // step * units, size[1] // step * units
    middles = [_middles(*each) for each in zip((width, height), side, strict=True)]
    return [
        Region(_snapped(x, y, units, size), RegionKind.FRAME)
        for y in middles[1]
        for x in middles[0]
    ]


def _middles(length: int, part: int) -> list[float]:
    """Where parts lie along one axis, so that neighbours share at least _OVERLAP of a part."""
    if part >= length:
        return [length / 2]
    count = math.ceil((length / part - _OVERLAP) / (1 - _OVERLAP))
    return [float(middle) for middle in np.linspace(part / 2, length - part / 2, count)]


def around(box: Float[np.ndarray, "4"], size: tuple[int, int], config: RegionConfig) -> Region:
    """The region that shows the person in ``box`` (x_min, y_min, x_max, y_max, source pixels).

    Its longer side is about ``config.margin`` times the box's, so a person fills 1 / margin of
    it. Only about: sides are multiples of a power of two near a tenth of them, so that few cells
    of the network's maps are a whole number of pixels, and parts of a map can be enlarged alone.
    """
    x, y, longer = _centre_and_side(box)
    side = max(config.margin * longer, config.min_person_px)
    units = side * math.gcd(*size) / max(size)
    grain = 2 ** max(0, int(math.log2(max(units, 1) / 10)))
    units = max(1, grain * round(units / grain))
    return Region(_snapped(x, y, units, size), RegionKind.PERSON)


def follow(region: Region, box: Float[np.ndarray, "4"], config: RegionConfig) -> Region:
    """``region`` itself while it shows the person in ``box`` whole and well placed, else a new one.

    A crop that trembles with its person would make the network see a trembling world, and each
    move costs the stream its memory.
    """
    size = (region.map.width, region.map.height)
    x, y, longer = _centre_and_side(box)
    side = region.map.scale * max(size)
    middle_x = region.map.offset_x + region.map.scale * size[0] / 2
    middle_y = region.map.offset_y + region.map.scale * size[1] / 2
    near = max(abs(x - middle_x), abs(y - middle_y)) <= config.max_shift * side
    ratio = max(config.margin * longer, config.min_person_px) / side
    alike = 1 / config.max_resize <= ratio <= config.max_resize
    if near and alike and shows_all_of(region, box):
        return region
    better = around(box, size, config)
    return region if better == region else better


def shows_all_of(region: Region, box: Float[np.ndarray, "4"]) -> bool:
    """Whether no edge of the region cuts ``box`` (source pixels)."""
    x0, y0, x1, y1 = source_rectangle(region.map)
    left, top, right, bottom = (float(edge) for edge in box)
    return x0 <= left and y0 <= top and right <= x1 and bottom <= y1


def source_rectangle(pixel_map: PixelMap) -> tuple[int, int, int, int]:
    """x_min, y_min, x_max, y_max (exclusive) in source pixels; may reach beyond the image."""
    x, y = round(pixel_map.offset_x), round(pixel_map.offset_y)
    width = round(pixel_map.scale * pixel_map.width)
    height = round(pixel_map.scale * pixel_map.height)
    return x, y, x + width, y + height


def cut(frame: Frame, region: Region) -> UInt8[np.ndarray, "h w 3"]:
    """The network image of a region, contiguous RGB; grey where it lies outside the frame."""
    height, width = frame.rgb.shape[:2]
    size = (region.map.width, region.map.height)
    x0, y0, x1, y1 = source_rectangle(region.map)
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = max(0, x1 - width), max(0, y1 - height)
    if left + right >= x1 - x0 or top + bottom >= y1 - y0:
        return np.full((size[1], size[0], 3), OUTSIDE, np.uint8)
    view = frame.rgb[y0 + top : y1 - bottom, x0 + left : x1 - right]
    # A bgr8 message arrives as a view that runs backwards through the channels. OpenCV would
    # copy all of it first (2.7 instead of 0.5 ms at 768x576): resize it as it lies, turn after.
    backwards = view.strides[2] < 0
    if backwards:
        view = view[..., ::-1]
    if left or top or right or bottom:
        grey = (OUTSIDE, OUTSIDE, OUTSIDE)
        view = cv2.copyMakeBorder(view, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
    how = cv2.INTER_AREA if region.map.scale > 1 else cv2.INTER_LINEAR
    image = cv2.resize(view, size, interpolation=how)
    return np.ascontiguousarray(image[..., ::-1] if backwards else image, dtype=np.uint8)


def _centre_and_side(box: Float[np.ndarray, "4"]) -> tuple[float, float, float]:
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, y1 - y0)


def _snapped(x: float, y: float, units: int, size: tuple[int, int]) -> PixelMap:
    """``units`` steps of a whole number of source pixels, centred on (x, y) but for rounding."""
    step = math.gcd(*size)
    width, height = size[0] // step * units, size[1] // step * units
    return PixelMap(
        scale=units / step,
        offset_x=float(round(x - width / 2)),
        offset_y=float(round(y - height / 2)),
        width=size[0],
        height=size[1],
    )
