# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The loop over recorded frames: window, pipeline, files of results."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from thfm_ros.contract import Frame, Perception, Task, TrackState
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.results.writer import ResultWriter
from thfm_ros.offline.sources import BagCamera, FocalLength, FrameSource
from thfm_ros.perception.frame_window import FrameWindow

_MANY_STREAMS = 5
"""From so many frames on, it is said when most of them began a new stream."""


@dataclass
class Summary:
    """What was perceived."""

    frames: int = 0
    people: int = 0  # different ids of confirmed tracks
    left_out: int = 0  # most people in a frame beyond regions.max_people
    repeated: int = 0  # frames with the stamp of the frame before, which are left out
    streams: int = 0  # uninterrupted parts


Observer = Callable[[VideoFrame, Perception], None]


def perceive(
    pipeline: Pipeline,
    source: FrameSource,
    writers: Sequence[ResultWriter],
    tasks: frozenset[Task],
    *,
    focal_length: FocalLength,
    max_frames: int = 0,
    keep_partial: bool = True,
    progress: bool = True,
    observe: Observer | None = None,
) -> Summary:
    """Run the pipeline on all frames of a source and write the results.

    Args:
        pipeline: what perceives.
        source: the frames.
        writers: of the results; closed at the end.
        tasks: what to perceive.
        focal_length: of the camera, before what the source says of it.
        max_frames: stop after so many; 0: no limit.
        keep_partial: after an error or an interrupt, write what was perceived before.
        progress: draw a bar on a terminal.
        observe: called after each frame.

    Raises:
        PerceptionError: the pipeline fails, or a file cannot be read or written.
    """
    ids: set[str] = set()
    summary = Summary()
    window = FrameWindow(source.window(pipeline.config.window))
    with _closing(writers, summary, keep_partial):
        for image in _frames(source, max_frames, progress):
            if not source.one_clip:
                window.reset("another image")
            k = focal_length.of_frame(image)
            clip = window.push(Frame(image.rgb, image.stamp_ns, image.frame_id, k))
            if clip is None:
                summary.repeated += 1
                continue
            perception = pipeline.step(clip, tasks)
            for writer in writers:
                writer.add(image, perception)
            if observe:
                observe(image, perception)
            summary.frames += 1
            summary.streams = window.epoch
            summary.left_out = max(summary.left_out, perception.left_out)
            tracked = (b.id for b in perception.bodies if b.state is not TrackState.TENTATIVE)
            ids.update(tracked)
            summary.people = len(ids)
    return summary


def warnings_of(summary: Summary, source: FrameSource, focal_length: FocalLength) -> list[str]:
    """What the user should know about the results, a sentence each.

    Args:
        summary: of the run that is over, also one that was limited to some frames.
        source: its frames.
        focal_length: with which it was run.
    """
    found = []
    if isinstance(source, BagCamera):
        found.append(source.stream.losses)
        if focal_length == FocalLength():
            found.append(source.stream.doubts)
    if summary.left_out:
        text = "up to {} people per frame are left out: see regions.max_people"
        found.append(text.format(summary.left_out))
    if summary.repeated:
        text = "{} frames have the stamp of the frame before and are left out"
        found.append(text.format(summary.repeated))
    if source.one_clip and summary.streams > max(_MANY_STREAMS, summary.frames // 2):
        found.append(
            f"{summary.streams} of {summary.frames} frames began a new stream, so people have no "
            f"lasting ids: the images come with {source.fps:.3g} Hz. "
            f"Set --set window.max_gap_s={2 / source.fps:.3g}"
        )
    return [text for text in found if text]


@contextlib.contextmanager
def _closing(
    writers: Sequence[ResultWriter], summary: Summary, keep_partial: bool
) -> Iterator[None]:
    """Close all writers at the end; after an error only what is to be kept."""
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.abandon)  # after `close` without effect
        try:
            yield
        except BaseException:
            if keep_partial and summary.frames:
                _close_all(writers)
            raise
        _close_all(writers)


def _close_all(writers: Sequence[ResultWriter]) -> None:
    """Close each, also when another fails."""
    with contextlib.ExitStack() as stack:
        for writer in reversed(writers):
            stack.callback(writer.close)


def _frames(source: FrameSource, max_frames: int, progress: bool) -> Iterable[VideoFrame]:
    frames = itertools.islice(source, max_frames or None)
    if not progress:
        return frames
    total = min(filter(None, (source.length, max_frames)), default=None)
    bar: Iterable[Any] = tqdm(frames, total=total, unit="frame", disable=None)
    return bar
