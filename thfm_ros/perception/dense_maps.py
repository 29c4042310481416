# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Painting the dense outputs of crops into maps of the whole image, nearest person last.

Only the requested maps are computed, and only where there are people.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from thfm_ros.contract import Intrinsics, PixelMap, Task
from thfm_ros.geometry import resize_intrinsics
from thfm_ros.lens import tangent_maps
from thfm_ros.model.outputs import DenseOutputs
from thfm_ros.perception.array_pool import ArrayPool, PooledArray
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.map_patch import Patch, SampledPatch, patch_of, sampled_patch_of
from thfm_ros.perception.person_maps import PersonMaps

BACKGROUND_ID = 65535
"""Value of the background in the map of instances."""

DENSE_TASKS = frozenset(Task) - {Task.BODIES}
"""The tasks that need the dense outputs of the network."""

_MIN_MASK = 0.02
"""Cells of a lower mask probability are not painted."""

_MAP_NAMES = {
    Task.SEGMENTATION: "mask",
    Task.NORMALS: "normals",
    Task.PARTS: "parts",
    Task.DENSE_POSE: "dense_pose",
    Task.INSTANCES: "instances",
}
_BACKGROUND: dict[Task, tuple[int, np.generic]] = {
    # number of channels, value of the background
    Task.SEGMENTATION: (1, np.float32(0)),
    Task.DEPTH: (1, np.float32(np.nan)),
    Task.NORMALS: (3, np.float32(np.nan)),
    Task.PARTS: (1, np.uint8(0)),
    Task.DENSE_POSE: (3, np.float32(np.nan)),
    Task.INSTANCES: (1, np.uint16(BACKGROUND_ID)),
}


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height of the maps of an image, at least one pixel each."""
    return max(round(width * scale), 1), max(round(height * scale), 1)


class Canvas:
    """The maps of one image that ``tasks`` request.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        tasks: what is requested; tasks without a map are ignored.
        metric: whether depth is in metres, else in units of the nearest person's depth.
        threshold: mask probability above which a pixel is a person.
        arrays: where the arrays are taken from.
        scale: size of the maps divided by that of the image.
        keep: whether `kept` is needed.

    ``kept`` has the maps of each person who was painted, by the index that they had.
    """

    def __init__(
        self,
        width: int,
        height: int,
        tasks: frozenset[Task],
        *,
        metric: bool,
        threshold: float,
        arrays: ArrayPool,
        scale: float = 1.0,
        keep: bool = False,
    ) -> None:
        self._size = (width, height)
        self._map_size = scaled_size(width, height, scale)
        width, height = self._map_size
        self._threshold = threshold
        self._metric = metric
        self._keep = keep
        self.kept: dict[int, PersonMaps] = {}
        self._maps: dict[Task, PooledArray] = {}
        for task in DENSE_TASKS & tasks:
            channels, background = _BACKGROUND[task]
            shape = (height, width) if channels == 1 else (height, width, channels)
            self._maps[task] = arrays.take(task.value, shape, background)

    def paint(
        self,
        detections: Sequence[tuple[int, Detection]],
        unmeasured: Sequence[tuple[int, PersonMaps]] = (),
    ) -> dict[str, Any]:
        """Paint people, the farthest first; the maps by their names in contract.Perception.

        Args:
            detections: each with its index into Perception.bodies; all with dense outputs, unless
                no task needs them.
            unmeasured: the maps of people who were measured in an earlier image, with their index.
        """
        if not self._maps:
            return {}
        # A person of unknown distance counts as the farthest and occludes no other person.
        people: list[tuple[float, int, Detection | PersonMaps]] = [
            (float(np.nan_to_num(detection.root_m[2], nan=np.inf)), index, detection)
            for index, detection in detections
        ]
        people += [(maps.distance, index, maps) for index, maps in unmeasured]
        unit_m = 1.0
        if not self._metric:
            unit_m = min((distance for distance, _, _ in people), default=1.0)
        for distance, index, person in sorted(people, key=lambda each: -each[0]):
            if isinstance(person, PersonMaps):
                person.paste(self._maps, index, unit_m)
            else:
                self._add(index, person, distance, unit_m)
        names = {Task.DEPTH: "depth_m" if self._metric else "depth_relative", **_MAP_NAMES}
        return {names[task]: pooled.values for task, pooled in self._maps.items()}

    def _add(self, index: int, detection: Detection, distance: float, unit_m: float) -> None:
        """Paint one person over those painted before; depth in units of ``unit_m``."""
        mask, target = detection.mask, detection.target
        assert detection.dense is not None and mask is not None and target is not None
        whole = self._patch(detection.region, mask > _MIN_MASK)
        if Task.SEGMENTATION in self._maps and whole is not None:
            area = self._maps[Task.SEGMENTATION].writable(whole.rows, whole.columns)
            np.maximum(area, whole.resample(mask), out=area)
        patch = self._patch(detection.region, target)
        tasks = self._maps.keys() - {Task.SEGMENTATION}
        if patch is None or not (tasks or self._keep):
            return
        # Only neighbours are excluded: at the outline the mask itself decides, between cells.
        neighbours = (mask > self._threshold) & ~target
        own_mask = patch.resample(mask * ~neighbours)
        own = (own_mask > self._threshold).astype(np.uint8)
        camera = resize_intrinsics(detection.camera, *self._map_size)
        values = _PatchValues(detection, detection.dense, target, patch, camera, unit_m)
        computed = {task: values.of(task) for task in tasks - {Task.INSTANCES}}
        for task in tasks:
            area = self._maps[task].writable(patch.rows, patch.columns)
            if task is Task.INSTANCES:
                area[own > 0] = index
            else:
                cv2.copyTo(computed[task], own, area)
        if self._keep:
            self.kept[index] = PersonMaps(
                patch.rows, patch.columns, own_mask, own, computed, distance, unit_m
            )

    def _patch(
        self, region: PixelMap, chosen: Bool[np.ndarray, "h w"]
    ) -> Patch | SampledPatch | None:
        if self._map_size == self._size:
            return patch_of(region, chosen, self._size)
        return sampled_patch_of(region, chosen, self._size, self._map_size)


class _PatchValues:
    """Physical quantities of one person, at the pixels of one patch."""

    def __init__(
        self,
        detection: Detection,
        dense: DenseOutputs,
        target: Bool[np.ndarray, "h w"],
        patch: Patch | SampledPatch,
        camera: Intrinsics,
        unit_m: float,
    ) -> None:
        self._detection = detection
        self._dense = dense
        self._patch = patch
        self._camera = camera  # of the maps
        self._inside = patch.cells_of(target)
        inside = self._inside.astype(np.float32)
        self._weight = inside[:, :, None]
        self._weight_around = np.maximum(cv2.blur(inside, (3, 3)), 1e-6)[:, :, None]
        self._unit_m = unit_m
        self._labels: UInt8[np.ndarray, "h w"] | None = None

    def of(self, task: Task) -> Any:
        """The values of one task, [h w] or [h w 3]."""
        compute: dict[Task, Callable[[], Any]] = {
            Task.DEPTH: self._depth,
            Task.NORMALS: self._normals,
            Task.PARTS: self._parts,
            Task.DENSE_POSE: self._dense_pose,
        }
        return compute[task]()

    def _depth(self) -> Float32[np.ndarray, "h w"]:
        """Depth along the optical axis, from root-relative depth along the axis of the view."""
        axis = self._detection.view.rotation[:, 2]
        root = np.float32(axis @ self._detection.root_m)
        root_relative = self._patch.enlarge(self._extrapolated(self._dense.relative_depth_m))
        k, rows, columns = self._camera, self._patch.rows, self._patch.columns
        if k.distortion is not None:
            x_map, y_map = (each[rows, columns] for each in tangent_maps(k))
            along = (axis[0] * x_map + axis[1] * y_map + axis[2]) * self._unit_m
            return np.asarray((root_relative + root) / along, np.float32)
        x = (np.arange(columns.start, columns.stop) + 0.5 - k.cx) / k.fx
        y = (np.arange(rows.start, rows.stop) + 0.5 - k.cy) / k.fy
        # Depth along the view is axis . point, and a point is its depth times its ray.
        along_x = ((axis[0] * x + axis[2]) * self._unit_m).astype(np.float32)
        along_y = (axis[1] * y * self._unit_m).astype(np.float32)
        root_relative += root
        root_relative /= along_x + along_y[:, None]
        return root_relative

    def _normals(self) -> Float32[np.ndarray, "h w 3"]:
        """Unit vectors in the optical frame."""
        normals = self._extrapolated(self._dense.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-6)
        rotation = self._detection.view.rotation.astype(np.float32)
        x, y, z = self._enlarged_channels(cv2.transform(normals, rotation))
        length = vector_lengths(x, y, z)
        np.maximum(length, 1e-6, out=length)
        for channel in (x, y, z):
            channel /= length
        return np.asarray(cv2.merge([x, y, z]))

    def _parts(self) -> UInt8[np.ndarray, "h w"]:
        """Labels; never background, which the mask has decided already."""
        if self._labels is None:
            logits = self._extrapolated(self._dense.parts[1:])
            # Twice the cells, so that borders between parts are half as coarse as the maps.
            height, width = self._inside.shape
            fine = cv2.resize(logits, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
            labels = (fine.argmax(axis=2) + 1).astype(np.uint8)
            self._labels = self._patch.enlarge_labels(labels)
        return self._labels

    def _dense_pose(self) -> Float32[np.ndarray, "h w 3"]:
        """Part, u and v; u is an angle, so its cosine and sine are interpolated."""
        cosine, sine, v = self._enlarged_channels(self._extrapolated(self._dense.dense_pose_uv))
        u = cv2.phase(cosine, sine)
        u *= np.float32(1 / (2 * np.pi))
        np.clip(v, 0, 1, out=v)
        return np.asarray(cv2.merge([self._parts().astype(np.float32), u, v]))

    def _enlarged_channels(
        self, cells: Float32[np.ndarray, "h1 w1 3"]
    ) -> list[Float32[np.ndarray, "h w"]]:
        """Three channels, enlarged one by one: splitting the large image would cost 0.6 ms."""
        channels = (self._patch.enlarge(np.ascontiguousarray(cells[..., i])) for i in range(3))
        return [np.ascontiguousarray(channel) for channel in channels]

    def _extrapolated(
        self, values: Float32[np.ndarray, "*c h w"]
    ) -> Float32[np.ndarray, "h1 w1 *c"]:
        """The patch's cells, channels last; outside the target the mean of its adjacent cells.

        Otherwise interpolation at the outline would mix in outputs for the background, which are
        not trained: 3 cm of depth on average over the outermost cell.
        """
        rows, columns = self._patch.cells
        cells = values[..., rows, columns]
        weight, around = self._weight, self._weight_around
        if values.ndim == 3:
            cells = np.ascontiguousarray(cells.transpose(1, 2, 0))
        else:
            weight, around = weight[..., 0], around[..., 0]
        mean = cv2.blur(cells * weight, (3, 3))
        mean /= around
        np.copyto(mean, cells, where=weight > 0)
        return np.asarray(mean)


def vector_lengths(
    x: Float32[np.ndarray, "h w"], y: Float32[np.ndarray, "h w"], z: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Lengths of vectors by their coordinates.

    Not by cv2.magnitude, whose last bit depends on where the arrays lie in memory: two runs over
    the same images would give different files.
    """
    squares = x * x
    squares += y * y
    squares += z * z
    return np.asarray(np.sqrt(squares, out=squares))
