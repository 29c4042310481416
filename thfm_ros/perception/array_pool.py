"""Blank arrays for maps, in memory that is used again once nobody looks at it any more.

A frame of 640x480 needs 12 MB of maps. Fresh memory for them costs more than all of the painting
(4 of 7 ms: the system zeroes every page), and blanking it anew costs again, although a person
covers a tenth of it. So a sheet remembers where it was painted, and only that is blanked.
"""

import sys
from collections import defaultdict
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

_KEPT = 4  # per kind: one is painted, one is on its way to messages, and some reserve
_OWN_REFERENCES = 2  # the sheet's, and the argument of getrefcount


class Sheet:
    """One array, blank where nothing was painted since it was taken from `ArrayPool`."""

    def __init__(self, shape: tuple[int, ...], blank: np.generic) -> None:
        self.values: npt.NDArray[np.generic] = np.full(shape, blank)
        self._blank = blank
        self._painted: list[tuple[slice, slice]] = []

    def part(self, rows: slice, columns: slice) -> npt.NDArray[np.generic]:
        """A view to paint on."""
        self._painted.append((rows, columns))
        return self.values[rows, columns]

    def is_free(self) -> bool:
        """Whether nobody holds the array, or a view of it, any more."""
        return sys.getrefcount(self.values) <= _OWN_REFERENCES

    def clear(self) -> None:
        """Make it blank again."""
        for rows, columns in self._painted:
            self.values[rows, columns] = self._blank
        self._painted.clear()


class ArrayPool:
    """A store of sheets. Not thread-safe, but their readers may be in any thread."""

    def __init__(self) -> None:
        self._sheets: defaultdict[Hashable, list[Sheet]] = defaultdict(list)

    def take(self, purpose: str, shape: tuple[int, ...], blank: np.generic) -> Sheet:
        """A blank sheet; its array stays the taker's for as long as anybody refers to it."""
        kept = self._sheets[(purpose, shape)]
        for sheet in kept:
            if sheet.is_free():
                sheet.clear()
                return sheet
        sheet = Sheet(shape, blank)
        kept.append(sheet)
        del kept[:-_KEPT]  # the oldest are somebody else's for good
        return sheet

    def forget(self) -> None:
        """Give the memory back, as when the image's size changed."""
        self._sheets.clear()
