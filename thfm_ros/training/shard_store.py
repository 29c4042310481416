# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered frames on disk, stored so that reading a random one costs a page fault, not a file.

Shards of synth.dataset are unpacked once into plain arrays next to them, which are mapped into
memory. `Store.refresh` adds shards that appear while training runs.
"""

import contextlib
import logging
import shutil
import tempfile
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import ShardError, read_shard, shard_paths

logger = logging.getLogger(__name__)

KEYS = (
    "rgb",
    "depth_m",
    "normals",
    "parts",
    "instances",
    "dense_pose_uv",
    "keypoints2d",
    "keypoints3d",
    "visibility",
    "intrinsics",
    "clip_length",
    "frame_index",
)

BACK_VIEWS = 2.0
"""Sampling weight of people seen from behind; a quarter of the renders."""

LEGS_APART = 3.0
"""Sampling weight of people seen from the side with their legs apart; rare in early renders."""

LEGS_CROSSED = 5.0
"""Sampling weight of people whose legs cross in the image: a tenth of the renders. Without them a
network learns that the leg below the left hip is always the left one."""


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One frame, by numbers of shard and row."""

    shard: int
    row: int


class Store:
    """All shards of a folder.

    Attributes:
        frames: all frames.
        clips: the first frame and the length of each clip; the other frames follow the first one.

    Raises:
        FileNotFoundError: the folder has no shard.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._shards: list[dict[str, np.ndarray]] = []
        self.frames: list[FrameRef] = []
        self.clips: list[tuple[FrameRef, int]] = []
        self._cumulative_weights: list[float] = []  # of the frames
        self.refresh()
        if not self.frames:
            raise FileNotFoundError(
                f"no shard (*.npz) in {folder}; docs/synthetic_humans.md says how to render some"
            )

    def refresh(self) -> None:
        """Add the shards that have appeared since; damaged ones are logged and left out."""
        for path in shard_paths(self._folder):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                arrays = _unpacked(path)
            except (ShardError, OSError) as error:
                logger.warning("left out: %s", error)
                continue
            self._add(arrays)

    def _add(self, arrays: dict[str, np.ndarray]) -> None:
        shard = len(self._shards)
        self._shards.append(arrays)
        lengths, indices = arrays["clip_length"], arrays["frame_index"]
        total = self._cumulative_weights[-1] if self._cumulative_weights else 0.0
        joints = arrays["keypoints2d"][:, 0]
        views = [legs_crossed(joints), back_view(joints), legs_apart_sideways(joints)]
        weights = np.select(views, [LEGS_CROSSED, BACK_VIEWS, LEGS_APART], 1.0)
        self._cumulative_weights += (total + np.cumsum(weights)).tolist()
        for row in range(len(indices)):
            self.frames.append(FrameRef(shard, row))
            if indices[row] == 0:
                self.clips.append((FrameRef(shard, row), int(lengths[row])))

    def pick(self, rng: np.random.Generator) -> FrameRef:
        """A random frame; rare views are drawn more often than they were rendered."""
        weights = self._cumulative_weights
        return self.frames[bisect_right(weights, rng.uniform(0, weights[-1]))]

    def pick_clip(self, rng: np.random.Generator, frames: int) -> list[FrameRef]:
        """The first ``frames`` frames of a random clip that is long enough.

        Raises:
            ValueError: none was found in 200 draws.
        """
        for _ in range(200):
            ref = self.pick(rng)
            row = ref.row - int(self.read("frame_index", ref))
            if self.read("clip_length", ref) >= frames:
                return [FrameRef(ref.shard, row + i) for i in range(frames)]
        raise ValueError(f"{self._folder} has no clips of {frames} frames; render some: --frames 4")

    def read(self, key: str, ref: FrameRef) -> np.ndarray:
        """One array of one frame, mapped from disk."""
        row: np.ndarray = self._shards[ref.shard][key][ref.row]
        return row

    def __len__(self) -> int:
        return len(self.frames)


def back_view(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """People seen from behind: the left shoulder is clearly to the left of the right one."""
    left, right = joints[:, Joint.LEFT_SHOULDER], joints[:, Joint.RIGHT_SHOULDER]
    found: np.ndarray = left[:, 0] - right[:, 0] < -0.3 * _trunk(joints)
    return found  # False where a joint is NaN


def legs_apart_sideways(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """People seen from the side with their legs apart: shoulders close together, ankles not."""

    def distance(one: Joint, other: Joint) -> np.ndarray:
        return np.asarray(np.linalg.norm(joints[:, one] - joints[:, other], axis=1))

    trunk = _trunk(joints)
    sideways = distance(Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER) < 0.45 * trunk
    found: np.ndarray = sideways & (distance(Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE) > 0.5 * trunk)
    return found  # False where a joint is NaN


def legs_crossed(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """People with crossed legs: along the line of the hips, knees or ankles are swapped."""
    trunk = _trunk(joints)
    hips = joints[:, Joint.LEFT_HIP] - joints[:, Joint.RIGHT_HIP]
    width = np.linalg.norm(hips, axis=1)

    def swapped(left: Joint, right: Joint) -> np.ndarray:
        along = ((joints[:, left] - joints[:, right]) * hips).sum(1)
        return np.asarray(along < -0.15 * trunk * width)

    legs = swapped(Joint.LEFT_KNEE, Joint.RIGHT_KNEE)
    legs = legs | swapped(Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE)
    found: np.ndarray = (width > 0.12 * trunk) & legs
    return found  # False where a joint is NaN


def _trunk(joints: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, " n"]:
    """Length of the trunk in pixels: middle of the shoulders to middle of the hips."""
    shoulders = (joints[:, Joint.LEFT_SHOULDER] + joints[:, Joint.RIGHT_SHOULDER]) / 2
    hips = (joints[:, Joint.LEFT_HIP] + joints[:, Joint.RIGHT_HIP]) / 2
    length: np.ndarray = np.linalg.norm(shoulders - hips, axis=1)
    return length


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a shard, mapped into memory from the folder to which it is unpacked.

    Several processes may unpack a shard at once: each writes to a folder of its own, and all read
    the one that was renamed first.
    """
    folder = path.with_suffix(".arrays")
    version = str((path.stat().st_size, path.stat().st_mtime_ns))
    mark = folder / "complete"

    def is_current() -> bool:
        if not all((folder / f"{key}.npy").exists() for key in KEYS):
            return False  # unpacked from a shard of an older format
        return mark.exists() and mark.read_text() == version

    if not is_current():
        arrays = read_shard(path, KEYS)
        own = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        for key in KEYS:
            np.save(own / f"{key}.npy", arrays[key])
        (own / "complete").write_text(version)
        if folder.exists() and not is_current():
            shutil.rmtree(folder)  # of a shard that was rendered again, or incomplete
        with contextlib.suppress(OSError):  # another process was first
            own.rename(folder)
        shutil.rmtree(own, ignore_errors=True)
    return {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in KEYS}
