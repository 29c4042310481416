# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From heatmaps to keypoints in the image, and from those to joints in space.

The network predicts 3D joints in the axes of the crop's view (`geometry.CropView`); the view's
rotation turns them into the axes of the camera's optical frame.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from thfm_ros.config import DecodeConfig
from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.geometry import (
    CropView,
    Root,
    pack_covariance,
    pixels_per_radian,
    rays,
    solve_root,
)
from thfm_ros.model.outputs import BodyOutputs
from thfm_ros.skeleton import Joint

PEAK_RADIUS = 2
"""Cells on each side of a peak over which its position is averaged. The mean over the whole map
lies between two peaks, on neither (0.45 instead of 0.52 of the joints within 0.1 of the box)."""

_INITIAL_SPREAD = 1.5
_SPREAD_PER_S = 40.0
"""Standard deviation of a joint's motion: in cells at once, and in cells per second."""

_HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]


class HeatmapPeaks(NamedTuple):
    """One joint per heatmap. Units are cells; the centre of the first cell is (0.5, 0.5)."""

    positions: Float[np.ndarray, "k 2"]  # x, y
    mass: Float[np.ndarray, " k"]  # share of the probability within PEAK_RADIUS of the peak
    sigma: Float[np.ndarray, " k"]  # standard deviation per axis of the whole distribution


class Joints3d(NamedTuple):
    """Joints and pelvis in the optical frame, as in contract.Body."""

    positions_m: Float32[np.ndarray, "k 3"]
    covariances_m2: Float32[np.ndarray, "k 6"]
    root_m: Float32[np.ndarray, "3"]
    root_covariance_m2: Float32[np.ndarray, "6"]

    def unknown(self) -> "Joints3d":
        """Arrays of the same shapes with all values unknown (NaN)."""
        return Joints3d(*(np.full_like(each, np.nan) for each in self))


def temporal_prior(
    previous: Float[np.ndarray, "k 2"], age_s: float, weight: float, shape: tuple[int, int]
) -> Float32[np.ndarray, "k h w"]:
    """Log-prior of each joint's position, given its position in the previous frame.

    Args:
        previous: positions in the previous frame, x and y in cells; NaN: no prior.
        age_s: age of the previous frame. The prior fades: after 0.1 s it is worth an eighth.
        weight: the previous position is 1 + weight times as likely; 0: no prior.
        shape: rows and columns of the heatmaps.
    """
    variance = _INITIAL_SPREAD**2 + (_SPREAD_PER_S * age_s) ** 2
    faded_weight = weight * _INITIAL_SPREAD**2 / variance

    def along(length: int, position: np.ndarray) -> np.ndarray:
        distance = np.arange(length, dtype=np.float32) + 0.5 - np.float32(position[:, None])
        return np.asarray(np.nan_to_num(np.exp(-(distance**2) / (2 * variance))))

    rows, columns = along(shape[0], previous[:, 1]), along(shape[1], previous[:, 0])
    prior: Float32[np.ndarray, "k h w"] = rows[:, :, None] * columns[:, None, :]
    prior *= faded_weight
    return np.asarray(np.log1p(prior, out=prior))


def decode_heatmaps(
    heatmaps: Float32[np.ndarray, "k h w"], log_prior: Float32[np.ndarray, "k h w"] | None = None
) -> HeatmapPeaks:
    """The highest cell of each heatmap (logits), refined by the cells around it.

    A prior helps to choose between several peaks, but does not draw the chosen one towards
    itself, so that it adds no lag.
    """
    k, rows, columns = heatmaps.shape
    scores = heatmaps if log_prior is None else heatmaps + log_prior
    peak = scores.reshape(k, -1).argmax(axis=1)
    row, column = np.divmod(peak, columns)
    joint = np.arange(k)
    probability = np.exp(heatmaps - heatmaps[joint, row, column, None, None])
    row_sums, column_sums = probability.sum(axis=2), probability.sum(axis=1)
    total = row_sums.sum(axis=1)
    reach = np.arange(-PEAK_RADIUS, PEAK_RADIUS + 1)
    near_row, near_column = row[:, None] + reach, column[:, None] + reach
    is_inside = _within(near_row, rows)[:, :, None] & _within(near_column, columns)[:, None, :]
    near = (
        is_inside
        * probability[
            joint[:, None, None],
            near_row.clip(0, rows - 1)[:, :, None],
            near_column.clip(0, columns - 1)[:, None, :],
        ]
    )
    mass = near.sum(axis=(1, 2))
    x = column + 0.5 + near.sum(axis=1) @ reach / mass
    y = row + 0.5 + near.sum(axis=2) @ reach / mass
    variance_x = _second_moment(column_sums / total[:, None], x)
    variance_y = _second_moment(row_sums / total[:, None], y)
    # Never below the variance of a uniform distribution over one cell, 1 / 12.
    sigma = np.sqrt(np.maximum((variance_x + variance_y) / 2, 1 / 12))
    return HeatmapPeaks(np.stack([x, y], axis=1), mass / total, sigma)


