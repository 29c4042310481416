# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Maps whose size is not that of the image (parameter ``output_scale``), beside the image."""

import dataclasses
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import Intrinsics, Perception
from thfm_ros.geometry import resize_intrinsics


def map_intrinsics(perception: Perception) -> Intrinsics | None:
    """The camera of the pixels of the metric depth; None without metric depth."""
    if perception.intrinsics is None or perception.depth_m is None:
        return None
    height, width = perception.depth_m.shape
    return resize_intrinsics(perception.intrinsics, width, height)


def image_for(
    rgb: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image at the size of the maps (width, height)."""
    if rgb.shape[1::-1] == size:
        return rgb
    return np.asarray(cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA))


def with_maps_for(perception: Perception, size: tuple[int, int]) -> Perception:
    """With mask and instances at the size of the image (width, height), without other maps."""
    mask, instances = perception.mask, perception.instances
    if mask is not None and mask.shape[::-1] != size:
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR))
    if instances is not None and instances.shape[::-1] != size:
        instances = np.asarray(cv2.resize(instances, size, interpolation=cv2.INTER_NEAREST))
    others = ("depth_m", "depth_relative", "normals", "parts", "dense_pose")
    none: dict[str, Any] = dict.fromkeys(others)
    return dataclasses.replace(perception, mask=mask, instances=instances, **none)
