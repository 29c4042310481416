"""From heatmaps to joints in the image, and from those to joints in space.

The network speaks in the axes of a camera that looks straight at the crop;
`geometry.turn_to_ray` turns that into the axes of the real one.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from thfm_ros.config import DecodeConfig
from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.geometry import Root, packed, rays, solve_root, to_source, turn_to_ray
from thfm_ros.model.outputs import BodyOutputs
from thfm_ros.skeleton import Joint

PEAK_RADIUS = 2
"""Cells round the highest one that share in a joint's place. The mean over the whole map would
lie between two candidates, on neither: 0.45 instead of 0.52 of the joints within 0.1 of the box."""

_STAYS = 1.5
_STRAYS_PER_S = 40.0
"""Cells that a joint is expected to move at once and per second, standard deviations."""

_HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]


class Joints2d(NamedTuple):
    """Joints in one heatmap each, in its cells; the centre of the first cell is (0.5, 0.5)."""

    places: Float[np.ndarray, "k 2"]  # x, y
    mass: Float[np.ndarray, " k"]  # share of the belief within PEAK_RADIUS of the peak
    sigma: Float[np.ndarray, " k"]  # standard deviation per axis of all of the belief


class JointsInSpace(NamedTuple):
    """Joints and pelvis in the optical frame, as contract.Body has them."""

    positions_m: Float32[np.ndarray, "k 3"]
    covariances_m2: Float32[np.ndarray, "k 6"]
    root_m: Float32[np.ndarray, "3"]
    root_covariance_m2: Float32[np.ndarray, "6"]

    def unknown(self) -> "JointsInSpace":
        """The same with nothing known."""
        return JointsInSpace(*(np.full_like(each, np.nan) for each in self))


def remembered(
    before: Float[np.ndarray, "k 2"], age_s: float, hold: float, shape: tuple[int, int]
) -> Float32[np.ndarray, "k h w"]:
    """How much more a cell is believed because its joint was near it a moment ago; logarithms.

    Args:
        before: where joints were, in cells; NaN where that is unknown.
        age_s: how long ago. Memory fades: after 0.1 s it is worth an eighth.
        hold: a place just left is believed 1 + hold times as much; 0 is no memory.
        shape: rows and columns.
    """
    variance = _STAYS**2 + (_STRAYS_PER_S * age_s) ** 2
    fresh = hold * _STAYS**2 / variance

    def near(length: int, place: np.ndarray) -> np.ndarray:
        away = np.arange(length, dtype=np.float32) + 0.5 - np.float32(place[:, None])
        return np.asarray(np.exp(-(away**2) / (2 * variance)))

    close = near(shape[0], before[:, 1])[:, :, None] * near(shape[1], before[:, 0])[:, None, :]
    return np.asarray(np.log1p(fresh * np.nan_to_num(close)), np.float32)


def find_joints(
    heatmaps: Float32[np.ndarray, "k h w"], prior: Float32[np.ndarray, "k h w"] | None = None
) -> Joints2d:
    """The strongest cell of every heatmap, refined by the cells round it.

    A prior (logarithms) helps to choose between candidates, but does not draw the chosen one
    towards itself: what moves is not late.
    """
    k, rows, columns = heatmaps.shape
    chosen = heatmaps if prior is None else heatmaps + prior
    peak = chosen.reshape(k, -1).argmax(axis=1)
    row, column = np.divmod(peak, columns)
    joint = np.arange(k)
    belief = np.exp(heatmaps - heatmaps[joint, row, column, None, None])
    down, across = belief.sum(axis=2), belief.sum(axis=1)
    total = down.sum(axis=1)
    reach = np.arange(-PEAK_RADIUS, PEAK_RADIUS + 1)
    near_row, near_column = row[:, None] + reach, column[:, None] + reach
    there = _within(near_row, rows)[:, :, None] & _within(near_column, columns)[:, None, :]
    near = (
        there
        * belief[
            joint[:, None, None],
            near_row.clip(0, rows - 1)[:, :, None],
            near_column.clip(0, columns - 1)[:, None, :],
        ]
    )
    mass = near.sum(axis=(1, 2))
    x = column + 0.5 + near.sum(axis=1) @ reach / mass
    y = row + 0.5 + near.sum(axis=2) @ reach / mass
    variance = _second_moment(across / total[:, None], x) + _second_moment(down / total[:, None], y)
    # A place inside one cell is not known better than the cell's own 1 / sqrt(12).
    sigma = np.sqrt(np.maximum(variance / 2, 1 / 12))
    return Joints2d(np.stack([x, y], axis=1), mass / total, sigma)


def _within(index: Int[np.ndarray, "k n"], length: int) -> Bool[np.ndarray, "k n"]:
    return (index >= 0) & (index < length)


def _second_moment(
    belief: Float[np.ndarray, "k n"], place: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    centre = np.arange(belief.shape[1]) + 0.5
    return np.asarray(belief @ centre**2 - 2 * place * (belief @ centre) + place**2)


class View(NamedTuple):
    """The camera that looks straight at a crop."""

    turn: Float64[np.ndarray, "3 3"]  # R_optical_view
    focal_px: float  # of the real camera, as much as its image is stretched at this place


def view_of(pixel_map: PixelMap, k: Intrinsics) -> View:
    """The camera whose axis goes through the middle of the crop.

    A flat image stretches what lies off its axis: by 1 / cos across the direction to it and
    1 / cos^2 along; 1 / cos^1.5 is their mean.
    """
    middle = np.array([pixel_map.width / 2, pixel_map.height / 2])
    ray = rays(to_source(middle, pixel_map), k)
    stretch = float(np.linalg.norm(ray)) ** 1.5
    return View(turn_to_ray(ray), math.sqrt(k.fx * k.fy) * stretch)


def place_root(
    body: BodyOutputs,
    keypoints: Float[np.ndarray, "k 2"],
    sigma_px: Float[np.ndarray, " k"],
    pixel_map: PixelMap,
    k: Intrinsics,
    config: DecodeConfig,
) -> tuple[Root, Float64[np.ndarray, "k 3"]]:
    """The pelvis in the optical frame, and the joints relative to it in the same axes.

    Two witnesses of the distance are weighed against each other: how large the person is said
    to be (``log_width``), and how far apart the joints are in the image. ``keypoints`` are
    source pixels, NaN where unknown.
    """
    view = view_of(pixel_map, k)
    relative = body.positions.astype(np.float64) @ view.turn.T
    width_px = pixel_map.scale * pixel_map.width
    along_view = math.exp(float(body.log_width)) * view.focal_px / width_px
    hips = keypoints[_HIPS].mean(axis=0)
    middle = to_source(np.array([pixel_map.width / 2, pixel_map.height / 2]), pixel_map)
    ray = rays(hips if np.isfinite(hips).all() else middle, k)
    depth = along_view / float(view.turn[:, 2] @ ray)
    sigma_m = depth * config.width_sigma
    return solve_root(keypoints, relative, sigma_px, k, depth, sigma_m), relative


def in_space(
    root: Root,
    relative_m: Float64[np.ndarray, "k 3"],
    keypoints: Float[np.ndarray, "k 2"],
    sigma_px: Float[np.ndarray, " k"],
    k: Intrinsics,
    joint_depth_sigma_m: float,
) -> JointsInSpace:
    """All joints in the optical frame, with their covariances.

    Across its ray a joint is as uncertain as its heatmap is wide; along it as the pelvis is,
    plus what a single view cannot tell (``joint_depth_sigma_m``). A joint whose pixel is unknown
    is unknown in space as well: what lies outside the image is not seen.
    """
    positions = relative_m + root.position_m
    positions[~np.isfinite(keypoints).all(axis=1)] = np.nan
    distance = np.linalg.norm(positions, axis=1, keepdims=True)
    ray = positions / distance
    along = ray[:, :, None] * ray[:, None, :]
    across_var = (sigma_px * positions[:, 2] / math.sqrt(k.fx * k.fy)) ** 2
    root_along = np.einsum("ki,ij,kj->k", ray, root.covariance_m2, ray)
    along_var = root_along + joint_depth_sigma_m**2
    covariances = across_var[:, None, None] * (np.eye(3) - along) + along_var[:, None, None] * along
    return JointsInSpace(
        positions.astype(np.float32),
        packed(covariances),
        root.position_m.astype(np.float32),
        packed(root.covariance_m2),
    )
