"""Panoramas of light (.exr, linear) for a pack."""

import logging
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.synth.pack import Light

logger = logging.getLogger(__name__)
BRIGHTEST = 60.0  # a sun of 30,000 would drown everything else in the spherical harmonics
SIZE = (512, 256)  # width, height


def bake_lights(folder: Path) -> list[Light]:
    """Every panorama that can be read; DWAB-compressed ones need the OpenEXR package."""
    try:
        import OpenEXR
    except ImportError as error:
        logger.warning("Left out the panoramas: %s. Type: pip install OpenEXR", error)
        return []
    out = []
    for path in sorted(folder.rglob("*.exr")):
        try:
            with OpenEXR.File(str(path)) as file:
                pixels = np.asarray(file.channels()["RGB"].pixels, np.float32)
        except Exception as error:  # the binding raises bare exceptions of many kinds
            logger.warning("Left out %s: %s", path.name, error)
            continue
        whole = mended(np.clip(np.nan_to_num(pixels), 0, BRIGHTEST))
        small = cv2.resize(whole, SIZE, interpolation=cv2.INTER_AREA)
        out.append(Light(path.stem, encode(small)))
    return out


def mended(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Whiten the suns whose red and green a lossy compression has lost.

    Two of the panoramas in DWAB had a blue sun: it stood in the sky as a blue block, and lit
    everything blue. No lamp is forty times as bright in one channel as in another.
    """
    most = linear.max(axis=2)
    lost = (most > 8) & (linear.min(axis=2) < most / 40)
    around = np.ones((3, 3), np.uint8)
    lost = cv2.dilate(lost.astype(np.uint8), around) > 0
    white = np.repeat(cv2.dilate(most, around)[..., None], 3, axis=2)
    out: np.ndarray = np.where(lost[..., None], white, linear).astype(np.float32)
    return out


def encode(linear: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """To 8 bits per channel with a constant relative step of 5.1 %, from 1/4096 to 75."""
    code = np.round(14 * (np.log2(np.maximum(linear, 1e-6)) + 12))
    return np.where(linear < 2**-12, 0, np.clip(code, 1, 255)).astype(np.uint8)
