# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Synthetic frames and bodies for tests of the demo."""

import numpy as np

from thfm_ros.contract import Body, TrackState
from thfm_ros.ros.demo.panels import AnnotatedFrame
from thfm_ros.skeleton import JOINT_NAMES

MS = 1_000_000


def a_frame(number: int, bodies: tuple[Body, ...] = ()) -> AnnotatedFrame:
    """Every array is filled with the number, so that frames can be told apart."""
    return AnnotatedFrame(
        stamp_ns=number * 100 * MS,
        latency_ms=float(number),
        rgb=np.full((60, 80, 3), number % 256, np.uint8),
        labels=np.full((60, 80), number % 2, np.uint8),
        depth=np.full((60, 80), number, np.float16),
        bodies=bodies,
    )


def a_body() -> Body:
    """A tracked body without any known keypoint."""
    k = len(JOINT_NAMES)
    return Body(
        id="abcde",
        state=TrackState.TRACKED,
        score=0.9,
        box=np.array([5, 25, 30, 50], np.float32),
        keypoints=np.full((k, 3), np.nan, np.float32),
        positions_m=np.full((k, 3), np.nan, np.float32),
        covariances_m2=np.full((k, 6), np.nan, np.float32),
        root_m=np.full(3, np.nan, np.float32),
        root_covariance_m2=np.full(6, np.nan, np.float32),
    )
