# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Geometric augmentation: similarity transforms from rendered pixels to those of a sample."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from thfm_ros.skeleton import FLIP_PAIRS, PART_FLIP_PAIRS

FLIP = np.array(FLIP_PAIRS)
"""Joints of a mirrored person, by index."""

PART_FLIP = np.array(PART_FLIP_PAIRS, np.uint8)
"""Body parts of a mirrored person, by index."""

MIRRORED_NORMAL = np.array([-1, 1, 1], np.float32)
"""Factors of a normal's components in a mirrored image."""

MIRRORED_DENSE_POSE = np.array([1, -1, 1], np.float32)
"""Factors of cos(2 pi u), sin(2 pi u) and v in a mirrored image: u runs the other way round."""

CLOSE_UP_ZOOM = 1.5
"""From this factor on, a crop is that of a person who is larger than the image."""


@dataclass(frozen=True, slots=True)
class CropStyle:
    """Size of crops, and strength of their augmentation."""

    size: int = 128  # pixels
    augmentation_ramp: float = 0.0  # 1: early training, few occluders and small rotations
    clean_share: float = 0.0  # of clips without occluders, other backgrounds and strong photometry


@dataclass(frozen=True, slots=True)
class CropTransform:
    """Similarity transform from rendered pixels to those of a sample."""

    matrix: Float[np.ndarray, "2 3"]  # the centre of the first pixel is 0, as in OpenCV
    scale: float
    angle: float  # radians
    mirrored: bool

    @property
    def rotation(self) -> Float[np.ndarray, "2 2"]:
        """The rotation alone, for directions in the image plane."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])


def similarity(
    rendered: tuple[int, int],
    middle: Float[np.ndarray, "2"],
    scale: float,
    angle: float = 0.0,
    *,
    mirrored: bool = False,
) -> Float[np.ndarray, "2 3"]:
    """The matrix that mirrors, rotates and scales an image about its middle.

    Args:
        rendered: width and height of the image.
        middle: where its middle is to be; the centre of the first pixel is 0, as in OpenCV.
        scale: factor.
        angle: radians.
        mirrored: left and right are exchanged before the rotation.
    """
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix: np.ndarray = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    if mirrored:
        matrix = matrix @ np.array([[-1, 0, rendered[0] - 1], [0, 1, 0], [0, 0, 1.0]])
    matrix[:, 2] += middle - (matrix[:, :2] @ ((np.array(rendered) - 1) / 2) + matrix[:, 2])
    return matrix


def draw_transform(rng: np.random.Generator, rendered: int, style: CropStyle) -> CropTransform:
    """Draw what detectors get wrong about a box, and how cameras and bodies are rotated.

    ``rendered`` is the side of the rendered crop in pixels.
    """
    strength = 1 - style.augmentation_ramp
    zoom, shift = float(np.exp(rng.normal(0.04, 0.15))), rng.normal(0, 0.06, 2)
    angle = rng.normal(0, np.radians(10))
    if rng.random() < 0.1 * strength:
        angle = rng.uniform(-0.8, 0.8)
    elif rng.random() < 0.15 * strength:
        angle = rng.uniform(-np.pi, np.pi)  # few people were rendered lying or upside down
    chance = rng.random()
    if chance < 0.1 * strength:
        zoom, shift = rng.uniform(0.45, 0.75), rng.uniform(-0.15, 0.15, 2)
    elif chance < 0.2 * strength:
        zoom, shift = rng.uniform(1.2, 1.7), rng.uniform(-0.2, 0.2, 2)
    elif chance < 0.26 * strength:  # a close-up, of whom the image shows a trunk, legs, a face
        zoom = float(np.exp(rng.uniform(np.log(CLOSE_UP_ZOOM), np.log(2.6))))
        shift = rng.uniform(-0.4, 0.4, 2) * (zoom - 1)
    mirrored = bool(rng.random() < 0.5)
    scale = style.size / rendered * zoom
    middle = np.full(2, (style.size - 1) / 2) + shift * style.size
    matrix = similarity((rendered, rendered), middle, scale, float(angle), mirrored=mirrored)
    return CropTransform(matrix, scale, float(angle), mirrored)


def with_camera_shake(
    rng: np.random.Generator, transform: CropTransform, size: int, frames: int
) -> list[CropTransform]:
    """The same transform for each frame of a clip, shifted as a hand-held camera shakes."""
    deviation = size * float(np.exp(rng.uniform(np.log(0.0005), np.log(0.006))))  # px per frame
    offsets = np.cumsum(rng.normal(0, deviation, (frames, 2)), axis=0)
    return [
        replace(transform, matrix=transform.matrix + np.array([[0, 0, x], [0, 0, y]]))
        for x, y in offsets
    ]
