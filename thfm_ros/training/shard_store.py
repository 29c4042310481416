"""Rendered frames on disk, opened so that a random frame costs one page fault, not one file.

A shard of synth.dataset is decoded once into plain arrays beside it and then mapped into memory;
shards that appear while training runs are picked up by `refresh`.
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
    "surface",
    "keypoints2d",
    "keypoints3d",
    "visibility",
    "intrinsics",
    "clip_length",
    "frame_index",
)


BACK_VIEWS = 2.0
"""How much more often somebody is drawn who is seen from behind: one in four was rendered so."""

LEGS_APART = 3.0
"""The same for somebody from the side whose legs are apart: few were rendered so at first."""

LEGS_CROSSED = 5.0
"""The same for somebody whose legs cross in the image: one in ten was rendered so, and where
nothing tells a network otherwise, the leg below the left hip is the left one."""


@dataclass(frozen=True, slots=True)
class FrameRef:
    """One frame: which shard, which row."""

    shard: int
    row: int


class Store:
    """All shards of a folder.

    `clips` lists the first frame of every clip; the others follow it in the same shard.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()
        self._shards: list[dict[str, np.ndarray]] = []
        self.frames: list[FrameRef] = []
        self.clips: list[tuple[FrameRef, int]] = []
        self._chances: list[float] = []  # of the frames, summed up
        self.refresh()
        if not self.frames:
            raise FileNotFoundError(
                f"no shard (*.npz) in {folder}; docs/synthetic_humans.md says how to render some"
            )

    def refresh(self) -> None:
        """Take in the shards that have appeared since; a damaged one is named and left out."""
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
        begun = self._chances[-1] if self._chances else 0.0
        joints = arrays["keypoints2d"][:, 0]
        views = [crossed(joints), from_behind(joints), astride(joints)]
        chances = np.select(views, [LEGS_CROSSED, BACK_VIEWS, LEGS_APART], 1.0)
        self._chances += (begun + np.cumsum(chances)).tolist()
        for row in range(len(indices)):
            self.frames.append(FrameRef(shard, row))
            if indices[row] == 0:
                self.clips.append((FrameRef(shard, row), int(lengths[row])))

    def pick(self, rng: np.random.Generator) -> FrameRef:
        """A frame by chance, rare views more often than they were rendered."""
        return self.frames[bisect_right(self._chances, rng.uniform(0, self._chances[-1]))]

    def pick_clip(self, rng: np.random.Generator, frames: int) -> list[FrameRef]:
        """The first ``frames`` frames of a clip that is long enough.

        Raises:
            ValueError: there is none, or they are too rare to be met.
        """
        for _ in range(200):
            ref = self.pick(rng)
            row = ref.row - int(self.read("frame_index", ref))
            if self.read("clip_length", ref) >= frames:
                return [FrameRef(ref.shard, row + i) for i in range(frames)]
        raise ValueError(f"{self._folder} has no clips of {frames} frames; render some: --frames 4")

    def read(self, key: str, ref: FrameRef) -> np.ndarray:
        """One array of one frame, still on disk."""
        row: np.ndarray = self._shards[ref.shard][key][ref.row]
        return row

    def __len__(self) -> int:
        return len(self.frames)


def from_behind(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """Who shows their back: the left shoulder lies clearly left of the right one."""
    left, right = joints[:, Joint.LEFT_SHOULDER], joints[:, Joint.RIGHT_SHOULDER]
    found: np.ndarray = left[:, 0] - right[:, 0] < -0.3 * _trunk(joints)
    return found  # False where a joint is NaN


def astride(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """Who is seen from the side with the legs apart: shoulders at one place, ankles at two."""

    def apart(one: Joint, other: Joint) -> np.ndarray:
        found: np.ndarray = np.linalg.norm(joints[:, one] - joints[:, other], axis=1)
        return found

    trunk = _trunk(joints)
    sideways = apart(Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER) < 0.45 * trunk
    found: np.ndarray = sideways & (apart(Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE) > 0.5 * trunk)
    return found  # False where a joint is NaN


def crossed(joints: Float[np.ndarray, "n k 2"]) -> Bool[np.ndarray, " n"]:
    """Whose legs cross: along the line of the hips, knees or ankles lie the other way round."""
    trunk = _trunk(joints)
    hips = joints[:, Joint.LEFT_HIP] - joints[:, Joint.RIGHT_HIP]
    width = np.linalg.norm(hips, axis=1)

    def across(left: Joint, right: Joint) -> np.ndarray:
        along = ((joints[:, left] - joints[:, right]) * hips).sum(1)
        found: np.ndarray = along < -0.15 * trunk * width
        return found

    legs = across(Joint.LEFT_KNEE, Joint.RIGHT_KNEE) | across(Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE)
    found: np.ndarray = (width > 0.12 * trunk) & legs
    return found  # False where a joint is NaN


def _trunk(joints: Float[np.ndarray, "n k 2"]) -> Float[np.ndarray, " n"]:
    """From the middle of the shoulders to that of the hips, pixels."""
    shoulders = (joints[:, Joint.LEFT_SHOULDER] + joints[:, Joint.RIGHT_SHOULDER]) / 2
    hips = (joints[:, Joint.LEFT_HIP] + joints[:, Joint.RIGHT_HIP]) / 2
    length: np.ndarray = np.linalg.norm(shoulders - hips, axis=1)
    return length


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a shard beside it, mapped into memory.

    Several processes may unpack one at once: each does so in a folder of its own, and the first
    to rename it is the one that all read.
    """
    folder, made = path.with_suffix(".arrays"), (path.stat().st_size, path.stat().st_mtime_ns)
    mark = folder / "complete"

    def sound() -> bool:
        return mark.exists() and mark.read_text() in ("", str(made))  # "": of an older release

    if not sound():
        arrays = read_shard(path, KEYS)
        mine = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        for key in KEYS:
            np.save(mine / f"{key}.npy", arrays[key])
        (mine / "complete").write_text(str(made))
        if folder.exists() and not sound():
            shutil.rmtree(folder)  # of a shard that was rendered anew, or half made
        with contextlib.suppress(OSError):  # somebody else was first
            mine.rename(folder)
        shutil.rmtree(mine, ignore_errors=True)
    return {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in KEYS}
