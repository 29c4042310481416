# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Deinterlacing: a frame of two fields, taken at two moments, becomes the image of one moment."""

from collections import deque
from typing import Any, Generic, TypeVar

import av
import av.filter

Tag = TypeVar("Tag")


class Deinterlacer(Generic[Tag]):
    """One image per frame, made by FFmpeg's bwdif; progressive frames pass unchanged.

    Nothing is filtered until the first interlaced frame. From then on frames come out one frame
    late, since bwdif looks at the frame after, each with the tag that it was put in with.
    """

    def __init__(self) -> None:
        self._graph: Any = None
        self._format: tuple[int, int, str] | None = None
        self._tags: deque[tuple[Tag, int, int]] = deque()

    def put(self, frame: Any, tag: Tag) -> list[tuple[Any, Tag]]:
        """The frames that are ready now, oldest first."""
        format_ = frame.width, frame.height, frame.format.name
        ready = self.flush() if self._graph is not None and format_ != self._format else []
        if self._graph is None:
            if not frame.interlaced_frame:
                return [*ready, (frame, tag)]
            self._graph, self._format = _graph(frame), format_
        self._tags.append((tag, frame.colorspace, frame.color_range))
        self._graph.push(frame)
        return ready + self._pulled()

    def flush(self) -> list[tuple[Any, Tag]]:
        """The frames that are still inside, at the end of the stream."""
        if self._graph is None:
            return []
        self._graph.push(None)
        ready = self._pulled()
        self._graph = None
        self._tags.clear()
        return ready

    def _pulled(self) -> list[tuple[Any, Tag]]:
        ready = []
        while self._tags:
            try:
                frame = self._graph.pull()
            except (BlockingIOError, EOFError):
                break
            # The graph does not know the colours of the stream.
            tag, frame.colorspace, frame.color_range = self._tags.popleft()
            ready.append((frame, tag))
        return ready


def _graph(frame: Any) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filter_ = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    graph.link_nodes(source, filter_, graph.add("buffersink"))
    graph.configure()
    return graph
