"""A stack of images without people, which training sets behind, before and instead of people.

They go the way of a flat image in a shard: exposure, tone curve, sensor with its faults. A
network must not tell people from what is behind them by how they were recorded.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.synth.pack import Light
from thfm_ros.synth.rendering.render import toned
from thfm_ros.synth.rendering.sensor import random_exposure, random_sensor, recorded
from thfm_ros.synth.scene.flat_image import HEIGHT, WIDTH, random_image


def render_backgrounds(
    path: Path, lights: tuple[Light, ...], count: int, seed: int, artefacts: float = 0.5
) -> Iterator[int]:
    """Write ``path`` [count 192 256 3] u8, sRGB; yields the number of each image when done.

    The file appears when it is whole; who stops before has nothing, and begins anew.

    Args:
        path: the .npy file to write.
        lights: the panoramas; there may be none.
        count: how many images, 1 or more.
        seed: image ``i`` depends on the seed and ``i`` alone.
        artefacts: share of images that a bad camera has recorded.

    Raises:
        PerceptionError: ``count`` is 0 or less, or the file cannot be written.
    """
    if count < 1:
        raise PerceptionError(f"--count {count}: at least 1 image, please")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            _write_header(file, count)
            for number in range(count):
                rng = np.random.default_rng((seed, 2, number))
                file.write(background(rng, lights, artefacts).tobytes())
                yield number
        part.replace(path)
    except OSError as error:
        raise PerceptionError(
            f"{path} cannot be written ({error.strerror or error}). Make room or choose another "
            "--out, and give the same command again."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def background(
    rng: np.random.Generator, lights: tuple[Light, ...], artefacts: float
) -> UInt8[np.ndarray, "192 256 3"]:
    """One image without people, as a camera records it."""
    linear = random_image(rng, lights)
    linear = toned(linear * random_exposure(rng).astype(np.float32))
    return recorded(rng, linear, random_sensor(rng, artefacts))


def _write_header(file: BinaryIO, count: int) -> None:
    """What ``np.save`` puts before the bytes. A memory map instead would die on a full disk."""
    shape = (count, HEIGHT, WIDTH, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
