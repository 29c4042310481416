"""A stack of pictures without people, which training sets behind, before and instead of people."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.synth.pack import Light
from thfm_ros.synth.picture import HEIGHT, WIDTH, random_picture


def render_backgrounds(
    path: Path, lights: tuple[Light, ...], count: int, seed: int
) -> Iterator[int]:
    """Write ``path`` [count 192 256 3] u8, sRGB; yields the number of each picture when done.

    Picture ``i`` depends on the seed and ``i`` alone. The file appears when it is whole.
    """
    part = path.with_suffix(".part.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = np.lib.format.open_memmap(part, "w+", np.uint8, (count, HEIGHT, WIDTH, 3))
    for number in range(count):
        rng = np.random.default_rng((seed, 2, number))
        stack[number] = to_srgb(random_picture(rng, lights))
        yield number
    stack.flush()
    del stack
    part.replace(path)


def to_srgb(linear: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Linear light 0..1 as the bytes of a picture (IEC 61966-2-1)."""
    bright = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    coded: np.ndarray = np.where(linear <= 0.0031308, 12.92 * linear, bright)
    found: np.ndarray = np.clip(coded * 255 + 0.5, 0, 255).astype(np.uint8)
    return found
