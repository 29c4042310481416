# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Skeletons without images, to train the lifter: random views of rendered poses.

A pose that is rotated about the vertical and seen by another camera is a new problem, so a few
thousand poses are enough.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.augmentation.geometric import FLIP
from thfm_ros.training.rendered_crop import HIPS
from thfm_ros.training.shard_store import Store

TILTED_SHARE = 0.2
"""Share of the views that are rotated by any angle, as training crops are."""


class SkeletonViews(NamedTuple):
    """Skeletons, each as a camera sees it; the inputs and the output of `model.heads.Lifter`."""

    peaks: Float[Tensor, "b k 2"]  # keypoints in 0..1 of a square image
    mass: Float[Tensor, "b k"]
    log_width: Float[Tensor, " b"]
    positions: Float[Tensor, "b k 3"]  # metres from the middle of the hips

    def to(self, device: torch.device) -> "SkeletonViews":
        """The views on a device."""
        return SkeletonViews(*(each.to(device) for each in self))


class PoseBank:
    """Root-relative skeletons of all rendered targets, in metres and axes of their cameras."""

    def __init__(self, store: Store) -> None:
        poses = np.stack([store.read("keypoints3d", ref)[0] for ref in store.frames])
        self._poses = poses - poses[:, HIPS].mean(1, keepdims=True)

    def draw(self, rng: np.random.Generator, count: int, noise: float = 0.012) -> SkeletonViews:
        """``count`` random views; ``noise`` is the 2D error, as a share of the image."""
        poses = self._poses[rng.integers(len(self._poses), size=count)]
        if rng.random() < 0.5:
            poses = poses[:, FLIP] * np.array([-1, 1, 1])
        poses = _rotated(rng, poses * np.exp(rng.normal(0, 0.05, (count, 1, 1))))
        distance = np.exp(rng.uniform(np.log(1.2), np.log(8), (count, 1)))
        distance = np.maximum(distance, 0.35 - poses[..., 2].min(1, keepdims=True))
        offset = rng.normal(0, 0.12, (count, 1, 2)) * distance[..., None]
        depth = poses[..., 2] + distance
        projected = (poses[..., :2] + offset) / depth[..., None]
        low, high = projected.min(1), projected.max(1)
        side = (high - low).max(1) / rng.uniform(0.5, 1.15, count)
        middle = (low + high) / 2 + rng.normal(0, 0.06, (count, 2)) * side[:, None]
        peaks = (projected - middle[:, None]) / side[:, None, None] + 0.5
        log_width = np.log(side * distance[:, 0]) + rng.normal(0, 0.08, count)
        mass = rng.uniform(0.2, 1, peaks.shape[:2])
        peaks = peaks + rng.normal(0, noise, peaks.shape) / np.sqrt(mass)[..., None]
        values = (peaks, mass, log_width, poses)
        return SkeletonViews(*(torch.from_numpy(value.astype(np.float32)) for value in values))


def lift_loss(network: NanoNetwork, views: SkeletonViews) -> Tensor:
    """Error of the lifter on skeletons without images, metres: sum of the axes, mean of joints."""
    positions, _ = network.lifter(views.peaks, views.mass, views.log_width, 1.0, None)
    loss: Tensor = (positions - views.positions).abs().sum(-1).mean()
    return loss


def _rotated(
    rng: np.random.Generator, poses: Float[np.ndarray, "b k 3"]
) -> Float[np.ndarray, "b k 3"]:
    """Rotate each pose about the vertical by any angle, and tilt the camera, mostly a little."""
    yaw = rng.uniform(-np.pi, np.pi, len(poses))
    pitch, roll = rng.normal(0.05, 0.15, len(poses)), rng.normal(0, 0.08, len(poses))
    tilted = rng.random(len(poses)) < TILTED_SHARE
    roll[tilted] = rng.uniform(-np.pi, np.pi, tilted.sum())
    rotated: np.ndarray = poses.copy()
    for first, second, angle in ((0, 2, yaw), (1, 2, pitch), (0, 1, roll)):
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = rotated[..., first].copy(), rotated[..., second].copy()
        rotated[..., first], rotated[..., second] = cos * a - sin * b, sin * a + cos * b
    return rotated
