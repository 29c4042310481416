# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The maps of one person, kept from their last measurement and moved to where they are now."""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.contract import Task
from thfm_ros.perception.array_pool import PooledArray


class PersonMaps(NamedTuple):
    """The maps of one person as they were painted, for the pixels of a rectangle."""

    rows: slice  # of the maps
    columns: slice
    mask: Float32[np.ndarray, "h w"]  # probability of this person
    own: UInt8[np.ndarray, "h w"]  # 1: a pixel of this person
    values: Mapping[Task, np.ndarray]  # [h w] or [h w 3]
    distance: float  # for the order of painting; infinite: not known
    depth_unit_m: float  # of the values of depth

    def moved(self, pixels_x: int, pixels_y: int) -> "PersonMaps":
        """The same maps elsewhere; the rectangle may reach beyond the image."""
        rows = slice(self.rows.start + pixels_y, self.rows.stop + pixels_y)
        columns = slice(self.columns.start + pixels_x, self.columns.stop + pixels_x)
        return self._replace(rows=rows, columns=columns)

    def paste(self, maps: Mapping[Task, PooledArray], index: int, depth_unit_m: float) -> None:
        """Paint the person over those painted before, as ``index`` in the map of instances.

        A map without a subscriber when the person was measured is left as it is.
        """
        if not maps:
            return
        height, width = next(iter(maps.values())).values.shape[:2]
        rows = slice(max(self.rows.start, 0), min(self.rows.stop, height))
        columns = slice(max(self.columns.start, 0), min(self.columns.stop, width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        inside = (_within(rows, self.rows), _within(columns, self.columns))
        own = np.ascontiguousarray(self.own[inside])
        for task, pooled in maps.items():
            if task is Task.SEGMENTATION:
                area = pooled.writable(rows, columns)
                np.maximum(area, self.mask[inside], out=area)
            elif task is Task.INSTANCES:
                pooled.writable(rows, columns)[own > 0] = index
            elif task in self.values:
                values = np.ascontiguousarray(self.values[task][inside])
                if task is Task.DEPTH and depth_unit_m != self.depth_unit_m:
                    values = values * np.float32(self.depth_unit_m / depth_unit_m)
                cv2.copyTo(values, own, pooled.writable(rows, columns))


def _within(part: slice, whole: slice) -> slice:
    """Where ``part`` lies in ``whole``."""
    return slice(part.start - whole.start, part.stop - whole.start)