def _within(index: Int[np.ndarray, "k n"], length: int) -> Bool[np.ndarray, "k n"]:
    return (index >= 0) & (index < length)


def _second_moment(
    probability: Float[np.ndarray, "k n"], position: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Of each distribution along one axis, about ``position``."""
    centre = np.arange(probability.shape[1]) + 0.5
    return np.asarray(probability @ centre**2 - 2 * position * (probability @ centre) + position**2)


def estimate_root(
    body: BodyOutputs,
    keypoints: Float[np.ndarray, "k 2"],
    sigma_px: Float[np.ndarray, " k"],
    region: PixelMap,
    view: CropView,
    k: Intrinsics,
    config: DecodeConfig,
) -> tuple[Root, Float64[np.ndarray, "k 3"]]:
    """The pelvis in the optical frame, and the joints relative to it in the same axes.

    Two cues for the distance are combined: the predicted metric length of the crop's longer side
    (``log_width``), and how far apart the joints are in the image.

    Args:
        body: network outputs for the crop.
        keypoints: source pixels, NaN where unknown.
        sigma_px: standard deviations of ``keypoints`` per axis.
        region: where the crop lies in the source image.
        view: the view of the crop.
        k: the camera of the source image.
        config: standard deviation of the predicted width.
    """
    relative = body.positions.astype(np.float64) @ view.rotation.T
    side_px = region.scale * max(region.width, region.height)
    depth_along_view = math.exp(float(body.log_width)) * view.focal_px / side_px
    hips = keypoints[_HIPS].mean(axis=0)
    ray = rays(hips, k)
    ray = ray if np.isfinite(ray).all() else view.ray
    depth = depth_along_view / float(view.rotation[:, 2] @ ray)
    sigma_m = depth * config.width_sigma
    return solve_root(keypoints, relative, sigma_px, k, depth, sigma_m), relative


def joints_in_optical_frame(
    root: Root,
    relative_m: Float64[np.ndarray, "k 3"],
    keypoints: Float[np.ndarray, "k 2"],
    sigma_px: Float[np.ndarray, " k"],
    k: Intrinsics,
    joint_depth_sigma_m: float,
) -> Joints3d:
    """All joints in the optical frame, with their covariances.

    Across its ray a joint has the uncertainty of its heatmap; along the ray that of the pelvis
    plus ``joint_depth_sigma_m``, which a single view cannot reduce. A joint whose keypoint is
    unknown (NaN), or has no ray through the lens, is unknown in space as well.
    """
    positions = relative_m + root.position_m
    pixel_rays = rays(keypoints, k)
    positions[~np.isfinite(pixel_rays).all(axis=1)] = np.nan
    distance = np.linalg.norm(positions, axis=1, keepdims=True)
    ray = positions / distance
    along = ray[:, :, None] * ray[:, None, :]
    if k.distortion is None:
        sigma_m = sigma_px * positions[:, 2] / math.sqrt(k.fx * k.fy)
    else:
        sigma_m = sigma_px * distance[:, 0] / pixels_per_radian(pixel_rays, k)
    across_var = sigma_m**2
    root_along = np.einsum("ki,ij,kj->k", ray, root.covariance_m2, ray)
    along_var = root_along + joint_depth_sigma_m**2
    covariances = across_var[:, None, None] * (np.eye(3) - along) + along_var[:, None, None] * along
    return Joints3d(
        positions.astype(np.float32),
        pack_covariance(covariances),
        root.position_m.astype(np.float32),
        pack_covariance(root.covariance_m2),
    )
