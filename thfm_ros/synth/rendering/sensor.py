# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Sensor simulation: blur, motion blur, noise, flicker, exposure drift, JPEG, video coding."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.synth.rendering.render import FrameRender


@dataclass(frozen=True)
class Sensor:
    """Artefacts of one camera; zero means none."""

    blur_px: float = 0.0  # standard deviation of the lens blur
    shutter: float = 0.0  # share of the frame interval during which the shutter is open
    noise: float = 0.0  # standard deviation, image values 0..1
    banding: float = 0.0  # amplitude of row banding from flickering lamps
    exposure_drift: float = 0.0  # relative exposure change per frame (automatic exposure)
    jpeg_quality: int = 0  # 0: uncompressed
    resolution_share: float = 1.0  # share of the resolution at which it records


def random_sensor(rng: np.random.Generator, artefacts: float) -> Sensor:
    """A camera with little blur and noise, or with probability ``artefacts`` one with artefacts."""
    if rng.random() >= artefacts:
        return Sensor(blur_px=max(0.0, rng.normal(0.15, 0.3)), noise=abs(rng.normal(0, 0.006)))

    def with_probability(share: float, value: float) -> float:
        return value if rng.random() < share else 0.0

    return Sensor(
        blur_px=with_probability(0.5, rng.uniform(0.3, 1.1)),
        shutter=with_probability(0.5, rng.uniform(0.2, 1.0)),
        noise=with_probability(0.6, rng.uniform(0.005, 0.04)),
        banding=with_probability(0.15, rng.uniform(0.03, 0.15)),
        exposure_drift=with_probability(0.3, rng.uniform(0.02, 0.12)),
        jpeg_quality=int(with_probability(0.7, rng.uniform(25, 92))),
        resolution_share=1 - with_probability(0.25, rng.uniform(0.2, 0.6)),
    )


def random_exposure(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Factor per channel before the tone curve: brightness and white-balance error."""
    out: np.ndarray = rng.uniform(0.55, 1.5) * np.exp(rng.normal(0, 0.06, 3))
    return out


def record_clip(
    rng: np.random.Generator, frames: list[FrameRender], sensor: Sensor
) -> UInt8[np.ndarray, "t h w 3"]:
    """Apply the sensor to a clip: linear images 0..1 to sRGB bytes."""
    phase, exposure_gain = rng.uniform(0, 6.28), 1.0
    previous: np.ndarray | None = None
    out: list[np.ndarray] = []
    for index, frame in enumerate(frames):
        image, gain = frame.linear, None
        if sensor.shutter > 0:
            image = motion_blur(image, frame.labels.flow[..., :2], sensor.shutter)
        if sensor.banding or sensor.exposure_drift:
            exposure_gain *= np.exp(rng.normal(0, sensor.exposure_drift))
            rows = np.arange(len(image)) / len(image) * 9 + phase + 2.4 * index
            gain = exposure_gain * (1 + sensor.banding * np.sin(rows))
        previous = record_frame(rng, image, sensor, gain, previous)
        out.append(previous)
    return np.stack(out)


def record_frame(
    rng: np.random.Generator,
    image: Float32[np.ndarray, "h w 3"],
    sensor: Sensor,
    gain: Float[np.ndarray, "h"] | None = None,
    previous: UInt8[np.ndarray, "h w 3"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Apply the sensor to one image, without motion blur: sRGB bytes.

    Args:
        rng: random generator.
        image: linear light after the tone curve, 0..1.
        sensor: its artefacts.
        gain: factor on each row; None means 1.
        previous: the previous recorded frame, for video coding; None at the first frame.
    """
    if sensor.blur_px > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), sensor.blur_px)
    if gain is not None:
        image = image * gain[:, None, None]
    encoded = np.clip(image, 0, 1) ** (1 / 2.2)
    grain = rng.standard_normal(encoded.shape, np.float32) * sensor.noise
    encoded = encoded + grain * (0.5 + encoded)
    pixels = np.clip(encoded * 255 + 0.5, 0, 255).astype(np.uint8)
    pixels = _downscale_and_back(pixels, sensor.resolution_share)
    if sensor.jpeg_quality:
        pixels = _compress(pixels, previous, sensor.jpeg_quality)
    return pixels


def motion_blur(
    image: Float32[np.ndarray, "h w 3"], flow: Float32[np.ndarray, "h w 2"], shutter: float
) -> Float32[np.ndarray, "h w 3"]:
    """Motion blur: mean of the image along the fastest motion near each pixel.

    Args:
        image: linear light.
        flow: motion to the next frame, pixels.
        shutter: share of the frame interval during which the shutter is open.
    """
    path = np.nan_to_num(flow) * shutter
    speed = np.hypot(path[..., 0], path[..., 1])
    if speed.max() < 0.5:
        return image
    # Moving regions blur over static ones: each pixel takes the fastest motion around it.
    reach = int(np.clip(speed.max(), 1, 9)) | 1
    fastest = cv2.dilate(speed, np.ones((reach, reach), np.uint8))
    mean = cv2.blur(path, (reach, reach))
    scale = fastest / (np.hypot(mean[..., 0], mean[..., 1]) + 1e-3)
    path = mean * np.minimum(scale, 4)[..., None]
    height, width = speed.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.zeros_like(image)
    for share in np.linspace(-0.5, 0.5, 7, dtype=np.float32):
        total += cv2.remap(
            image,
            x + share * path[..., 0],
            y + share * path[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return total / 7


def _downscale_and_back(
    pixels: UInt8[np.ndarray, "h w 3"], resolution_share: float
) -> UInt8[np.ndarray, "h w 3"]:
    if resolution_share >= 1:
        return pixels
    height, width = pixels.shape[:2]
    small = (max(16, int(width * resolution_share)), max(16, int(height * resolution_share)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    out: np.ndarray = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


def _compress(
    pixels: UInt8[np.ndarray, "h w 3"], previous: UInt8[np.ndarray, "h w 3"] | None, quality: int
) -> UInt8[np.ndarray, "h w 3"]:
    """JPEG compression; for even qualities after the first frame, of the change between frames.

    The latter imitates video codecs, whose errors persist from frame to frame.
    """
    if previous is None or quality % 2:
        return _jpeg(pixels, quality)
    change = pixels.astype(np.int16) - previous.astype(np.int16)
    coded = _jpeg(np.clip(change // 2 + 128, 0, 255).astype(np.uint8), quality)
    return np.clip(previous + (coded.astype(np.int16) - 128) * 2, 0, 255).astype(np.uint8)


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1])
