# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""perception.npz: see media/recording.py for its arrays."""

from pathlib import Path

from thfm_ros.contract import Perception, Task
from thfm_ros.media.recording import Recording
from thfm_ros.media.video import VideoFrame


class NpzResults:
    """A `ResultWriter` of perception.npz; see `Recording` for its arguments."""

    def __init__(self, path: Path, width: int, height: int, tasks: frozenset[Task]) -> None:
        self._recording = Recording(path, width, height, tasks)

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Append one frame."""
        self._recording.add(frame.index, perception, frame.scale)

    def close(self) -> None:
        """Write the file."""
        if len(self._recording):
            self._recording.close()
        else:
            self._recording.abandon()

    def abandon(self) -> None:
        """Write nothing."""
        self._recording.abandon()
