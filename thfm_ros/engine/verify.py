"""Is this engine the network? Both see the same fixed clip and must say the same."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import Engine
from thfm_ros.model.outputs import RawOutputs


class Tolerance(NamedTuple):
    """How far from PyTorch an engine may be; see `difference`."""

    largest: float
    quantile: float


TOLERANCES = {
    "float32": Tolerance(1e-4, 1.0),
    # A trained nano in half precision, computed on a CPU, was within 2.4e-3 (bfloat16: 0.16,
    # which is why that is not used).
    "float16": Tolerance(2e-2, 0.99),
}


def fixed_clip(size: tuple[int, int], frames: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Images with soft and sharp content that moves; the same on every machine."""
    width, height = size
    random = np.random.default_rng(20260325)
    noise = random.integers(-40, 40, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width] / 16.0
    clip = []
    for i in range(frames):
        waves = np.stack([np.sin(x + i), np.cos(y - 0.7 * i), np.sin(x * y / 4 + i)], -1)
        clip.append((128 + 80 * waves + np.roll(noise, 3 * i, 1)).clip(0, 255).astype(np.uint8))
    return clip


def arrays_of(raw: RawOutputs) -> Iterator[tuple[str, Float32[np.ndarray, "..."]]]:
    """Every output with its name."""
    for group in (raw.body, raw.dense):
        for name, value in group._asdict().items() if group is not None else ():
            yield name, np.asarray(value, np.float32)


def difference(
    engine: Engine, reference: Engine, size: tuple[int, int], *, dense: bool, quantile: float = 1.0
) -> float:
    """How far ``engine`` is from ``reference`` on the fixed clip.

    The stream is two frames longer than the window, so that the memory fills and forgets. Every
    output of every step counts by |a - b| / max(1, max |b|). With ``quantile`` below 1 the rest
    of each output is left out: the strongest cell of a heatmap may be another one in half
    precision, and its joint is then elsewhere.

    Returns:
        the largest of all; NaN counts as infinite.
    """
    worst = 0.0
    mine: object | None = None
    theirs: object | None = None
    for image in fixed_clip(size, reference.card.window + 2):
        said, mine = engine.step(image, mine, dense=dense)
        truth, theirs = reference.step(image, theirs, dense=dense)
        for (name, a), (_, b) in zip(arrays_of(said), arrays_of(truth), strict=True):
            if a.shape != b.shape:
                raise ValueError(f"{name} is {a.shape} and should be {b.shape}")
            off = np.abs(a - b) / max(1.0, float(np.abs(b).max()))
            worst = max(worst, float(np.quantile(np.where(np.isnan(off), np.inf, off), quantile)))
    return worst
