# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Regions of the source image that the network sees: the whole frame, tiles, and person crops.

A region is a `PixelMap`. Regions lie on whole source pixels, so that cropping is one resize of a
rectangle (a view of the message's bytes) and the `PixelMap` is exact.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from thfm_ros.config import RegionConfig
from thfm_ros.contract import PADDING_GREY, Frame, PixelMap

LARGE_TILES = 0.6  # of the image's length, so that 2 x 2 tiles with an overlap cover it
SMALL_TILES = 0.45  # 3 x 3 tiles
TALL_HYSTERESIS = 0.88  # of regions.tall_aspect, below which a tall crop becomes square again
_TILE_OVERLAP = 0.3  # of a tile: a smaller person is whole in one of them
_MIN_DOWNSCALING = 1.5  # of the whole image, below which a tile adds no resolution


def whole_frame(width: int, height: int, size: tuple[int, int]) -> PixelMap:
    """The whole image of ``width`` x ``height``, letterboxed to ``size`` (width, height)."""
    step = math.gcd(*size)
    units = max(math.ceil(width * step / size[0]), math.ceil(height * step / size[1]))
    return _snapped(width / 2, height / 2, units, size)


def frame_tiles(
    width: int, height: int, size: tuple[int, int], share: float = LARGE_TILES
) -> list[PixelMap]:
    """Overlapping tiles that cover the image, row by row, letterboxed to ``size``.

    Args:
        width: of the image.
        height: of the image.
        size: of the network's image, width and height.
        share: length of a tile, of the image's.

    Returns:
        no tiles if the image is hardly larger than ``size``.
    """
    downscaling = max(width / size[0], height / size[1])
    if downscaling < _MIN_DOWNSCALING:
        return []
    step = math.gcd(*size)
    units = max(1, round(share * step * downscaling))
    side = size[0] // step * units, size[1] // step * units
    columns, rows = (_tile_centres(*each) for each in zip((width, height), side, strict=True))
    return [_snapped(x, y, units, size) for y in rows for x in columns]


def _tile_centres(length: int, tile: int) -> list[float]:
    """Centres of tiles along one axis; neighbours overlap by at least _TILE_OVERLAP of a tile."""
    if tile >= length:
        return [length / 2]
    count = math.ceil((length / tile - _TILE_OVERLAP) / (1 - _TILE_OVERLAP))
    return [float(centre) for centre in np.linspace(tile / 2, length - tile / 2, count)]


def region_around(
    box: Float[np.ndarray, "4"], size: tuple[int, int], config: RegionConfig
) -> PixelMap:
    """The region of the person in ``box`` (x_min, y_min, x_max, y_max, source pixels).

    It is approximately ``config.margin`` times as long as the box along the axis where that is
    more. Only approximately: sides are multiples of a power of two near a tenth of them, so that
    few cells of the network's maps are a whole number of source pixels, and a part of a map can be
    enlarged on its own.
    """
    x, y, longer = _centre_and_side(box, size)
    side = max(config.margin * longer, config.min_person_px)
    units = side * math.gcd(*size) / max(size)
    grain = 2 ** max(0, int(math.log2(max(units, 1) / 10)))
    units = max(1, grain * round(units / grain))
    return _snapped(x, y, units, size)


def follow_box(
    region: PixelMap,
    box: Float[np.ndarray, "4"],
    config: RegionConfig,
    sizes: Sequence[tuple[int, int]] = (),
) -> PixelMap:
    """``region`` itself while the person in ``box`` is whole and well placed in it, else another.

    A crop that followed the jitter of a box would show the network a moving background, and each
    move costs the stream its temporal state.

    Args:
        region: the present crop.
        box: x_min, y_min, x_max, y_max, source pixels.
        config: when crops move, and when they are tall.
        sizes: widths and heights of square and of tall crops; with fewer than two of them crops
            keep their shape.
    """
    size = (region.width, region.height)
    shape = _shape_for(box, size, sizes, config.tall_aspect)
    if shape != size:
        return region_around(box, shape, config)
    x, y, longer = _centre_and_side(box, size)
    side = region.scale * max(size)
    centre_x = region.offset_x + region.scale * size[0] / 2
    centre_y = region.offset_y + region.scale * size[1] / 2
    shift = max(abs(x - centre_x) * max(size) / size[0], abs(y - centre_y) * max(size) / size[1])
    is_centred = shift <= config.max_shift * side
    ratio = max(config.margin * longer, config.min_person_px) / side
    fits_size = 1 / config.max_resize <= ratio <= config.max_resize
    if is_centred and fits_size and contains_box(region, box):
        return region
    moved = region_around(box, size, config)
    return region if moved == region else moved


def _shape_for(
    box: Float[np.ndarray, "4"],
    size: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
    tall_aspect: float,
) -> tuple[int, int]:
    """The size of the crop for a box, ``size`` at present; a changed shape costs the state, so
    that a tall crop remains until the box is clearly wider."""
    if len(sizes) < 2:
        return size
    square, tall = sizes[:2]
    limit = tall_aspect * (TALL_HYSTERESIS if size == tall else 1.0)
    is_tall = 0 < limit * (box[2] - box[0]) <= box[3] - box[1]
    return tall if is_tall else square


def contains_box(region: PixelMap, box: Float[np.ndarray, "4"]) -> bool:
    """Whether all of ``box`` (source pixels) lies in the region."""
    x0, y0, x1, y1 = source_rectangle(region)
    left, top, right, bottom = (float(edge) for edge in box)
    return x0 <= left and y0 <= top and right <= x1 and bottom <= y1


def source_rectangle(region: PixelMap) -> tuple[int, int, int, int]:
    """x_min, y_min, x_max, y_max (exclusive) in source pixels; may reach beyond the image."""
    x, y = round(region.offset_x), round(region.offset_y)
    width = round(region.scale * region.width)
    height = round(region.scale * region.height)
    return x, y, x + width, y + height


def crop_image(frame: Frame, region: PixelMap) -> UInt8[np.ndarray, "h w 3"]:
    """The network image of a region, contiguous RGB; PADDING_GREY outside the frame."""
    height, width = frame.rgb.shape[:2]
    size = (region.width, region.height)
    x0, y0, x1, y1 = source_rectangle(region)
    left, top = max(0, -x0), max(0, -y0)
    right, bottom = max(0, x1 - width), max(0, y1 - height)
    if left + right >= x1 - x0 or top + bottom >= y1 - y0:
        return np.full((size[1], size[0], 3), PADDING_GREY, np.uint8)
    view = frame.rgb[y0 + top : y1 - bottom, x0 + left : x1 - right]
    # A bgr8 message arrives as a view with a negative channel stride. OpenCV would copy all of it
    # first (2.7 instead of 0.5 ms at 768x576): resize in BGR order, reverse the result.
    is_reversed = view.strides[2] < 0
    if is_reversed:
        view = view[..., ::-1]
    if left or top or right or bottom:
        grey = (PADDING_GREY,) * 3
        view = cv2.copyMakeBorder(view, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey)
    interpolation = cv2.INTER_AREA if region.scale > 1 else cv2.INTER_LINEAR
    image = cv2.resize(view, size, interpolation=interpolation)
    return np.ascontiguousarray(image[..., ::-1] if is_reversed else image, dtype=np.uint8)


def _centre_and_side(
    box: Float[np.ndarray, "4"], size: tuple[int, int]
) -> tuple[float, float, float]:
    """x and y of the centre, and the longer side of the smallest region of the proportions of
    ``size`` (width, height) that contains the box.
    """
    x0, y0, x1, y1 = (float(edge) for edge in box)
    needed = max((x1 - x0) / size[0], (y1 - y0) / size[1])
    return (x0 + x1) / 2, (y0 + y1) / 2, needed * max(size)


def _snapped(x: float, y: float, units: int, size: tuple[int, int]) -> PixelMap:
    """A region centred on (x, y) up to rounding; its scale is ``units`` / gcd of ``size``.

    That makes both sides whole numbers of source pixels.
    """
    step = math.gcd(*size)
    width, height = size[0] // step * units, size[1] // step * units
    return PixelMap(
        scale=units / step,
        offset_x=float(round(x - width / 2)),
        offset_y=float(round(y - height / 2)),
        width=size[0],
        height=size[1],
    )
