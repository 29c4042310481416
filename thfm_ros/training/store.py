"""Rendered frames on disk, opened so that a random frame costs one page fault, not one file.

A shard of synth.dataset is decoded once into plain arrays beside it and then mapped into memory;
shards that appear while training runs are picked up by `refresh`.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
        self.refresh()
        if not self.frames:
            raise FileNotFoundError(
                f"no shard (*.npz) in {folder}; make some: thfm synth render --out {folder}"
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
        for row in range(len(indices)):
            self.frames.append(FrameRef(shard, row))
            if indices[row] == 0:
                self.clips.append((FrameRef(shard, row), int(lengths[row])))

    def read(self, key: str, ref: FrameRef) -> np.ndarray:
        """One array of one frame, still on disk."""
        row: np.ndarray = self._shards[ref.shard][key][ref.row]
        return row

    def __len__(self) -> int:
        return len(self.frames)


def _unpacked(path: Path) -> dict[str, np.ndarray]:
    folder = path.with_suffix(".arrays")
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        arrays = read_shard(path, KEYS)
        folder.mkdir()
        for key in KEYS:
            np.save(folder / f"{key}.npy", arrays[key])
        (folder / "complete").touch()
    return {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in KEYS}
