# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""An array of background images without people, for compositing and as negatives in training.

They pass through the same exposure, tone curve and sensor simulation as flat images in shards, so
a network cannot tell people from backgrounds by how they were recorded.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.synth.pack import Panorama
from thfm_ros.synth.rendering.render import tone_map
from thfm_ros.synth.rendering.sensor import random_exposure, random_sensor, record_frame
from thfm_ros.synth.scene.flat_image import HEIGHT, WIDTH, random_flat_image


def render_backgrounds(
    path: Path, panoramas: tuple[Panorama, ...], count: int, seed: int, artefacts: float = 0.5
) -> Iterator[int]:
    """Write ``path`` [count 192 256 3] u8, sRGB; yields the index of each finished image.

    The file appears when it is complete; an interrupted run leaves none and starts over.

    Args:
        path: the .npy file to write.
        panoramas: the panoramas; may be empty.
        count: number of images, at least 1.
        seed: image ``i`` depends on the seed and ``i`` alone.
        artefacts: share of images with artefacts of a bad camera.

    Raises:
        PerceptionError: ``count`` is 0 or less, or the file cannot be written.
    """
    if count < 1:
        raise PerceptionError(f"--count {count}: there must be at least 1 image")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            _write_header(file, count)
            for number in range(count):
                rng = np.random.default_rng((seed, 2, number))
                file.write(background(rng, panoramas, artefacts).tobytes())
                yield number
        part.replace(path)
    except OSError as error:
        raise PerceptionError(
            f"{path} cannot be written ({error.strerror or error}). Free some space or choose "
            "another --out, and run the same command again."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def background(
    rng: np.random.Generator, panoramas: tuple[Panorama, ...], artefacts: float
) -> UInt8[np.ndarray, "192 256 3"]:
    """One background image without people, as a camera records it."""
    linear = random_flat_image(rng, panoramas)
    linear = tone_map(linear * random_exposure(rng).astype(np.float32))
    return record_frame(rng, linear, random_sensor(rng, artefacts))


def _write_header(file: BinaryIO, count: int) -> None:
    """Write the header of an .npy file; a memory map would crash on a full disk."""
    shape = (count, HEIGHT, WIDTH, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
