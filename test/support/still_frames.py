# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered whole frames of rectangles that do not move, for tests of the evaluation."""

from pathlib import Path

import numpy as np
from fake_engine import FakeEngine, Person, box_of, camera, image, pixels_of

from thfm_ros.config import Config
from thfm_ros.evaluation.matching import ImageMatches
from thfm_ros.evaluation.synthetic_frames import frame_clips, matched_clips
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import write_shard

K = camera(320, 240, 250.0)
LEFT, RIGHT = Person(-0.8, 0.1, 3), Person(0.7, 0.0, 3.5)


def rectangle(person: Person) -> tuple[slice, slice]:
    x0, y0, x1, y1 = np.round(box_of(person, K)).astype(int)
    return slice(max(y0, 0), y1), slice(max(x0, 0), x1)


def write_frames(folder: Path, people: list[Person], frames: int = 3) -> None:
    """One clip of a still scene."""
    folder.mkdir(parents=True)
    shape = (K.height, K.width)
    instances, depth = np.zeros(shape, np.uint8), np.zeros(shape, np.float16)
    joints = np.full((4, len(Joint), 3), np.nan, np.float32)
    pixels = np.full((4, len(Joint), 2), np.nan, np.float32)
    for number, person in enumerate(people):
        instances[rectangle(person)], depth[rectangle(person)] = number + 1, person.z
        joints[number] = person.joints_m()
        pixels[number] = pixels_of(person.joints_m(), K)
    visibility = np.where(np.isfinite(pixels).all(-1), 2, 0).astype(np.uint8)
    one = {
        "rgb": image(K), "instances": instances, "depth_m": depth, "keypoints2d": pixels,
        "keypoints3d": joints, "visibility": visibility,
        "intrinsics": np.array([K.fx, K.fy, K.cx, K.cy], np.float32),
    }  # fmt: skip
    arrays = {name: np.stack([value] * frames) for name, value in one.items()}
    arrays["frame_index"] = np.arange(frames, dtype=np.int16)
    write_shard(folder / "shard.npz", arrays, {}, store="plain")


def matched(folder: Path, present: list[Person], detected: list[Person]) -> list[ImageMatches]:
    """What the pipeline makes of a still scene of ``present`` if it sees ``detected``."""
    write_frames(folder, present)
    engine = FakeEngine(K, lambda: detected)
    return matched_clips(PerceptionPipeline(engine, Config()), frame_clips(folder), 9)
