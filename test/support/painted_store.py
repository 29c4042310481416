# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A folder of training data with painted people: no renderer, no asset, exact labels."""

from pathlib import Path

import numpy as np

from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import write_shard

SIZE = 128
ROWS = 4  # of keypoints per frame, as in rendered shards: NaN where there are fewer people
FOCAL = 200.0
DISTANCE = 3.0


def write_data(folder: Path, clips: int = 6) -> Path:
    """Write train/, val/ and backgrounds.npy; every clip has one painted person, four frames."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        write_shard(folder / split / "shard_0.npz", shard(rng, clips), {}, store="plain")
    backgrounds = rng.integers(0, 255, (4, 96, 128, 3), dtype=np.uint8)
    np.save(folder / "backgrounds.npy", backgrounds)
    return folder


def shard(rng: np.random.Generator, clips: int, frames: int = 4) -> dict[str, np.ndarray]:
    """One shard in the trainer's format."""
    rows = [painted_frame(rng) for _ in range(clips * frames)]
    arrays = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    arrays["clip_length"] = np.full(clips * frames, frames, np.int16)
    arrays["frame_index"] = np.tile(np.arange(frames, dtype=np.int16), clips)
    return arrays


def painted_frame(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A tall rectangle whose left half is one part and right half another, with 35 joints."""
    left, top = int(rng.integers(30, 50)), int(rng.integers(10, 20))
    box = (slice(top, top + 90), slice(left, left + 40))
    instances = np.zeros((SIZE, SIZE), np.uint8)
    instances[box] = 1
    parts = np.zeros((SIZE, SIZE), np.uint8)
    parts[top : top + 90, left : left + 20] = 5  # right upper arm, on the image's left
    parts[top : top + 90, left + 20 : left + 40] = 4
    rgb = rng.integers(0, 80, (SIZE, SIZE, 3), dtype=np.uint8)
    rgb[box] = (200, 120, 60)
    normals = np.zeros((SIZE, SIZE, 3), np.int8)
    normals[box] = (76, 0, -101)  # about (0.6, 0, -0.8)
    dense_pose_uv = np.zeros((SIZE, SIZE, 3), np.int8)
    dense_pose_uv[box] = (0, 127, 64)
    space = np.zeros((len(Joint), 3), np.float32)
    space[:, 0] = rng.uniform(left, left + 40, len(Joint)) - SIZE / 2
    space[:, 1] = rng.uniform(top, top + 90, len(Joint)) - SIZE / 2
    space[:, :2] *= DISTANCE / FOCAL
    space[:, 2] = DISTANCE
    pixels = space[:, :2] / space[:, 2:] * FOCAL + SIZE / 2
    keypoints2d = np.full((ROWS, len(Joint), 2), np.nan, np.float32)
    keypoints3d = np.full((ROWS, len(Joint), 3), np.nan, np.float32)
    visibility = np.zeros((ROWS, len(Joint)), np.uint8)
    keypoints2d[0], keypoints3d[0], visibility[0] = pixels, space, 2
    return {
        "rgb": rgb,
        "depth_m": np.where(instances > 0, DISTANCE + 0.1, 5).astype(np.float16),
        "normals": normals,
        "parts": parts,
        "instances": instances,
        "dense_pose_uv": dense_pose_uv,
        "keypoints2d": keypoints2d,
        "keypoints3d": keypoints3d,
        "visibility": visibility,
        "intrinsics": np.array([FOCAL, FOCAL, SIZE / 2, SIZE / 2], np.float32),
    }
