"""Painting what crops say about people into maps of the whole image, nearest person last.

Only what was asked for is computed, and only where a person is.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from thfm_ros.contract import Task
from thfm_ros.model.outputs import DenseOutputs
from thfm_ros.perception.array_pool import ArrayPool, Sheet
from thfm_ros.perception.crop_region import source_rectangle
from thfm_ros.perception.decoding import Detection

BACKGROUND_ID = 65535
"""In the map of instances."""

DENSE_TASKS = frozenset(Task) - {Task.BODIES}
"""The tasks that need the network's maps."""

_FAINT = 0.02
"""Less probability than that is not worth a pixel of the mask."""


_NAMES = {
    Task.SEGMENTATION: "mask",
    Task.NORMALS: "normals",
    Task.PARTS: "parts",
    Task.DENSE_POSE: "dense_pose",
    Task.INSTANCES: "instances",
}
_BLANK: dict[Task, tuple[int, np.generic]] = {
    # channels, what stands where nobody is
    Task.SEGMENTATION: (1, np.float32(0)),
    Task.DEPTH: (1, np.float32(np.nan)),
    Task.NORMALS: (3, np.float32(np.nan)),
    Task.PARTS: (1, np.uint8(0)),
    Task.DENSE_POSE: (3, np.float32(np.nan)),
    Task.INSTANCES: (1, np.uint16(BACKGROUND_ID)),
}


class Canvas:
    """The maps of one image, as far as ``tasks`` ask for them."""

    def __init__(
        self,
        width: int,
        height: int,
        tasks: frozenset[Task],
        *,
        metric: bool,
        threshold: float,
        sheets: ArrayPool,
    ) -> None:
        self._size = (width, height)
        self._threshold = threshold
        self._metric = metric
        self._maps: dict[Task, Sheet] = {}
        for task in DENSE_TASKS & tasks:
            channels, blank = _BLANK[task]
            shape = (height, width) if channels == 1 else (height, width, channels)
            self._maps[task] = sheets.take(task.value, shape, blank)

    def paint(self, detections: Sequence[tuple[int, Detection]]) -> dict[str, Any]:
        """Paint people, the farthest first; the maps by their names in contract.Perception.

        Args:
            sightings: each with its index into Perception.bodies; all with dense maps, unless
                no task needs one.
        """
        if not self._maps:
            return {}
        # Somebody whose distance is unknown counts as farthest, and covers nobody.
        depths = [float(np.nan_to_num(seen.root_m[2], nan=np.inf)) for _, seen in detections]
        unit_m = 1.0 if self._metric else min(depths, default=1.0)
        for number in sorted(range(len(depths)), key=lambda number: -depths[number]):
            self._add(*detections[number], unit_m)
        names = {Task.DEPTH: "depth_m" if self._metric else "depth_relative", **_NAMES}
        return {names[task]: sheet.values for task, sheet in self._maps.items()}

    def _add(self, index: int, seen: Detection, unit_m: float) -> None:
        """Paint one person over what is there; depth in units of ``unit_m``."""
        assert seen.dense is not None and seen.mask is not None and seen.target is not None
        whole = _patch(seen, seen.mask > _FAINT, self._size)
        if Task.SEGMENTATION in self._maps and whole is not None:
            there = self._maps[Task.SEGMENTATION].part(whole.rows, whole.columns)
            np.maximum(there, whole.fill(seen.mask), out=there)
        patch = _patch(seen, seen.target, self._size)
        tasks = self._maps.keys() - {Task.SEGMENTATION}
        if patch is None or not tasks:
            return
        # Only neighbours are cut away: at the outline the mask itself decides, between cells.
        neighbour = (seen.mask > self._threshold) & ~seen.target
        own = (patch.fill(seen.mask * ~neighbour) > self._threshold).astype(np.uint8)
        values = _Values(seen, patch, unit_m)
        for task in tasks:
            there = self._maps[task].part(patch.rows, patch.columns)
            if task is Task.INSTANCES:
                there[own > 0] = index
            else:
                cv2.copyTo(values.of(task), own, there)


