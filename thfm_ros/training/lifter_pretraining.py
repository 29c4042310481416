"""Skeletons without images: random views of captured poses, to teach the lifter.

A pose seen by one camera is, turned about the vertical and seen by another, a new problem; so a
few thousand poses make as many as one wants.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.skeleton import FLIP_PAIRS
from thfm_ros.training.crop_samples import HIPS
from thfm_ros.training.shard_store import Store

FLIP = np.array(FLIP_PAIRS)
TILTED = 0.2
"""Share of the views that are turned by any angle, as training crops are."""


class Views(NamedTuple):
    """A batch of skeletons as one camera each sees them."""

    peaks: Float[Tensor, "b k 2"]  # 0..1 of a square image
    mass: Float[Tensor, "b k"]
    log_width: Float[Tensor, " b"]
    positions: Float[Tensor, "b k 3"]  # metres from the middle of the hips


class PoseBank:
    """Root-relative skeletons of all rendered targets, metres, axes of their cameras."""

    def __init__(self, store: Store) -> None:
        poses = np.stack([store.read("keypoints3d", ref)[0] for ref in store.frames])
        self._poses = poses - poses[:, HIPS].mean(1, keepdims=True)

    def draw(self, rng: np.random.Generator, count: int, noise: float = 0.012) -> Views:
        """``count`` random views; ``noise`` is the 2D error, in shares of the image."""
        poses = self._poses[rng.integers(len(self._poses), size=count)]
        if rng.random() < 0.5:
            poses = poses[:, FLIP] * np.array([-1, 1, 1])
        poses = _turned(rng, poses * np.exp(rng.normal(0, 0.05, (count, 1, 1))))
        distance = np.exp(rng.uniform(np.log(1.2), np.log(8), (count, 1)))
        distance = np.maximum(distance, 0.35 - poses[..., 2].min(1, keepdims=True))
        aside = rng.normal(0, 0.12, (count, 1, 2)) * distance[..., None]
        depth = poses[..., 2] + distance
        flat = (poses[..., :2] + aside) / depth[..., None]
        low, high = flat.min(1), flat.max(1)
        side = (high - low).max(1) / rng.uniform(0.5, 1.15, count)
        middle = (low + high) / 2 + rng.normal(0, 0.06, (count, 2)) * side[:, None]
        peaks = (flat - middle[:, None]) / side[:, None, None] + 0.5
        log_width = np.log(side * distance[:, 0]) + rng.normal(0, 0.08, count)
        mass = rng.uniform(0.2, 1, peaks.shape[:2])
        peaks = peaks + rng.normal(0, noise, peaks.shape) / np.sqrt(mass)[..., None]
        values = (peaks, mass, log_width, poses)
        return Views(*(torch.from_numpy(value.astype(np.float32)) for value in values))


def _turned(rng: np.random.Generator, poses: np.ndarray) -> np.ndarray:
    """Turn each pose about the vertical by any angle, then tilt the camera, mostly a little."""
    yaw = rng.uniform(-np.pi, np.pi, len(poses))
    pitch, roll = rng.normal(0.05, 0.15, len(poses)), rng.normal(0, 0.08, len(poses))
    tilted = rng.random(len(poses)) < TILTED
    roll[tilted] = rng.uniform(-np.pi, np.pi, tilted.sum())
    turned: np.ndarray = poses.copy()
    for first, second, angle in ((0, 2, yaw), (1, 2, pitch), (0, 1, roll)):
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = turned[..., first].copy(), turned[..., second].copy()
        turned[..., first], turned[..., second] = cos * a - sin * b, sin * a + cos * b
    return turned
