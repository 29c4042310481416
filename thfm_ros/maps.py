"""Painting what crops say about people into maps of the whole picture, nearest person last.

Only what was asked for is computed, and only where a person is.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from thfm_ros.contract import Task
from thfm_ros.decode import DENSE_CELL, Sighting
from thfm_ros.model.outputs import DenseOutputs
from thfm_ros.region import source_rectangle

NOBODY = 65535
"""In the map of instances."""

DENSE_TASKS = frozenset(Task) - {Task.BODIES}
"""The tasks that need the network's maps."""


class Canvas:
    """The maps of one picture, as far as ``tasks`` ask for them."""

    def __init__(
        self, width: int, height: int, tasks: frozenset[Task], *, metric: bool, threshold: float
    ) -> None:
        self._threshold = threshold
        self._depth_name = "depth_m" if metric else "depth_relative"
        shape, unknown = (height, width), np.float32(np.nan)
        blank: dict[Task, Callable[[], Any]] = {
            Task.SEGMENTATION: lambda: np.zeros(shape, np.float32),
            Task.DEPTH: lambda: np.full(shape, unknown),
            Task.NORMALS: lambda: np.full((*shape, 3), unknown),
            Task.PARTS: lambda: np.zeros(shape, np.uint8),
            Task.DENSE_POSE: lambda: np.full((*shape, 3), unknown),
            Task.INSTANCES: lambda: np.full(shape, NOBODY, np.uint16),
        }
        self._maps = {task: blank[task]() for task in DENSE_TASKS & tasks}
        self._size = (width, height)

    def paint(self, sightings: Sequence[tuple[int, Sighting]]) -> dict[str, Any]:
        """Paint people, the farthest first; the maps by their names in contract.Perception.

        Args:
            sightings: each with its index into Perception.bodies; all with dense maps, unless
                no task needs one.
        """
        if not self._maps:
            return {}
        # Somebody whose distance is unknown counts as farthest, and covers nobody.
        depths = [float(np.nan_to_num(seen.root_m[2], nan=np.inf)) for _, seen in sightings]
        unit_m = 1.0 if self._depth_name == "depth_m" else min(depths, default=np.inf)
        for number in sorted(range(len(depths)), key=lambda number: -depths[number]):
            self._add(*sightings[number], unit_m)
        names = {
            Task.SEGMENTATION: "mask",
            Task.DEPTH: self._depth_name,
            Task.NORMALS: "normals",
            Task.PARTS: "parts",
            Task.DENSE_POSE: "dense_pose",
            Task.INSTANCES: "instances",
        }
        return {names[task]: each for task, each in self._maps.items()}

    def _add(self, index: int, seen: Sighting, unit_m: float) -> None:
        """Paint one person over what is there; depth in units of ``unit_m``."""
        assert seen.dense is not None and seen.mask is not None and seen.target is not None
        whole = _patch(seen, np.ones(seen.mask.shape, bool), self._size)
        if Task.SEGMENTATION in self._maps and whole is not None:
            there = self._maps[Task.SEGMENTATION][whole.rows, whole.columns]
            np.maximum(there, whole.fill(seen.mask), out=there)
        patch = _patch(seen, seen.target, self._size)
        tasks = self._maps.keys() - {Task.SEGMENTATION}
        if patch is None or not tasks:
            return
        # Only neighbours are cut away: at the outline the mask itself decides, between cells.
        neighbour = (seen.mask > self._threshold) & ~seen.target
        own = (patch.fill(seen.mask * ~neighbour) > self._threshold).astype(np.uint8)
        values = _Values(seen, patch)
        for task in tasks:
            there = self._maps[task][patch.rows, patch.columns]
            if task is Task.INSTANCES:
                there[own > 0] = index
            elif task is Task.DEPTH:
                cv2.copyTo(values.depth_m() / np.float32(unit_m), own, there)
            elif task is Task.NORMALS:
                cv2.copyTo(values.normals(), own, there)
            elif task is Task.PARTS:
                cv2.copyTo(values.parts(), own, there)
            elif task is Task.DENSE_POSE:
                cv2.copyTo(values.dense_pose(), own, there)


