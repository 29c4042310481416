# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The panels of the overlay as a video, and those of the last frame as an image."""

from pathlib import Path

import numpy as np

from thfm_ros.contract import Perception
from thfm_ros.media.drawing import DepthScale, side_by_side
from thfm_ros.media.images import write_image
from thfm_ros.media.video import VideoFrame
from thfm_ros.media.video_writer import VideoWriter

_PANEL_WIDTH = 640  # largest width of a panel, pixels


class PanelsWriter:
    """A `ResultWriter` of overlay.mp4, of an image, or of both.

    Args:
        video: path of the video; None: no video.
        still: path of the image; None: no image.
        fps: of the video, where frames have no times.
        one_clip: whether colours of depth keep their scale from frame to frame.
    """

    def __init__(
        self, video: Path | None, still: Path | None, fps: float, *, one_clip: bool
    ) -> None:
        self._video = VideoWriter(video, fps) if video else None
        self._still, self._one_clip = still, one_clip
        self._scale = DepthScale()
        self._panels: np.ndarray | None = None

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Draw one frame."""
        if not self._one_clip:
            self._scale = DepthScale()
        panels = side_by_side(frame.rgb, perception, self._scale, panel_width=_PANEL_WIDTH)
        self._panels = panels
        if self._video:
            self._video.write(panels, frame.stamp_ns)

    def close(self) -> None:
        """Finish both files."""
        if self._video:
            self._video.close()
        if self._still and self._panels is not None:
            write_image(self._still, self._panels)

    def abandon(self) -> None:
        """Release the video's file."""
        if self._video:
            self._video.close()
