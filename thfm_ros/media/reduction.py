# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Large images are perceived at a smaller size: dense maps of each pixel need a lot of memory."""

import math
from dataclasses import replace

import cv2
import numpy as np

from thfm_ros.geometry import resize_intrinsics
from thfm_ros.media.video import VideoFrame

MAX_PERCEIVED_PIXELS = 4096 * 3072
"""Larger images are reduced: all maps of 48 megapixels with their drawing need 4.75 GB."""


def reduced_size(width: int, height: int) -> tuple[int, int]:
    """Width and height at which an image of this size is perceived."""
    scale = math.sqrt(MAX_PERCEIVED_PIXELS / (width * height))
    if scale >= 1:
        return width, height
    return max(1, int(width * scale)), max(1, int(height * scale))


def reduced(frame: VideoFrame) -> VideoFrame:
    """The frame at the size at which it is perceived, with its scale."""
    height, width = frame.rgb.shape[:2]
    size = reduced_size(width, height)
    if size == (width, height):
        return frame
    rgb = cv2.resize(np.ascontiguousarray(frame.rgb), size, interpolation=cv2.INTER_AREA)
    k = frame.intrinsics and resize_intrinsics(frame.intrinsics, *size)
    return replace(frame, rgb=np.asarray(rgb, np.uint8), scale=size[0] / width, intrinsics=k)
