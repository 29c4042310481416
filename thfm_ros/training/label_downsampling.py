"""Labels at half an image's size: of four pixels, one that stands for what covers most of them.

Taking every second pixel would move all outlines by a quarter of a label's pixel, always towards
the same corner.
"""

import numpy as np
from jaxtyping import Integer, Shaped, UInt8


def _fours(values: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "i j 4"]:
    """The four pixels of each block of two by two, side by side."""
    h, w = values.shape[0] // 2, values.shape[1] // 2
    found: np.ndarray = values.reshape(h, 2, w, 2).swapaxes(1, 2).reshape(h, w, 4)
    return found


def representatives(
    instances: UInt8[np.ndarray, "h w"], parts: UInt8[np.ndarray, "h w"]
) -> Integer[np.ndarray, "i j"]:
    """Which of its four pixels (0..3) stands for each block.

    It belongs to whom most of them belong to, a person before the background where both have two,
    and to the part that most of them show.
    """
    whose, part = _fours(instances), _fours(parts)
    shared, alike = np.zeros(whose.shape, np.uint8), np.zeros(whose.shape, np.uint8)
    for other in range(4):
        same = whose == whose[..., other : other + 1]
        shared += same
        alike += same & (part == part[..., other : other + 1])
    found: np.ndarray = (8 * shared + 4 * (whose > 0) + alike - 1).argmax(-1)
    return found


def halved(
    values: Shaped[np.ndarray, "h w *c"], chosen: Integer[np.ndarray, "i j"]
) -> Shaped[np.ndarray, "i j *c"]:
    """The chosen pixel of every block."""
    row, column = np.indices(chosen.shape)
    found: np.ndarray = values[2 * row + chosen // 2, 2 * column + chosen % 2]
    return found


def mostly(values: UInt8[np.ndarray, "h w"]) -> Shaped[np.ndarray, "i j"]:
    """Where more than half of a block is not zero."""
    found: np.ndarray = (_fours(values) > 0).sum(-1) > 2
    return found