class _Patch(NamedTuple):
    """A rectangle of the picture that one crop speaks about."""

    rows: slice  # of the picture
    columns: slice
    crop: tuple[int, int]  # size of the whole crop in source pixels: width, height
    inner: tuple[slice, slice]  # what of the resized crop falls on rows and columns

    def fill(self, cells: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """Values per cell, interpolated to the pixels of the patch."""
        large = cv2.resize(cells, self.crop, interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[self.inner])


def _patch(
    seen: Sighting, cells: Bool[np.ndarray, "h w"], picture: tuple[int, int]
) -> _Patch | None:
    """The part of the picture that holds the chosen cells and their rim; None: outside it."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    if not len(rows):
        return None
    x0, y0, x1, y1 = source_rectangle(seen.map)
    step = DENSE_CELL * seen.map.scale
    left = max(x0, 0, x0 + int((columns[0] - 1) * step))
    top = max(y0, 0, y0 + int((rows[0] - 1) * step))
    right = min(x1, picture[0], x0 + int(np.ceil((columns[-1] + 2) * step)))
    bottom = min(y1, picture[1], y0 + int(np.ceil((rows[-1] + 2) * step)))
    if left >= right or top >= bottom:
        return None
    inner = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
    return _Patch(slice(top, bottom), slice(left, right), (x1 - x0, y1 - y0), inner)


class _Values:
    """Physical quantities of one person's pixels, in one patch."""

    def __init__(self, seen: Sighting, patch: _Patch) -> None:
        assert seen.dense is not None and seen.target is not None
        self._seen = seen
        self._dense: DenseOutputs = seen.dense
        self._target = seen.target
        self._patch = patch
        self._labels: UInt8[np.ndarray, "h w"] | None = None

    def depth_m(self) -> Float32[np.ndarray, "h w"]:
        """Along the optical axis; the relief is along the axis of the crop's own view."""
        axis = self._seen.turn[:, 2]
        relief = self._patch.fill(_continued(self._dense.relief, self._target))
        k, rows, columns = self._seen.camera, self._patch.rows, self._patch.columns
        x = (np.arange(columns.start, columns.stop) + 0.5 - k.cx) / k.fx
        y = (np.arange(rows.start, rows.stop) + 0.5 - k.cy) / k.fy
        # z of the view is axis . point, and a point is z of the optical frame times its ray.
        across, down = (axis[0] * x + axis[2]), (axis[1] * y)
        along = across.astype(np.float32) + down.astype(np.float32)[:, None]
        return np.asarray((relief + np.float32(axis @ self._seen.root_m)) / along)

    def normals(self) -> Float32[np.ndarray, "h w 3"]:
        """Unit vectors in the optical frame."""
        turned = self._dense.normals.reshape(3, -1).T @ self._seen.turn.T.astype(np.float32)
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-6)
        turned = turned.reshape(*self._target.shape, 3)
        normals = self._patch.fill(_continued(turned, self._target))
        square = cv2.transform(normals * normals, np.ones((1, 3), np.float32))
        normals *= (1 / np.sqrt(np.maximum(square, 1e-12)))[..., None]
        return normals

    def parts(self) -> UInt8[np.ndarray, "h w"]:
        """Labels; never background, since the mask has decided that already."""
        if self._labels is None:
            logits = np.ascontiguousarray(self._dense.parts[1:].transpose(1, 2, 0))
            logits = _continued(logits, self._target)
            # Twice the cells, so that borders of parts are half as coarse as the maps.
            height, width = self._target.shape
            fine = cv2.resize(logits, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
            labels = (fine.argmax(axis=2) + 1).astype(np.uint8)
            large = cv2.resize(labels, self._patch.crop, interpolation=cv2.INTER_NEAREST)
            self._labels = np.ascontiguousarray(large[self._patch.inner])
        return self._labels

    def dense_pose(self) -> Float32[np.ndarray, "h w 3"]:
        """Part, u and v; u is an angle and is interpolated as one."""
        surface = np.ascontiguousarray(self._dense.surface.transpose(1, 2, 0))
        surface = self._patch.fill(_continued(surface, self._target))
        cosine, sine, v = cv2.split(np.ascontiguousarray(surface))
        u = cv2.phase(cosine, sine) * np.float32(1 / (2 * np.pi))
        return np.asarray(cv2.merge([self.parts().astype(np.float32), u, np.clip(v, 0, 1)]))


def _continued(
    values: Float32[np.ndarray, "h w *c"], inside: Bool[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w *c"]:
    """The same inside; in the cells beside it the mean of their neighbours inside.

    Else interpolation at the outline would mix in what the network says about the background,
    which nobody taught it: 3 cm of depth on average over the outermost cell.
    """
    there = inside.astype(np.float32)
    weight = there.reshape(there.shape + (1,) * (values.ndim - 2))
    sums = cv2.blur(np.ascontiguousarray(values * weight), (3, 3))
    mean = sums / np.maximum(cv2.blur(there, (3, 3)), 1e-6).reshape(weight.shape)
    return np.asarray(np.where(weight > 0, values, mean))
