"""perception.npz: what was perceived in every frame, as arrays.

For n frames of h x w pixels, at most p people at a time and k joints (unknown is NaN):

    frames       int64   [n]        index in the video, or in the sorted list of the folder
    mask         float16 [n h w]    probability of "a person"
    depth_m      float32 [n h w]    metres along the optical axis; needs a focal length
    depth_relative float32 [n h w]  the same in an unknown unit; only where none is metric
    normals      float16 [n h w 3]  unit vectors, optical frame, towards the camera
    parts        uint8   [n h w]    skeleton.PART_NAMES; 0 background
    dense_pose   float16 [n h w 3]  part, u, v
    keypoints2d  float32 [n p k 3]  x, y in pixels of the input, score
    keypoints3d  float32 [n p k 3]  metres, optical frame; needs a focal length
    ids          U5      [n p]      the same in every frame of a clip; "" where there is none
    boxes        float32 [n p 4]    x_min, y_min, x_max, y_max in pixels of the input
    joint_names  U       [k]

A person keeps the column p while they are seen. Frames that are smaller than h x w lie in the top
left corner, with nothing known beside them (mask NaN). The map of a task that was not asked for
is left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thfm_ros.contract import Body, Perception, Task, TrackState
from thfm_ros.media.npz_writer import GrowingArchive
from thfm_ros.skeleton import JOINT_NAMES

_MAPS: dict[str, tuple[Task, npt.DTypeLike, int, float]] = {
    # key: task, type in the file, channels, what stands for "unknown"
    "mask": (Task.SEGMENTATION, np.float16, 0, np.nan),
    "depth_m": (Task.DEPTH, np.float32, 0, np.nan),
    "depth_relative": (Task.DEPTH, np.float32, 0, np.nan),
    "normals": (Task.NORMALS, np.float16, 3, np.nan),
    "parts": (Task.PARTS, np.uint8, 0, 0),
    "dense_pose": (Task.DENSE_POSE, np.float16, 3, np.nan),
}


class Recording:
    """Collects perceptions and writes perception.npz on `close`.

    Memory stays bounded: maps go to disk frame by frame, only joints and boxes are kept.
    """

    def __init__(self, path: Path, width: int, height: int, tasks: frozenset[Task]) -> None:
        self._archive = GrowingArchive(path)
        self._size = (height, width)
        self._keys = [key for key, (task, *_) in _MAPS.items() if task in tasks]
        self._frames: list[int] = []
        self._people: list[dict[int, Body]] = []  # by column
        self._column: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, index: int, seen: Perception) -> None:
        """Append one frame; ``index`` goes into ``frames``."""
        if not self._frames and seen.depth_relative is None and "depth_relative" in self._keys:
            self._keys.remove("depth_relative")  # a lens is known from the first frame, or never
        for key in self._keys:
            _, dtype, channels, unknown = _MAPS[key]
            shape = (*self._size, channels) if channels else self._size
            row = np.full(shape, unknown, dtype)
            values = getattr(seen, key)
            if values is not None:
                row[: seen.height, : seen.width] = values
            self._archive.append(key, row)
        self._frames.append(index)
        self._people.append(self._in_columns(seen))

    def close(self) -> None:
        """Write the file."""
        people = 1 + max((max(row, default=-1) for row in self._people), default=-1)
        shape = (len(self._frames), people)
        joints = len(JOINT_NAMES)
        arrays: dict[str, npt.NDArray[Any]] = {
            "frames": np.array(self._frames, np.int64),
            "keypoints2d": np.full((*shape, joints, 3), np.nan, np.float32),
            "keypoints3d": np.full((*shape, joints, 3), np.nan, np.float32),
            "ids": np.full(shape, "", "U5"),
            "boxes": np.full((*shape, 4), np.nan, np.float32),
            "joint_names": np.array(JOINT_NAMES),
        }
        for number, row in enumerate(self._people):
            for column, body in row.items():
                arrays["keypoints2d"][number, column] = body.keypoints
                arrays["keypoints3d"][number, column] = body.positions_m
                arrays["ids"][number, column] = body.id
                arrays["boxes"][number, column] = body.box
        self._archive.close(**arrays)

    def abandon(self) -> None:
        """Write nothing and clean up."""
        self._archive.abandon()

    def _in_columns(self, seen: Perception) -> dict[int, Body]:
        """Who is seen in this frame, everybody in the lowest column that was free for them."""
        bodies = {body.id: body for body in seen.bodies if body.state is not TrackState.LOST}
        self._column = {name: n for name, n in self._column.items() if name in bodies}
        for name in bodies:
            taken = set(self._column.values())
            if name not in self._column:
                self._column[name] = next(n for n in range(len(taken) + 1) if n not in taken)
        return {self._column[name]: body for name, body in bodies.items()}
