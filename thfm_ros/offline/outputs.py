# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which files of results a run writes, and where."""

from dataclasses import dataclass
from pathlib import Path

from thfm_ros.contract import Task
from thfm_ros.offline.results.npz import NpzResults
from thfm_ros.offline.results.panels import PanelsWriter
from thfm_ros.offline.results.writer import ResultWriter
from thfm_ros.offline.sources import FrameSource

OVERLAY = "overlay.mp4"


@dataclass(frozen=True)
class Outputs:
    """The folder of the results of one source; made when the writers are."""

    folder: Path
    source: FrameSource
    tasks: frozenset[Task]

    def writers(self, *, overlay: bool = False, still: Path | None = None) -> list[ResultWriter]:
        """A writer for each file.

        Raises:
            OSError: the folder cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        source = self.source
        writers: list[ResultWriter] = [
            NpzResults(self.folder / "perception.npz", source.width, source.height, self.tasks)
        ]
        if overlay or still:
            video = self.folder / OVERLAY if overlay else None
            writers.append(PanelsWriter(video, still, source.fps, one_clip=source.one_clip))
        return writers
