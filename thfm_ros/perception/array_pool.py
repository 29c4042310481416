# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reusable arrays for maps: an array is handed out again once nothing refers to it any more.

A frame of 640x480 needs 12 MB of maps. Fresh memory for them costs more than all painting (4 of
7 ms: the system zeroes every page), and so does clearing whole maps, of which a person covers a
tenth. So each array records where it was written, and only that is cleared.
"""

import sys
from collections import defaultdict
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

_KEPT = 4  # per purpose and shape: one is painted, one is being published, two in reserve
_OWN_REFERENCES = 2  # the attribute of PooledArray, and the argument of getrefcount


class PooledArray:
    """One array, filled with ``fill_value`` except where it was written since it was taken."""

    def __init__(self, shape: tuple[int, ...], fill_value: np.generic) -> None:
        self.values: npt.NDArray[np.generic] = np.full(shape, fill_value)
        self._fill_value = fill_value
        self._written: list[tuple[slice, slice]] = []

    def writable(self, rows: slice, columns: slice) -> npt.NDArray[np.generic]:
        """A view to write into."""
        self._written.append((rows, columns))
        return self.values[rows, columns]

    def is_free(self) -> bool:
        """Whether nothing else refers to the array or to a view of it."""
        return sys.getrefcount(self.values) <= _OWN_REFERENCES

    def clear(self) -> None:
        """Fill all written parts with the fill value."""
        for rows, columns in self._written:
            self.values[rows, columns] = self._fill_value
        self._written.clear()


class ArrayPool:
    """A pool of arrays. Not thread-safe, but the arrays may be read in any thread."""

    def __init__(self) -> None:
        self._arrays: defaultdict[Hashable, list[PooledArray]] = defaultdict(list)

    def take(self, purpose: str, shape: tuple[int, ...], fill_value: np.generic) -> PooledArray:
        """A cleared array; it is not handed out again while anything refers to its values."""
        kept = self._arrays[(purpose, shape)]
        for pooled in kept:
            if pooled.is_free():
                pooled.clear()
                return pooled
        pooled = PooledArray(shape, fill_value)
        kept.append(pooled)
        del kept[:-_KEPT]  # the oldest belong to their readers from now on
        return pooled

    def clear(self) -> None:
        """Drop all arrays, for example when the size of the images changed."""
        self._arrays.clear()
