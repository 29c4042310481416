# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Panoramas (.exr, linear light) for a pack."""

import logging
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.synth.pack import Panorama

logger = logging.getLogger(__name__)
BRIGHTEST = 60.0  # clips the sun, which would dominate the spherical harmonics
SIZE = (512, 256)  # width, height


def bake_panoramas(folder: Path) -> list[Panorama]:
    """All readable panoramas below ``folder``; others are skipped with a warning.

    DWAB compression needs the OpenEXR package.
    """
    try:
        import OpenEXR
    except ImportError as error:
        logger.warning("Skipped the panoramas: %s. Type: pip install OpenEXR", error)
        return []
    out = []
    for path in sorted(folder.rglob("*.exr")):
        try:
            with OpenEXR.File(str(path)) as file:
                pixels = np.asarray(file.channels()["RGB"].pixels, np.float32)
        except Exception as error:  # the binding raises bare exceptions of many kinds
            logger.warning("Skipped %s: %s", path.name, error)
            continue
        repaired = whiten_clipped_suns(np.clip(np.nan_to_num(pixels), 0, BRIGHTEST))
        small = cv2.resize(repaired, SIZE, interpolation=cv2.INTER_AREA)
        out.append(Panorama(path.stem, encode_panorama(small)))
    return out


def whiten_clipped_suns(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Whiten suns whose red and green channels were lost in lossy compression.

    Two of the DWAB panoramas had such a blue sun, which lit whole scenes blue. No real lamp is
    forty times as bright in one channel as in another.
    """
    brightest = linear.max(axis=2)
    lost = (brightest > 8) & (linear.min(axis=2) < brightest / 40)
    kernel = np.ones((3, 3), np.uint8)
    lost = cv2.dilate(lost.astype(np.uint8), kernel) > 0
    white = np.repeat(cv2.dilate(brightest, kernel)[..., None], 3, axis=2)
    out: np.ndarray = np.where(lost[..., None], white, linear).astype(np.float32)
    return out


def encode_panorama(linear: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Encode with 8 bits per channel and a constant relative step of 5.1 %, from 1/4096 to 75."""
    code = np.round(14 * (np.log2(np.maximum(linear, 1e-6)) + 12))
    return np.where(linear < 2**-12, 0, np.clip(code, 1, 255)).astype(np.uint8)
