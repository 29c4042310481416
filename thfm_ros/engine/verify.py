# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Verification of built engines: their outputs for a fixed clip are compared with PyTorch's."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import Engine
from thfm_ros.model.outputs import RawOutputs


class Tolerance(NamedTuple):
    """Largest difference between an engine and PyTorch; see `difference`."""

    largest: float
    quantile: float


TOLERANCES = {
    "float32": Tolerance(1e-4, 1.0),
    # A trained nano in half precision on a CPU differed by 2.4e-3 (in bfloat16 by 0.16, which is
    # why bfloat16 is not used).
    "float16": Tolerance(2e-2, 0.99),
    # Trained nanos differed by 0.12 and 0.13 (the logit of presence), with 7-bit weights by 0.17.
    "int8": Tolerance(0.25, 0.95),
}


def fixed_clip(size: tuple[int, int], frames: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Images with smooth and sharp content that moves; equal on every machine."""
    width, height = size
    random = np.random.default_rng(20260325)
    noise = random.integers(-40, 40, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width] / 16.0
    clip = []
    for i in range(frames):
        waves = np.stack([np.sin(x + i), np.cos(y - 0.7 * i), np.sin(x * y / 4 + i)], -1)
        clip.append((128 + 80 * waves + np.roll(noise, 3 * i, 1)).clip(0, 255).astype(np.uint8))
    return clip


def named_arrays(raw: RawOutputs) -> Iterator[tuple[str, Float32[np.ndarray, "..."]]]:
    """All outputs with their names."""
    for group in (raw.body, raw.dense):
        for name, value in group._asdict().items() if group is not None else ():
            yield name, np.asarray(value, np.float32)


def relative_errors(
    name: str, found: Float32[np.ndarray, "..."], expected: Float32[np.ndarray, "..."]
) -> Float32[np.ndarray, "..."]:
    """|a - b| / max(1, max |b|) of each value of an output; infinite where it is NaN.

    Raises:
        ValueError: the outputs called ``name`` differ in shape.
    """
    if found.shape != expected.shape:
        raise ValueError(f"{name} is {found.shape} and should be {expected.shape}")
    error = np.abs(found - expected) / max(1.0, float(np.abs(expected).max()))
    return np.asarray(np.where(np.isnan(error), np.float32(np.inf), error))


def largest_error(errors: Float32[np.ndarray, "..."], quantile: float) -> float:
    """The largest of that share of the errors that are smallest; never NaN."""
    # Without interpolation: between two infinite errors it would give NaN, which no maximum keeps.
    return float(np.quantile(errors, quantile, method="higher"))


def part_difference(
    engine: Engine,
    reference: Engine,
    part: str,
    *,
    size: tuple[int, int] | None = None,
    quantile: float = 1.0,
) -> float:
    """`difference` or `detection_difference` for one graph, named as in graph_engine.PARTS."""
    if part == "detect":
        return detection_difference(engine, reference, quantile=quantile)
    return difference(engine, reference, dense=part == "dense", size=size, quantile=quantile)


def difference(
    engine: Engine,
    reference: Engine,
    *,
    dense: bool,
    size: tuple[int, int] | None = None,
    quantile: float = 1.0,
) -> float:
    """The largest difference between the outputs of ``engine`` and ``reference`` on the fixed clip.

    The stream is two frames longer than the window, so that the cache fills and slides; every
    second crop is about a box. The difference of two outputs of one step is
    |a - b| / max(1, max |b|). With ``quantile`` below 1 the largest values of each output are
    ignored: in half precision another cell of a heatmap may become the peak, which moves its joint.

    Args:
        engine: to be verified.
        reference: what it is compared with.
        dense: whether dense outputs are compared as well.
        size: width and height of the crops; None: of the card of ``engine``.
        quantile: share of the values of each output that is taken into account.

    Returns:
        the largest of all differences; infinite if an output is NaN.

    Raises:
        ValueError: two outputs differ in shape.
    """
    largest = 0.0
    state: object | None = None
    reference_state: object | None = None
    images = fixed_clip(size or engine.card.crop_size, reference.card.window + 2)
    for number, image in enumerate(images):
        box = _BOX if number % 2 else None
        outputs, state = engine.step(image, state, dense=dense, target_box=box)
        expected, reference_state = reference.step(
            image, reference_state, dense=dense, target_box=box
        )
        pairs = zip(named_arrays(outputs), named_arrays(expected), strict=True)
        largest = max(largest, *(_error(name, a, b, quantile) for (name, a), (_, b) in pairs))
    return largest


def detection_difference(engine: Engine, reference: Engine, *, quantile: float = 1.0) -> float:
    """Like `difference`, for the detection outputs of two whole images."""
    largest = 0.0
    for image in fixed_clip(reference.card.frame_size, 2):
        found, expected = engine.detect(image), reference.detect(image)
        errors = (
            _error(name, a, b, quantile)
            for name, a, b in zip(found._fields, found, expected, strict=True)
        )
        largest = max(largest, *errors)
    return largest


_BOX = np.array([0.2, 0.1, 0.7, 0.95], np.float32)


def _error(name: str, a: np.ndarray, b: np.ndarray, quantile: float) -> float:
    return largest_error(relative_errors(name, a, b), quantile)
