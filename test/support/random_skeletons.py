# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Symmetric random skeletons in random poses before a camera, for tests of token tables."""

import numpy as np

from thfm_ros.genception.token_calibration import KnownPoses
from thfm_ros.skeleton import BONES, FLIP_PAIRS, Joint

WIDTH, HEIGHT, FOCAL = 448, 256, 300.0


def poses(seed: int, clips: int = 16, frames: int = 5) -> KnownPoses:
    """One person per clip, who turns and moves all joints a little from frame to frame."""
    rng = np.random.default_rng(seed)
    flip, index = np.array(FLIP_PAIRS), np.arange(len(Joint))
    random = rng.normal(size=(len(Joint), 3))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    mirrored = np.where((index > flip)[:, None], random[flip] * [-1, 1, 1], random)
    bones = 0.15 * np.where((index == flip)[:, None], random * [0, 1, 1], mirrored)
    positions = np.zeros((clips * frames, len(Joint), 3))
    for number in range(len(positions)):
        if number % frames == 0:
            yaw, place = rng.uniform(0, 2 * np.pi), [*rng.normal(0, [0.6, 0.2]), rng.uniform(3, 6)]
            pose = rng.normal(0, 0.05, bones.shape)
        yaw += 0.1
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        moved = (bones + pose + rng.normal(0, 0.01, bones.shape)) @ turn.T
        for parent, child in BONES:
            positions[number, child] = positions[number, parent] + moved[child]
        positions[number] += place
    pixels = FOCAL * positions[..., :2] / positions[..., 2:] + [WIDTH / 2, HEIGHT / 2]
    return KnownPoses(positions, pixels, WIDTH, np.repeat(np.arange(clips), frames))
