# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""perception.npz: the perceptions of all frames as arrays.

For n frames of h x w pixels, at most p people at a time and k keypoints (unknown is NaN):

    frames       int64   [n]        index in the video, in the sorted list of the folder, or among
                                    the messages of the bag's topic
    stamps       int64   [n]        nanoseconds: of a bag's message, else since the first frame
    mask         float16 [n h w]    probability that the pixel belongs to a person
    depth_m      float32 [n h w]    metres along the optical axis; needs a focal length
    depth_relative float32 [n h w]  depth in an unknown unit; only without a focal length
    normals      float16 [n h w 3]  unit vectors, optical frame, towards the camera
    parts        uint8   [n h w]    skeleton.PART_NAMES; 0 background
    dense_pose   float16 [n h w 3]  part, u, v
    keypoints2d  float32 [n p k 3]  x, y in pixels of the input, score
    keypoints3d  float32 [n p k 3]  metres, optical frame; needs a focal length
    ids          U5      [n p]      constant within a clip; "" where there is no person
    boxes        float32 [n p 4]    x_min, y_min, x_max, y_max in pixels of the input
    velocity     float32 [n p 3]    of the pelvis relative to the camera, m/s, optical frame; needs
                                    a focal length, and a second frame of the person
    measurement_age float32 [n p]   seconds since the person was last detected; 0: in this frame
    joint_names  U       [k]
    scale        float32 [n]        width of the frame as perceived / in the file; only if a frame
                                    was reduced, since it has more than 12.6 megapixels. Then all
                                    pixels above are those of the reduced frame

A person keeps their column (index in p) until they are lost. Frames smaller than h x w lie in
the top left corner; the rest of their maps is unknown (mask NaN). Maps of tasks that were not
requested are left out.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thfm_ros.contract import Body, Perception, Task, TrackState
from thfm_ros.media.npz_writer import NpzWriter
from thfm_ros.skeleton import JOINT_NAMES


class _MapFormat(NamedTuple):
    """How a dense map of a perception is stored."""

    task: Task
    dtype: npt.DTypeLike
    channels: int = 0  # 0: no axis of channels
    unknown: float = np.nan


_MAPS: dict[str, _MapFormat] = {
    "mask": _MapFormat(Task.SEGMENTATION, np.float16),
    "depth_m": _MapFormat(Task.DEPTH, np.float32),
    "depth_relative": _MapFormat(Task.DEPTH, np.float32),
    "normals": _MapFormat(Task.NORMALS, np.float16, channels=3),
    "parts": _MapFormat(Task.PARTS, np.uint8, unknown=0),
    "dense_pose": _MapFormat(Task.DENSE_POSE, np.float16, channels=3),
}
"""By the name of the field and of the array."""


class Recording:
    """Collects perceptions and writes perception.npz on `close`.

    Dense maps go to disk frame by frame; only keypoints and boxes are kept in memory.

    Args:
        path: of the file.
        width: of the widest frame, pixels.
        height: of the highest frame, pixels.
        tasks: whose maps are stored.
    """

    def __init__(self, path: Path, width: int, height: int, tasks: frozenset[Task]) -> None:
        self._writer = NpzWriter(path)
        self._size = (height, width)
        self._keys = [key for key, each in _MAPS.items() if each.task in tasks]
        self._frames: list[int] = []
        self._stamps_ns: list[int] = []
        self._scales: list[float] = []
        self._people: list[dict[int, Body]] = []  # of each frame, by column
        self._column: dict[str, int] = {}  # by id

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, index: int, perception: Perception, scale: float = 1.0) -> None:
        """Append one frame; ``index`` is stored in ``frames``, ``scale`` in ``scale``."""
        if (
            not self._frames
            and perception.depth_relative is None
            and "depth_relative" in self._keys
        ):
            # The focal length is known for all frames or for none.
            self._keys.remove("depth_relative")
        for key in self._keys:
            stored = _MAPS[key]
            shape = (*self._size, stored.channels) if stored.channels else self._size
            row = np.full(shape, stored.unknown, stored.dtype)
            values = getattr(perception, key)
            if values is not None:
                row[: perception.height, : perception.width] = values
            self._writer.append(key, row)
        self._frames.append(index)
        self._stamps_ns.append(perception.stamp_ns)
        self._scales.append(scale)
        self._people.append(self._in_columns(perception))

    def close(self) -> None:
        """Write the file."""
        people = 1 + max((max(row, default=-1) for row in self._people), default=-1)
        shape = (len(self._frames), people)
        k = len(JOINT_NAMES)
        arrays: dict[str, npt.NDArray[Any]] = {
            "frames": np.array(self._frames, np.int64),
            "stamps": np.array(self._stamps_ns, np.int64),
            "keypoints2d": np.full((*shape, k, 3), np.nan, np.float32),
            "keypoints3d": np.full((*shape, k, 3), np.nan, np.float32),
            "ids": np.full(shape, "", "U5"),
            "boxes": np.full((*shape, 4), np.nan, np.float32),
            "velocity": np.full((*shape, 3), np.nan, np.float32),
            "measurement_age": np.full(shape, np.nan, np.float32),
            "joint_names": np.array(JOINT_NAMES),
        }
        if any(scale != 1 for scale in self._scales):
            arrays["scale"] = np.array(self._scales, np.float32)
        for number, row in enumerate(self._people):
            for column, body in row.items():
                arrays["keypoints2d"][number, column] = body.keypoints
                arrays["keypoints3d"][number, column] = body.positions_m
                arrays["ids"][number, column] = body.id
                arrays["boxes"][number, column] = body.box
                arrays["velocity"][number, column] = body.velocity_m_s
                arrays["measurement_age"][number, column] = body.measurement_age_s
        self._writer.close(**arrays)

    def abandon(self) -> None:
        """Remove the temporary files and write nothing."""
        self._writer.abandon()

    def _in_columns(self, perception: Perception) -> dict[int, Body]:
        """The bodies that are not lost, by column; a new body takes the lowest free column."""
        bodies = {body.id: body for body in perception.bodies if body.state is not TrackState.LOST}
        self._column = {id_: column for id_, column in self._column.items() if id_ in bodies}
        for id_ in bodies:
            taken = set(self._column.values())
            if id_ not in self._column:
                self._column[id_] = next(n for n in range(len(taken) + 1) if n not in taken)
        return {self._column[id_]: body for id_, body in bodies.items()}
