# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From the cells of one crop's maps to the pixels of the whole image's maps.

At the image's own size the cells of a patch are a whole number of pixels: one resize is exact
(`Patch`). Maps of another size are sampled at the centres of their pixels (`SampledPatch`).
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from thfm_ros.contract import PixelMap
from thfm_ros.perception.crop_region import source_rectangle


class Patch(NamedTuple):
    """The rectangle of the image that some cells of one crop cover."""

    rows: slice  # of the image
    columns: slice
    cells: tuple[slice, slice]  # rows and columns of the crop's maps
    size: tuple[int, int]  # of these cells in source pixels: width, height
    inner: tuple[slice, slice]  # the part of the resized cells that lies on rows and columns

    def cells_of(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h1 w1 *c"]:
        """The cells of the patch."""
        return np.ascontiguousarray(values[self.cells])

    def enlarge(self, cells: Float32[np.ndarray, "h1 w1 *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """The patch's cells, interpolated to its pixels."""
        return np.asarray(cv2.resize(cells, self.size, interpolation=cv2.INTER_LINEAR)[self.inner])

    def enlarge_labels(self, cells: UInt8[np.ndarray, "h1 w1"]) -> UInt8[np.ndarray, "h2 w2"]:
        """Labels of the patch, at any number of cells, without interpolation."""
        large = cv2.resize(cells, self.size, interpolation=cv2.INTER_NEAREST)
        return np.ascontiguousarray(large[self.inner])

    def resample(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """From all cells of the crop to the pixels of the patch."""
        return self.enlarge(self.cells_of(values))


def patch_of(
    region: PixelMap, chosen: Bool[np.ndarray, "h w"], image_size: tuple[int, int]
) -> Patch | None:
    """The patch of the chosen cells and their rim; None if it lies outside the image."""
    x0, y0, x1, y1 = source_rectangle(region)
    horizontal = _span(np.asarray(chosen.any(axis=0)), x0, x1 - x0, image_size[0])
    vertical = _span(np.asarray(chosen.any(axis=1)), y0, y1 - y0, image_size[1])
    if horizontal is None or vertical is None:
        return None
    return Patch(
        rows=vertical.pixels,
        columns=horizontal.pixels,
        cells=(vertical.cells, horizontal.cells),
        size=(horizontal.length, vertical.length),
        inner=(vertical.inner, horizontal.inner),
    )


class _Span(NamedTuple):
    """A patch along one axis."""

    pixels: slice  # of the image
    cells: slice
    length: int  # of the cells in pixels
    inner: slice  # of the resized cells


def _span(chosen: Bool[np.ndarray, " n"], start: int, side: int, length: int) -> _Span | None:
    """Cells from the first chosen one to the last, and a rim, whose edges are whole pixels.

    Args:
        chosen: by cell.
        start: first source pixel of the crop.
        side: of the crop, source pixels.
        length: of the image, pixels.
    """
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return None
    cells = len(chosen)
    step = cells // math.gcd(side, cells)  # this number of cells is a whole number of pixels
    # A rim of two cells: one takes part in the outline, the other in its interpolation.
    first = max(int(indices[0]) - 2, 0) // step * step
    last = min(-(-(int(indices[-1]) + 3) // step) * step, cells)
    begin, end = start + first * side // cells, start + last * side // cells
    low, high = max(begin, 0), min(end, length)
    if low >= high:
        return None
    inner = slice(low - begin, high - begin)
    return _Span(slice(low, high), slice(first, last), end - begin, inner)


class SampledPatch(NamedTuple):
    """As `Patch`, for maps whose size is not that of the image.

    Its cells are interpolated at the pixels' centres. OpenCV rounds their positions to 1/32 cell.
    """

    rows: slice  # of the maps
    columns: slice
    cells: tuple[slice, slice]
    cells_from_pixels: Float64[np.ndarray, "2 3"]
    """Position of a pixel (column, row of the patch, whole at the centre) in the patch's cells."""

    def cells_of(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h1 w1 *c"]:
        """The cells of the patch."""
        return np.ascontiguousarray(values[self.cells])

    def enlarge(self, cells: Float32[np.ndarray, "h1 w1 *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """The patch's cells, interpolated to its pixels."""
        return self._warped(cells, self.cells_from_pixels, cv2.INTER_LINEAR)

    def enlarge_labels(self, cells: UInt8[np.ndarray, "h1 w1"]) -> UInt8[np.ndarray, "h2 w2"]:
        """Labels of the patch, at any number of cells, without interpolation."""
        factor = cells.shape[0] / (self.cells[0].stop - self.cells[0].start)
        matrix = self.cells_from_pixels * factor
        matrix[:, 2] += (factor - 1) / 2  # whole numbers are centres of cells
        return self._warped(cells, matrix, cv2.INTER_NEAREST)

    def resample(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """From all cells of the crop to the pixels of the patch."""
        return self.enlarge(self.cells_of(values))

    def _warped(
        self, cells: np.ndarray, matrix: Float64[np.ndarray, "2 3"], how: int
    ) -> np.ndarray:
        size = (self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)
        flags = how | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(cells, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )


def sampled_patch_of(
    region: PixelMap,
    chosen: Bool[np.ndarray, "h w"],
    image_size: tuple[int, int],
    map_size: tuple[int, int],
) -> SampledPatch | None:
    """The patch of the chosen cells and their rim; None if it covers no pixel of the maps.

    Args:
        region: where the crop lies in the image.
        chosen: cells.
        image_size: width and height of the image, pixels.
        map_size: width and height of the maps, pixels.
    """
    x0, y0, x1, y1 = source_rectangle(region)
    axes = []
    for flags, start, side, length, pixels in (
        (np.asarray(chosen.any(axis=0)), x0, x1 - x0, image_size[0], map_size[0]),
        (np.asarray(chosen.any(axis=1)), y0, y1 - y0, image_size[1], map_size[1]),
    ):
        indices = np.flatnonzero(flags)
        if not len(indices):
            return None
        first, last = max(int(indices[0]) - 2, 0), min(int(indices[-1]) + 3, len(flags))
        cells_per_pixel = length / pixels * len(flags) / side
        offset = -start * len(flags) / side  # of the image's edge, in cells of the crop
        low = max(math.ceil((first - offset) / cells_per_pixel - 0.5), 0)
        high = min(math.floor((last - offset) / cells_per_pixel - 0.5) + 1, pixels)
        if low >= high:
            return None
        # Centre of a cell at a whole number, as OpenCV has it.
        begin = (low + 0.5) * cells_per_pixel + offset - first - 0.5
        axes.append((slice(low, high), slice(first, last), cells_per_pixel, begin))
    (columns, cell_columns, step_x, begin_x), (rows, cell_rows, step_y, begin_y) = axes
    matrix = np.array([[step_x, 0, begin_x], [0, step_y, begin_y]])
    return SampledPatch(rows, columns, (cell_rows, cell_columns), matrix)
