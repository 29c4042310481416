# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Demosaicing of 8-bit Bayer images, raw or compressed."""

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.camera.bad_input import BadInputError

# ROS names a Bayer pattern by its first four pixels (rggb: red first). These constants of OpenCV
# name it by the second row's second and third pixel: RGGB of ROS is BG of OpenCV.
_CODES = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
PATTERNS: tuple[str, ...] = tuple(_CODES)
"""The encodings that `demosaic` accepts."""


def demosaic(mosaic: UInt8[np.ndarray, "h w"], pattern: str) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB array of a Bayer image; ``pattern`` is one of `PATTERNS`.

    Raises:
        BadInputError: the image has less than 4 rows or columns.
    """
    height, width = mosaic.shape
    if min(height, width) < 4:
        raise BadInputError("size", f"A Bayer image of {width}x{height} is too small.")
    return np.asarray(cv2.cvtColor(mosaic, _CODES[pattern]))
