# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which files of results a run writes, and where."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thfm_ros.bags.bag import Bag
from thfm_ros.config import Config
from thfm_ros.contract import PerceptionError, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.offline.results.mcap import NODE, McapResults
from thfm_ros.offline.results.messages import FrameMessages
from thfm_ros.offline.results.npz import NpzResults
from thfm_ros.offline.results.panels import PanelsWriter
from thfm_ros.offline.results.parquet import ParquetResults
from thfm_ros.offline.results.rrd import RrdResults
from thfm_ros.offline.results.writer import ResultWriter
from thfm_ros.offline.sources import BagCamera, FrameSource

OVERLAY = "overlay.mp4"
FORMATS = ("npz", "mcap", "parquet", "rrd")


def formats_from(text: str) -> tuple[str, ...]:
    """Formats from their comma-separated names.

    Raises:
        PerceptionError: there is no such format.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in FORMATS]:
        raise PerceptionError(
            f"--format {text}: {', '.join(map(repr, unknown))} is no format; known are "
            f"{', '.join(FORMATS)}, several separated by commas."
        )
    return names


def topics_to_keep(bag: Bag, wanted: Sequence[str]) -> tuple[str, ...]:
    """The topics of a bag that are copied: those named, or with "all" all of them.

    Raises:
        PerceptionError: a topic is not in the bag, or is one of those of the results.
    """
    names = tuple(bag.topics) if list(wanted) == ["all"] else tuple(wanted)
    if missing := [name for name in names if name not in bag.topics]:
        raise PerceptionError(
            f"--keep {missing[0]}: the bag has no such topic; it has {', '.join(bag.topics)}."
        )
    if list(wanted) == ["all"]:
        return tuple(name for name in names if not name.startswith(NODE + "/"))
    if clash := [name for name in names if name.startswith(NODE + "/")]:
        raise PerceptionError(f"--keep {clash[0]}: topics below {NODE} are those of the results.")
    return names


@dataclass(frozen=True)
class Outputs:
    """The folder of the results of one source; made when the writers are.

    Attributes:
        folder: of the files.
        source: the frames.
        tasks: what is perceived.
        card: of the checkpoint.
        config: the parameters.
        name: of the source, in files that name it.
        keep: topics of the bag that are copied into perception.mcap.
    """

    folder: Path
    source: FrameSource
    tasks: frozenset[Task]
    card: ModelCard
    config: Config
    name: str
    keep: tuple[str, ...] = ()

    def writers(
        self, formats: Sequence[str], *, overlay: bool = False, still: Path | None = None
    ) -> list[ResultWriter]:
        """A writer for each format; if one cannot be made, there are no files of the others.

        Raises:
            PerceptionError: a package for a format is missing.
            OSError: the folder cannot be made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        writers: list[ResultWriter] = []
        with contextlib.ExitStack() as stack:
            for name in formats:
                writers.append(self._writer(name))
                stack.callback(writers[-1].abandon)
            if overlay or still:
                video = self.folder / OVERLAY if overlay else None
                source = self.source
                writers.append(PanelsWriter(video, still, source.fps, one_clip=source.one_clip))
            stack.pop_all()
        return writers

    def _writer(self, name: str) -> ResultWriter:
        source = self.source
        stream = source.stream if isinstance(source, BagCamera) else None
        camera = stream.topic if stream else ""
        if name == "npz":
            path = self.folder / "perception.npz"
            return NpzResults(path, source.width, source.height, self.tasks)
        if name == "parquet":
            return ParquetResults(self.folder, self.name, camera)
        decode = self.config.decode
        if name == "rrd":
            return RrdResults(
                self.folder / "perception.rrd",
                camera,
                decode.mask_threshold,
                with_images=self.config.node.publish_camera_images,
            )
        messages = FrameMessages(
            self.tasks, self.card, decode.mask_threshold, decode.min_keypoint_confidence
        )
        bag = stream.bag if stream else None
        return McapResults(self.folder / "perception.mcap", messages, bag, self.keep)
