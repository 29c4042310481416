# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Silence of a camera: for how long no image has arrived, by the node's clock. Does not import ROS.

While simulated time is paused, the node's clock stands still and no camera is silent.
"""

from collections.abc import Callable


class Silence:
    """The time since `end` was called last, or since construction. Thread-safe.

    Args:
        now_s: the node's clock, seconds. It may stand still and go backwards.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._since_s = now_s()

    def end(self) -> None:
        """An image arrived."""
        self._since_s = self._now_s()

    @property
    def seconds(self) -> float:
        """How long no image has arrived."""
        now_s = self._now_s()
        if now_s < self._since_s:  # simulated time went back: a bag began again
            self._since_s = now_s
        return now_s - self._since_s