class _Patch(NamedTuple):
    """A rectangle of the image that some cells of one crop speak about."""

    rows: slice  # of the image
    columns: slice
    cells: tuple[slice, slice]  # rows and columns of the crop's maps
    size: tuple[int, int]  # of these cells in source pixels: width, height
    inner: tuple[slice, slice]  # what of the resized cells falls on rows and columns

    def cut(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h1 w1 *c"]:
        """The cells of the patch."""
        return np.ascontiguousarray(values[self.cells])

    def enlarge(self, cells: Float32[np.ndarray, "h1 w1 *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """The patch's cells, interpolated to its pixels."""
        return np.asarray(cv2.resize(cells, self.size, interpolation=cv2.INTER_LINEAR)[self.inner])

    def fill(self, values: Float32[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h2 w2 *c"]:
        """Both: from the crop's cells to the pixels of the patch."""
        return self.enlarge(self.cut(values))


def _patch(
    seen: Detection, chosen: Bool[np.ndarray, "h w"], image: tuple[int, int]
) -> _Patch | None:
    """The part of the image that holds the chosen cells and their rim; None: outside it."""
    x0, y0, x1, y1 = source_rectangle(seen.map)
    across = _span(np.asarray(chosen.any(axis=0)), x0, x1 - x0, image[0])
    down = _span(np.asarray(chosen.any(axis=1)), y0, y1 - y0, image[1])
    if across is None or down is None:
        return None
    return _Patch(
        rows=down.pixels,
        columns=across.pixels,
        cells=(down.cells, across.cells),
        size=(across.length, down.length),
        inner=(down.inner, across.inner),
    )


class _Span(NamedTuple):
    """A patch along one axis."""

    pixels: slice  # of the image
    cells: slice
    length: int  # of the cells in pixels
    inner: slice  # of the resized cells


def _span(chosen: Bool[np.ndarray, " n"], start: int, side: int, image: int) -> _Span | None:
    """Cells from the first chosen one to the last, and a rim, whose edges are whole pixels."""
    indices = np.flatnonzero(chosen)
    if not len(indices):
        return None
    cells = len(chosen)
    step = cells // math.gcd(side, cells)  # so many cells are a whole number of pixels
    # Two cells of rim: the first takes part in the outline, the second in its interpolation.
    first = max(int(indices[0]) - 2, 0) // step * step
    last = min(-(-(int(indices[-1]) + 3) // step) * step, cells)
    begin, end = start + first * side // cells, start + last * side // cells
    low, high = max(begin, 0), min(end, image)
    if low >= high:
        return None
    inner = slice(low - begin, high - begin)
    return _Span(slice(low, high), slice(first, last), end - begin, inner)


class _Values:
    """Physical quantities of one person's pixels, in one patch."""

    def __init__(self, seen: Detection, patch: _Patch, unit_m: float) -> None:
        assert seen.dense is not None and seen.target is not None
        self._seen = seen
        self._dense: DenseOutputs = seen.dense
        self._patch = patch
        self._inside = patch.cut(seen.target)
        self._unit_m = unit_m
        self._labels: UInt8[np.ndarray, "h w"] | None = None

    def of(self, task: Task) -> Any:
        """The values of one task, [h w] or [h w 3]."""
        values: dict[Task, Callable[[], Any]] = {
            Task.DEPTH: self._depth,
            Task.NORMALS: self._normals,
            Task.PARTS: self._parts,
            Task.DENSE_POSE: self._dense_pose,
        }
        return values[task]()

    def _depth(self) -> Float32[np.ndarray, "h w"]:
        """Along the optical axis; the relief is along the axis of the crop's own view."""
        axis = self._seen.turn[:, 2]
        root = np.float32(axis @ self._seen.root_m)
        relief = self._patch.enlarge(self._continued(self._dense.relief))
        k, rows, columns = self._seen.camera, self._patch.rows, self._patch.columns
        x = (np.arange(columns.start, columns.stop) + 0.5 - k.cx) / k.fx
        y = (np.arange(rows.start, rows.stop) + 0.5 - k.cy) / k.fy
        # z of the view is axis . point, and a point is z of the optical frame times its ray.
        across = ((axis[0] * x + axis[2]) * self._unit_m).astype(np.float32)
        down = (axis[1] * y * self._unit_m).astype(np.float32)
        return np.asarray((relief + root) / (across + down[:, None]))

    def _normals(self) -> Float32[np.ndarray, "h w 3"]:
        """Unit vectors in the optical frame."""
        normals = self._continued(self._dense.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-6)
        x, y, z = self._planes(cv2.transform(normals, self._seen.turn.astype(np.float32)))
        length = np.maximum(cv2.magnitude(cv2.magnitude(x, y), z), 1e-6)
        return np.asarray(cv2.merge([x / length, y / length, z / length]))

    def _parts(self) -> UInt8[np.ndarray, "h w"]:
        """Labels; never background, since the mask has decided that already."""
        if self._labels is None:
            logits = self._continued(self._dense.parts[1:])
            # Twice the cells, so that borders of parts are half as coarse as the maps.
            height, width = self._inside.shape
            fine = cv2.resize(logits, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
            labels = (fine.argmax(axis=2) + 1).astype(np.uint8)
            large = cv2.resize(labels, self._patch.size, interpolation=cv2.INTER_NEAREST)
            self._labels = np.ascontiguousarray(large[self._patch.inner])
        return self._labels

    def _dense_pose(self) -> Float32[np.ndarray, "h w 3"]:
        """Part, u and v; u is an angle and is interpolated as one."""
        cosine, sine, v = self._planes(self._continued(self._dense.surface))
        u = cv2.phase(cosine, sine) * np.float32(1 / (2 * np.pi))
        return np.asarray(cv2.merge([self._parts().astype(np.float32), u, np.clip(v, 0, 1)]))

    def _planes(self, cells: Float32[np.ndarray, "h1 w1 3"]) -> list[Float32[np.ndarray, "h w"]]:
        """Three channels, each enlarged for itself: splitting the large image costs 0.6 ms."""
        planes = (self._patch.enlarge(np.ascontiguousarray(cells[..., i])) for i in range(3))
        return [np.ascontiguousarray(plane) for plane in planes]

    def _continued(self, values: Float32[np.ndarray, "*c h w"]) -> Float32[np.ndarray, "h1 w1 *c"]:
        """The patch's cells, channels last; beside the person the mean of its cells next to them.

        Else interpolation at the outline would mix in what the network says about the
        background, which nobody taught it: 3 cm of depth on average over the outermost cell.
        """
        rows, columns = self._patch.cells
        cells = values[..., rows, columns]
        if values.ndim == 3:
            cells = np.ascontiguousarray(cells.transpose(1, 2, 0))
        inside = self._inside.astype(np.float32)
        weight = inside.reshape(inside.shape + (1,) * (cells.ndim - 2))
        sums = cv2.blur(cells * weight, (3, 3))
        mean = sums / np.maximum(cv2.blur(inside, (3, 3)), 1e-6).reshape(weight.shape)
        return np.asarray(np.where(weight > 0, cells, mean))
