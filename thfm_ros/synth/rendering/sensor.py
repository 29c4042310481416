"""What a real camera does to an image: blur, motion blur, noise, flicker, JPEG, video codecs."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.synth.rendering.render import Rendered


@dataclass(frozen=True)
class Sensor:
    """One camera's faults; zero means none."""

    blur_px: float = 0.0  # of the lens
    shutter: float = 0.0  # share of the frame time that the shutter is open
    noise: float = 0.0  # of 0..1
    banding: float = 0.0  # lamps flicker while rows are read out
    drift: float = 0.0  # automatic exposure hunts
    jpeg_quality: int = 0  # 0: not compressed
    coarse: float = 1.0  # recorded at this share of the resolution


def random_sensor(rng: np.random.Generator, artefacts: float) -> Sensor:
    """A good camera, or with probability ``artefacts`` one with some faults."""
    if rng.random() >= artefacts:
        return Sensor(blur_px=max(0.0, rng.normal(0.15, 0.3)), noise=abs(rng.normal(0, 0.006)))

    def sometimes(share: float, value: float) -> float:
        return value if rng.random() < share else 0.0

    return Sensor(
        blur_px=sometimes(0.5, rng.uniform(0.3, 1.1)),
        shutter=sometimes(0.5, rng.uniform(0.2, 1.0)),
        noise=sometimes(0.6, rng.uniform(0.005, 0.04)),
        banding=sometimes(0.15, rng.uniform(0.03, 0.15)),
        drift=sometimes(0.3, rng.uniform(0.02, 0.12)),
        jpeg_quality=int(sometimes(0.7, rng.uniform(25, 92))),
        coarse=1 - sometimes(0.25, rng.uniform(0.2, 0.6)),
    )


def random_exposure(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Factor per channel before the tone curve: brightness, and a white balance that is off."""
    out: np.ndarray = rng.uniform(0.55, 1.5) * np.exp(rng.normal(0, 0.06, 3))
    return out


def expose(
    rng: np.random.Generator, frames: list[Rendered], sensor: Sensor
) -> UInt8[np.ndarray, "t h w 3"]:
    """Record a clip: linear images 0..1 to sRGB bytes."""
    phase, gain = rng.uniform(0, 6.28), 1.0
    previous: np.ndarray | None = None
    out: list[np.ndarray] = []
    for index, frame in enumerate(frames):
        image, light = frame.linear, None
        if sensor.shutter > 0:
            image = smeared(image, frame.labels.flow[..., :2], sensor.shutter)
        if sensor.banding or sensor.drift:
            gain *= np.exp(rng.normal(0, sensor.drift))
            rows = np.arange(len(image)) / len(image) * 9 + phase + 2.4 * index
            light = gain * (1 + sensor.banding * np.sin(rows))
        previous = recorded(rng, image, sensor, light, previous)
        out.append(previous)
    return np.stack(out)


def recorded(
    rng: np.random.Generator,
    image: Float32[np.ndarray, "h w 3"],
    sensor: Sensor,
    light: Float[np.ndarray, "h"] | None = None,
    previous: UInt8[np.ndarray, "h w 3"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """One image as bytes, with every fault but motion blur.

    Args:
        rng: source of chance.
        image: linear light after the tone curve, 0..1.
        sensor: its faults.
        light: factor on each row.
        previous: the frame before, as it was recorded; video codes the change to it.
    """
    if sensor.blur_px > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), sensor.blur_px)
    if light is not None:
        image = image * light[:, None, None]
    encoded = np.clip(image, 0, 1) ** (1 / 2.2)
    grain = rng.standard_normal(encoded.shape, np.float32) * sensor.noise
    encoded = encoded + grain * (0.5 + encoded)
    pixels = np.clip(encoded * 255 + 0.5, 0, 255).astype(np.uint8)
    pixels = _resampled(pixels, sensor.coarse)
    if sensor.jpeg_quality:
        pixels = _compressed(pixels, previous, sensor.jpeg_quality)
    return pixels


def smeared(
    image: Float32[np.ndarray, "h w 3"], flow: Float32[np.ndarray, "h w 2"], shutter: float
) -> Float32[np.ndarray, "h w 3"]:
    """Motion blur: the mean of the image along the path that moves most near each pixel."""
    path = np.nan_to_num(flow) * shutter
    speed = np.hypot(path[..., 0], path[..., 1])
    if speed.max() < 0.5:
        return image
    # What moves smears over what stands: each pixel takes the fastest path of its surroundings.
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


def _resampled(pixels: UInt8[np.ndarray, "h w 3"], coarse: float) -> UInt8[np.ndarray, "h w 3"]:
    if coarse >= 1:
        return pixels
    height, width = pixels.shape[:2]
    small = (max(16, int(width * coarse)), max(16, int(height * coarse)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    out: np.ndarray = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return out


def _compressed(
    pixels: UInt8[np.ndarray, "h w 3"], previous: UInt8[np.ndarray, "h w 3"] | None, quality: int
) -> UInt8[np.ndarray, "h w 3"]:
    """JPEG; within a clip, as video codecs do, only the change to the frame before is coded.

    Each second quality number stands for video: errors then stay in place from frame to frame.
    """
    if previous is None or quality % 2:
        return _jpeg(pixels, quality)
    change = pixels.astype(np.int16) - previous.astype(np.int16)
    coded = _jpeg(np.clip(change // 2 + 128, 0, 255).astype(np.uint8), quality)
    return np.clip(previous + (coded.astype(np.int16) - 128) * 2, 0, 255).astype(np.uint8)


def _jpeg(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    _, code = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))[..., ::-1])
