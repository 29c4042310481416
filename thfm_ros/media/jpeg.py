# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decoding of a complete JPEG, in files and in messages; a damaged one is refused.

libjpeg-turbo decodes it, through simplejpeg. OpenCV decodes to the same values in three times the
time, and returns an image without a word if data are missing in its middle: the rest is grey or
shifted.
"""

from typing import NamedTuple

import numpy as np
import simplejpeg
from jaxtyping import UInt8

START = b"\xff\xd8"
"""How a JPEG begins."""

_MAX_SCANS = 100  # of a progressive JPEG, which has about 10; each costs as much as an image
_START_OF_SCAN, _END_OF_IMAGE, _PROGRESSIVE = b"\xff\xda", b"\xff\xd9", b"\xff\xc2"


class Header(NamedTuple):
    """What the header of a JPEG says; ``is_cmyk``: `decode` does not know its colours."""

    width: int
    height: int
    is_grey: bool
    is_cmyk: bool


def header_of(data: bytes) -> Header:
    """The header of a JPEG.

    Raises:
        ValueError: it is damaged.
    """
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    return Header(width, height, colours == "Gray", colours not in ("Gray", "YCbCr", "RGB"))


def decode(data: bytes, header: Header) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Grey [h, w] or RGB [h, w, 3], in the orientation in which it is stored.

    Args:
        data: the whole file.
        header: as `header_of` reads it; its size is checked by the caller.

    Raises:
        ValueError: data are missing or damaged, so that libjpeg would have to invent pixels; or
            it has more than 100 scans.
    """
    if (scans := data.count(_START_OF_SCAN)) > _MAX_SCANS:
        raise ValueError(f"a JPEG of {scans} scans; {_MAX_SCANS} are accepted")
    lacks_end = _lacks_only_its_end(data, components=1 if header.is_grey else 3)
    file = data + _END_OF_IMAGE if lacks_end else data
    pixels = simplejpeg.decode_jpeg(file, "GRAY" if header.is_grey else "RGB", strict=True)
    return np.asarray(pixels[:, :, 0] if header.is_grey else pixels)


def _lacks_only_its_end(data: bytes, components: int) -> bool:
    """Whether the marker at the end is missing, and nothing else can be.

    Some cameras leave it out. If the only scan of a JPEG has all components, a decoder notices
    when it ends early; of several scans whole ones could be missing.
    """
    scan = data.rfind(_START_OF_SCAN)
    return (
        data.rfind(_END_OF_IMAGE) < scan
        and data[scan + 4 : scan + 5] == bytes([components])
        and _PROGRESSIVE not in data[:scan]
    )
