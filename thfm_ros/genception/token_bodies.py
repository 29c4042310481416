# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The person that calibrated token tables describe; see `thfm calibrate-tokens`."""

import random
import string
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.contract import Body, Frame, Intrinsics, PixelMap, Task, TrackState
from thfm_ros.genception.token_map import TokenMap
from thfm_ros.geometry import pack_covariance, project, solve_root, to_source
from thfm_ros.skeleton import JOINT_NAMES, Joint

_HIPS = [Joint.LEFT_HIP, Joint.RIGHT_HIP]
_MIN_SCORE = 0.3
"""Share of the joints that must lie on the mask: the tables have values without a person, too."""
_REACH = 0.02
"""How far from the mask a joint may lie, in image widths."""
_BOX_MARGIN = 0.1  # of the longer side: the head and the hands reach beyond their joints

Points = Mapping[str, Float[np.ndarray, "k a"]]  # by space


def spaces_with_a_place(maps: tuple[TokenMap, ...]) -> set[str]:
    """Spaces of the maps that say where in the image a person is."""
    return {each.space for each in maps} & {"image", "camera"}


def can_have_bodies(maps: tuple[TokenMap, ...], tasks: frozenset[Task]) -> bool:
    """Whether skeletons can be published: a place, and a mask that says whether anyone is there."""
    return bool(spaces_with_a_place(maps)) and Task.SEGMENTATION in tasks


def new_id(used: set[str]) -> str:
    """An unused id of a body; it is added to ``used``."""
    while True:
        new = "".join(random.choices(string.ascii_lowercase, k=5))
        if new not in used:
            used.add(new)
            return new


class _Skeleton(NamedTuple):
    """Joints of one person: pixels of the source image, and metres with their covariances."""

    pixels: Float[np.ndarray, "k 2"]
    positions_m: Float[np.ndarray, "k 3"]
    covariances: Float[np.ndarray, "k 3 3"]
    root_m: Float[np.ndarray, "3"]
    root_covariance: Float[np.ndarray, "3 3"]


def body_of(
    points: Points,
    maps: tuple[TokenMap, ...],
    frame: Frame,
    pixel_map: PixelMap,
    mask: Float32[np.ndarray, "h w"],
    body_id: str,
) -> Body | None:
    """The person of one frame; None if no person is where the tables say.

    Args:
        points: of all joints, by the space of each of ``maps``.
        maps: of the tables.
        frame: the source image.
        pixel_map: where the network image lies in it.
        mask: score of "person" of each pixel of the source image.
        body_id: id of the result.
    """
    skeleton = _placed(points, maps, frame.intrinsics, pixel_map)
    confidence = _on_mask(skeleton.pixels, mask)
    known = np.isfinite(skeleton.pixels).all(1)
    score = float(confidence[known].mean()) if known.any() else 0.0
    if score < _MIN_SCORE:
        return None
    keypoints = np.concatenate([skeleton.pixels, confidence[:, None]], 1)
    return Body(
        id=body_id,
        state=TrackState.TRACKED,
        score=score,
        box=_box(skeleton.pixels[known], mask.shape),
        keypoints=np.where(known[:, None], keypoints, np.nan).astype(np.float32),
        positions_m=skeleton.positions_m.astype(np.float32),
        covariances_m2=pack_covariance(skeleton.covariances),
        root_m=skeleton.root_m.astype(np.float32),
        root_covariance_m2=pack_covariance(skeleton.root_covariance),
    )


def _placed(
    points: Points, maps: tuple[TokenMap, ...], k: Intrinsics | None, pixel_map: PixelMap
) -> _Skeleton:
    sigmas = {each.space: each.sigma() for each in maps}
    count = len(JOINT_NAMES)
    pixels, positions = np.full((count, 2), np.nan), np.full((count, 3), np.nan)
    variances = np.full(count, np.nan)
    root, root_covariance = np.full(3, np.nan), np.full((3, 3), np.nan)
    if "camera" in points and k is not None:
        positions = points["camera"]
        pixels = project(positions, k)
        variances = sigmas["camera"] ** 2 / 3  # of one axis of three
        root = positions[_HIPS].mean(0)
        root_covariance = np.eye(3) * variances[_HIPS].mean() / 2
    if "image" in points:
        pixels = to_source(points["image"] * pixel_map.width, pixel_map)
    if "image" in points and "root_relative" in points and k is not None and "camera" not in points:
        relative = points["root_relative"]
        sigma_px = sigmas["image"] * pixel_map.width * pixel_map.scale / np.sqrt(2)
        sigma_px = np.where(np.isfinite(relative).all(1), np.maximum(sigma_px, 0.5), np.inf)
        depth = _depth_by_size(pixels, relative, k)
        solved = solve_root(pixels, np.nan_to_num(relative), sigma_px, k, depth, depth)
        positions = relative + solved.position_m
        variances = sigmas["root_relative"] ** 2 / 3
        root, root_covariance = solved
        covariances = np.eye(3) * variances[:, None, None] + root_covariance
        return _Skeleton(pixels, positions, covariances, root, root_covariance)
    covariances = np.eye(3) * variances[:, None, None]
    return _Skeleton(pixels, positions, covariances, root, root_covariance)


def _depth_by_size(
    pixels: Float[np.ndarray, "k 2"], relative: Float[np.ndarray, "k 3"], k: Intrinsics
) -> float:
    """Depth at which a skeleton is as large as it is seen; a rough start for `solve_root`."""
    known = np.isfinite(pixels).all(1) & np.isfinite(relative).all(1)
    if known.sum() < 2:
        return float("nan")
    size_px = np.linalg.norm(pixels[known].std(0))
    size_m = np.linalg.norm(relative[known, :2].std(0))
    return float(np.sqrt(k.fx * k.fy) * size_m / max(float(size_px), 1e-6))


def _on_mask(
    pixels: Float[np.ndarray, "k 2"], mask: Float32[np.ndarray, "h w"]
) -> Float[np.ndarray, "k"]:
    """Largest score of the mask near each joint; 0 outside the image."""
    height, width = mask.shape
    side = 2 * round(_REACH * width) + 1
    reached = cv2.dilate(np.ascontiguousarray(mask), np.ones((side, side), np.uint8))
    cells = np.floor(np.nan_to_num(pixels, nan=-1.0, posinf=-1.0, neginf=-1.0))
    inside = ((cells >= 0) & (cells < [width, height])).all(1)
    x, y = np.where(inside[:, None], cells, 0).astype(int).T
    return np.where(inside, np.clip(reached[y, x], 0, 1), 0.0)


def _box(pixels: Float[np.ndarray, "n 2"], shape: tuple[int, ...]) -> Float32[np.ndarray, "4"]:
    low, high = pixels.min(0), pixels.max(0)
    margin = _BOX_MARGIN * float((high - low).max())
    size = np.array([shape[1], shape[0]], float)
    corners = [np.clip(low - margin, 0, size), np.clip(high + margin, 0, size)]
    return np.concatenate(corners).astype(np.float32)
