# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bags for tests of archives, with the scene of the fake engine."""

from pathlib import Path

from fake_engine import camera, image
from small_bags import START_NS, a_camera_info, images_of, write_bag

K = camera(160, 120, 150.0)
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))


def a_bag(path: Path, count: int, start_ns: int = START_NS) -> Path:
    """Write a bag of so many images, with a calibration."""
    return write_bag(path, [INFO, *images_of([image(K)] * count, start_ns=start_ns)])
