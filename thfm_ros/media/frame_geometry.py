# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How a decoded frame is to be shown: square pixels, and the display matrix of the container."""

import logging
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

log = logging.getLogger(__name__)

_MAX_STRETCH = 8
"""Pixels that are longer than this, by either side, are a mistake of the file."""


class FrameGeometry(NamedTuple):
    """What turns the coded pixels into the image that a person is meant to see.

    The coded frame is stretched to ``width`` x ``height``, then transposed, then mirrored.
    """

    width: int  # of the stretched frame, before it is turned
    height: int
    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of the image, pixels."""
        return (self.height, self.width) if self.transpose else (self.width, self.height)

    def turned(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        """The stretched frame, turned and mirrored as it is to be shown."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.mirror_x:
            image = image[:, ::-1]
        if self.mirror_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def geometry_of(frame: Any, pixel_aspect: Fraction | None) -> FrameGeometry:
    """The geometry of a decoded PyAV frame.

    Args:
        frame: an `av.VideoFrame`, whose display matrix is read.
        pixel_aspect: width of a pixel / height of a pixel (SAR); None: unknown, so square.
    """
    width, height = square_pixel_size(frame.width, frame.height, pixel_aspect)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return FrameGeometry(width, height)
    # x' = a x + c y, y' = b x + d y, in 16.16 fixed point. Angles between quarter turns, which no
    # camera writes, are shown as the nearest quarter turn.
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return FrameGeometry(width, height, transpose=True, mirror_x=c < 0, mirror_y=b < 0)
    return FrameGeometry(width, height, mirror_x=a < 0, mirror_y=d < 0)


def square_pixel_size(width: int, height: int, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """The size in square pixels of an image whose pixels are not; no side becomes shorter."""
    if not pixel_aspect or pixel_aspect == 1:
        return width, height
    if not Fraction(1, _MAX_STRETCH) <= pixel_aspect <= _MAX_STRETCH:
        log.warning(
            "Pixels %s times as wide as high are implausible: taken as square", pixel_aspect
        )
        return width, height
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)
