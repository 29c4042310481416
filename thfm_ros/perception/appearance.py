# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What a person wears, in a few numbers: an appearance embedding without further network outputs.

It is colour statistics of the target's cells, by body part: hair, and clothes or skin of trunk and
limbs. The face is left out. Whoever wears the same looks the same to it.
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import Frame
from thfm_ros.perception.crop_region import crop_image
from thfm_ros.perception.decoding import Detection
from thfm_ros.skeleton import PART_NAMES

REGIONS = ("hair", "torso", "upper_arm", "lower_arm", "upper_leg", "lower_leg", "foot")
"""Parts of the body, left and right together."""

VALUES = 4
"""Per region: mean lightness, mean green-red and blue-yellow (CIE L*a*b*), deviation of L*."""

MIN_CELLS = 8
"""A region of fewer cells is unknown."""

_REGION_OF_PART = np.array(
    [next((i for i, n in enumerate(REGIONS) if part.endswith(n)), -1) for part in PART_NAMES]
)
_INNER = np.ones((3, 3), np.uint8)


def appearance_of(frame: Frame, detection: Detection) -> Float32[np.ndarray, "d"] | None:
    """The embedding of a detection with dense maps, NaN where a region is hidden.

    None without maps, or if no region is seen.

    Args:
        frame: in which the person was detected.
        detection: with the maps of its crop.
    """
    dense, target = detection.dense, detection.target
    if dense is None or target is None:
        return None
    height, width = target.shape
    crop = cv2.resize(crop_image(frame, detection.region), (width, height), None, 0, 0, 3)
    # Cells at the edge of the person also show what is behind it.
    inner = cv2.erode(target.astype(np.uint8), _INNER) > 0
    regions = np.where(inner, _REGION_OF_PART[dense.parts[1:].argmax(axis=0) + 1], -1)
    values = colour_statistics(crop, regions)
    return None if np.isnan(values).all() else values


def colour_statistics(
    rgb: UInt8[np.ndarray, "h w 3"], regions: np.ndarray
) -> Float32[np.ndarray, "d"]:
    """`VALUES` numbers of each of `REGIONS`; NaN for those with fewer than `MIN_CELLS` cells.

    Args:
        rgb: an image.
        regions: index into REGIONS of each pixel, -1: none of them.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    values = np.full((len(REGIONS), VALUES), np.nan, np.float32)
    for number in range(len(REGIONS)):
        cells = lab[regions == number]
        if len(cells) >= MIN_CELLS:
            values[number] = [*cells.mean(axis=0), cells[:, 0].std()]
    return values.reshape(-1)
