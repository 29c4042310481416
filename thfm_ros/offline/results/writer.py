# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What all writers of results have in common."""

from typing import Protocol

from thfm_ros.contract import Perception
from thfm_ros.media.video import VideoFrame


class ResultWriter(Protocol):
    """Writes one file; it gets its name on `close`, until then it does not exist."""

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Append the results of one frame, oldest first."""

    def close(self) -> None:
        """Finish the file; without a frame none is written."""

    def abandon(self) -> None:
        """Write nothing and remove what is temporary. After `close` without effect."""
