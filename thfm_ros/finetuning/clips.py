# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The clips of a run: shards of `thfm synth render`, in an order that depends on the seed alone."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Int

from thfm_ros.contract import PerceptionError
from thfm_ros.finetuning.targets import Clip
from thfm_ros.synth.dataset import read_about, read_shard, shard_paths

_ARRAYS = ("rgb", "depth_m", "normals", "instances", "keypoints2d", "keypoints3d", "people")


class RenderedClips:
    """All clips in a folder of shards; the newest shard that was read stays in memory."""

    def __init__(self, folder: Path, frames: int, height: int, seed: int) -> None:
        """Read the headers of all shards.

        Args:
            folder: that `thfm synth render` wrote.
            frames: of each clip; the window of the network.
            height: of the network image, for the error alone.
            seed: of the order.

        Raises:
            PerceptionError: there are no shards, or their clips have another length.
            ShardError: one is damaged.
        """
        command = (
            f"`thfm synth render --frames {frames} --size {-(-height * 8 // 9)} --shard 8 "
            "--clips N --out FOLDER`"
        )
        self._paths = shard_paths(folder)
        if not self._paths:
            raise PerceptionError(f"--data {folder} has no shards. Make them: {command}.")
        self._frames, self._seed = frames, seed
        self._counts, sums = [], hashlib.sha256()
        for path in self._paths:
            about = read_about(path)
            if about.get("frames") != [frames]:
                told = ", ".join(str(each) for each in about.get("frames", [])) or "unknown"
                raise PerceptionError(
                    f"{path} has clips of {told} frames; the checkpoint's window is {frames}. "
                    f"Render others, into another folder: {command}."
                )
            self._counts.append(int(about["frames_total"]) // frames)
            sums.update(f"{path.name} {about['sha256']}\n".encode())
        self.checksum = sums.hexdigest()
        self._epoch: tuple[int, Int[np.ndarray, "n 2"]] = (-1, np.zeros((0, 2), np.int64))
        self._shard: tuple[int, dict[str, np.ndarray]] = (-1, {})

    def __len__(self) -> int:
        return sum(self._counts)

    def clip(self, number: int) -> Clip:
        """Clip ``number`` of the run; after each `len` clips they come in another order.

        Raises:
            ShardError: its shard is damaged.
        """
        epoch, place = divmod(number, len(self))
        if epoch != self._epoch[0]:
            self._epoch = (epoch, self._order(epoch))
        shard, index = (int(each) for each in self._epoch[1][place])
        if shard != self._shard[0]:
            self._shard = (shard, read_shard(self._paths[shard], _ARRAYS))
        start = index * self._frames
        return {
            name: values[start : start + self._frames] for name, values in self._shard[1].items()
        }

    def _order(self, epoch: int) -> Int[np.ndarray, "n 2"]:
        """Shard and clip in it, shard after shard, so that each is read once."""
        rng = np.random.default_rng((self._seed, epoch))
        return np.concatenate(
            [
                np.stack(
                    [np.full(self._counts[shard], shard), rng.permutation(self._counts[shard])], 1
                )
                for shard in rng.permutation(len(self._paths))
            ]
        )
