# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Photometric augmentation: exposure, white balance, resolution, blur, noise, JPEG.

Parameters are drawn once per clip and applied to each frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8


@dataclass(frozen=True, slots=True)
class Photometric:
    """Parameters of one clip; a neutral value (None, 0 or 1) switches a step off."""

    gamma: float
    contrast: float
    brightness: float
    gain: np.ndarray
    saturation: float
    hue: np.ndarray | None  # 3x3 rotation about grey
    shrink: float  # factor of downscaling, before upscaling to the size it had
    interpolation: int  # of the upscaling
    blur: float
    motion: np.ndarray | None  # kernel of the motion blur
    noise: float  # standard deviation, of 0..1
    jpeg: int  # quality; 0: not compressed
    veil: tuple[float, float] | None  # share and level (of 0..1) of fog, glare, or darkness


def draw_photometric(rng: np.random.Generator, strength: float = 1.0) -> Photometric:
    """Draw the parameters; ``strength`` 1 is full augmentation, smaller values are milder."""
    interpolations = (cv2.INTER_LINEAR, cv2.INTER_NEAREST, cv2.INTER_CUBIC)
    return Photometric(
        gamma=float(np.exp(rng.normal(0, 0.2 * strength))),
        contrast=float(np.exp(rng.normal(0, 0.2 * strength))),
        brightness=float(rng.normal(0, 0.07 * strength)),
        gain=np.exp(rng.normal(0, 0.06 * strength, 3)).astype(np.float32),
        saturation=0.0 if rng.random() < 0.08 else float(np.exp(rng.normal(-0.1, 0.3))),
        hue=_hue(rng.normal(0, 0.35)) if rng.random() < 0.25 * strength else None,
        shrink=rng.uniform(0.35, 1) if rng.random() < 0.25 * strength else 1.0,
        interpolation=interpolations[rng.integers(3)],
        blur=rng.uniform(0.3, 1.3) if rng.random() < 0.3 * strength else 0.0,
        motion=_motion(rng) if rng.random() < 0.12 * strength else None,
        noise=rng.uniform(0.005, 0.05) if rng.random() < 0.4 * strength else 0.0,
        jpeg=int(rng.uniform(25, 95)) if rng.random() < 0.5 * strength else 0,
        veil=_veil(rng) if rng.random() < 0.1 * strength else None,
    )


def _veil(rng: np.random.Generator) -> tuple[float, float]:
    """Fog or glare for one half, darkness for the other."""
    is_fog = rng.random() < 0.5
    level = rng.uniform(0.5, 0.95) if is_fog else rng.uniform(0.0, 0.08)
    return float(rng.uniform(0.2, 0.7)), float(level)


def _hue(angle: float) -> np.ndarray:
    """Rotation of the colour space about the grey axis (Rodrigues' formula)."""
    a = 3**-0.5
    cross = np.array([[0, -a, a], [a, 0, -a], [-a, a, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    rotation: np.ndarray = turn.T.astype(np.float32)
    return rotation


def _motion(rng: np.random.Generator) -> np.ndarray:
    size = int(rng.choice([3, 5, 7]))
    kernel = np.zeros((size, size), np.float32)
    angle, middle = rng.uniform(0, 2 * np.pi), size // 2
    ends = np.array([np.cos(angle), np.sin(angle)]) * middle
    first, last = (middle - ends).round().astype(int), (middle + ends).round().astype(int)
    cv2.line(kernel, tuple(map(int, first)), tuple(map(int, last)), 1.0)
    normalised: np.ndarray = kernel / kernel.sum()
    return normalised


def apply_photometric(
    image: Float32[np.ndarray, "h w 3"], p: Photometric, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Apply to one image in 0..255; ``rng`` makes the noise, which differs per frame."""
    x = np.clip(image * (1 / 255), 0, 1) ** p.gamma
    x = ((x - 0.45) * p.contrast + 0.45 + p.brightness) * p.gain
    if p.saturation != 1:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * p.saturation
    if p.hue is not None:
        x = x @ p.hue
    if p.veil is not None:
        share, level = p.veil
        x = x + share * (level - x)
    x = x.astype(np.float32)
    if p.shrink < 1:
        h, w = x.shape[:2]
        small = (max(16, int(w * p.shrink)), max(16, int(h * p.shrink)))
        x = cv2.resize(cv2.resize(x, small, interpolation=cv2.INTER_AREA), (w, h),
                       interpolation=p.interpolation)  # fmt: skip
    if p.blur > 0.25:
        x = cv2.GaussianBlur(x, (0, 0), p.blur)
    if p.motion is not None:
        x = cv2.filter2D(x, -1, p.motion)
    if p.noise > 0:
        x = x + rng.standard_normal(x.shape).astype(np.float32) * p.noise
    out: np.ndarray = np.clip(x * 255, 0, 255).astype(np.uint8)
    return _through_jpeg(out, p.jpeg) if p.jpeg else out


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded: np.ndarray | None = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded
