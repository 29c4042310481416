# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Labels at half the image's size: each block of 2 x 2 pixels is represented by one of them.

Taking every second pixel would move all outlines by a quarter of a label's pixel towards the same
corner.
"""

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8


def _blocks(values: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "i j 4"]:
    """The four pixels of each block."""
    h, w = values.shape[0] // 2, values.shape[1] // 2
    blocks: np.ndarray = values.reshape(h, 2, w, 2).swapaxes(1, 2).reshape(h, w, 4)
    return blocks


def representatives(
    instances: UInt8[np.ndarray, "h w"], parts: UInt8[np.ndarray, "h w"]
) -> Integer[np.ndarray, "i j"]:
    """Which of its four pixels (0..3) represents each block.

    It belongs to the instance of most of them, on a tie to a person rather than the background,
    and to the most frequent part of that instance.
    """
    instance, part = _blocks(instances), _blocks(parts)
    of_instance, of_part = np.zeros(instance.shape, np.uint8), np.zeros(instance.shape, np.uint8)
    for other in range(4):
        same = instance == instance[..., other : other + 1]
        of_instance += same
        of_part += same & (part == part[..., other : other + 1])
    chosen: np.ndarray = (8 * of_instance + 4 * (instance > 0) + of_part - 1).argmax(-1)
    return chosen


def downsampled(
    values: Shaped[np.ndarray, "h w *c"], chosen: Integer[np.ndarray, "i j"]
) -> Shaped[np.ndarray, "i j *c"]:
    """The values of each block's representative; see `representatives`."""
    row, column = np.indices(chosen.shape)
    result: np.ndarray = values[2 * row + chosen // 2, 2 * column + chosen % 2]
    return result


def covers_most(mask: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "i j"]:
    """Where more than half of a block is not zero."""
    result: np.ndarray = (_blocks(mask) > 0).sum(-1) > 2
    return result
