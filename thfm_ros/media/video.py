# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Read the frames of a video: the one reader of all commands and nodes.

Frames come upright, in square pixels, deinterlaced, with the container's own times; what cannot be
decoded is left out, and said.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from thfm_ros.contract import Intrinsics
from thfm_ros.media.deinterlacing import Deinterlacer
from thfm_ros.media.errors import MAX_PIXELS, VideoError, check_pixels, shown
from thfm_ros.media.frame_geometry import FrameGeometry, geometry_of
from thfm_ros.media.frame_times import IncreasingTimes
from thfm_ros.media.video_stream import (
    DecodedFrame,
    VideoStream,
    conversion_of,
    nanoseconds,
    rate_of,
)

log = logging.getLogger(__name__)

_PACKETS_FOR_RATE = 100
"""So many packets are read, not decoded, to learn the rate."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a source."""

    rgb: UInt8[np.ndarray, "h w 3"]
    index: int  # in the video, or in the sorted list of the folder's files
    stamp_ns: int  # since the first frame; strictly increasing
    name: str
    scale: float = 1.0  # width of rgb / width of the frame in the file; see media/reduction.py
    frame_id: str = "camera"
    intrinsics: Intrinsics | None = None  # of rgb, where the source has a calibration
    received_ns: int = 0  # when a bag recorded it; 0: not in a bag


class Video:
    """The frames of a video file; each iteration begins anew.

    ``width`` and ``height`` are those of the first frame as it is shown: turned as the container
    says, in square pixels. ``fps`` is the mean rate of the first frames, ``length`` the number of
    frames as the file states it, 0 if it states none or contradicts itself.

    Raises:
        VideoError: there is no such file, it has no video, no frame of it can be decoded, or its
            frames are larger than 200 megapixels.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise VideoError(f"There is no file {shown(path)}.")
        self.path = path
        with VideoStream(path) as stream:
            times_ns = stream.packet_times_ns(_PACKETS_FOR_RATE)
        with VideoStream(path) as stream:
            first = next(stream.frames(), None)
            if first is None:
                raise VideoError(
                    f"{shown(path)} was opened but holds no frame that PyAV can decode, none of at "
                    f"most {MAX_PIXELS // 10**6} megapixels. "
                    f"{conversion_of(path)}"
                )
            geometry = _Geometries(path, stream).of(first.frame)
            self.fps, guessed = rate_of(stream, times_ns)
            self.length = stream.stated_length
        self.width, self.height = geometry.shown_size
        if guessed:
            usual = "%s states neither times nor a rate: %g frames per second are assumed"
            log.warning(usual, shown(path), self.fps)

    def measured_duration_s(self) -> float:
        """Seconds from the first frame to the end of the last, by the times of all packets.

        Reads the whole file, without decoding it: what a header states need not be true.
        """
        with VideoStream(self.path) as stream:
            times = IncreasingTimes(self._interval_ns)
            stated = stream.packet_times_ns()
            if not stated or not stream.has_times:
                return sum(1 for _ in self) / self.fps
            return (max(times.next(each) for each in stated) + self._interval_ns) * 1e-9

    @property
    def _interval_ns(self) -> int:
        return round(1e9 / self.fps)

    def __iter__(self) -> Iterator[VideoFrame]:
        """All frames that can be decoded, in the order of display; they may change their size.

        Raises:
            VideoError: the file has gone, or a frame is larger than 200 megapixels.
        """
        with VideoStream(self.path) as stream:
            numbered = _Numbering(self.path, refer_to_others=stream.frames_refer_to_others)
            times = IncreasingTimes(self._interval_ns)
            reformatter = VideoReformatter()
            for frame, (index, geometry) in _deinterlaced(self.path, stream, numbered):
                stated_ns = _stated_ns(frame, stream)
                if not stream.has_times:
                    stated_ns = round(index / self.fps * 1e9)
                name = f"{self.path.name}#{index}"
                rgb = _rgb(frame, geometry, reformatter)
                yield VideoFrame(rgb, index, times.next(stated_ns), name)
            numbered.report()


class _Numbering:
    """Numbers frames, and counts those that are missing between good ones."""

    def __init__(self, path: Path, *, refer_to_others: bool) -> None:
        self._path, self._refer_to_others = path, refer_to_others
        self._next = self._missing = self._holes = 0
        self._leading = self._first_hole = 0

    def index_of(self, decoded: DecodedFrame) -> int:
        """Index of the frame in the video: one that cannot be decoded has one, too."""
        if not self._next:
            self._leading = decoded.lost
        elif decoded.lost:
            self._first_hole = self._first_hole or self._next
            self._missing += decoded.lost
            self._holes += 1
        index = self._next + decoded.lost
        self._next = index + 1
        return index

    def report(self) -> None:
        """Log what is missing between frames that could be decoded, and before the first."""
        path, smeared = shown(self._path), ""
        if self._leading:
            log.info(
                "%s: the first %d frames cannot be decoded and are left out", path, self._leading
            )
        if not self._missing:
            return
        if self._refer_to_others:
            smeared = "; what follows each, up to the next key frame, may be smeared"
        text = "%s: %d of %d frames cannot be decoded and are left out, in %d places from %d on%s"
        counts = self._missing, self._next, self._holes, self._first_hole
        log.warning(text, path, *counts, smeared)


def _deinterlaced(
    path: Path, stream: VideoStream, numbered: _Numbering
) -> Iterator[tuple[Any, tuple[int, FrameGeometry]]]:
    """PyAV frames with their index and geometry."""
    deinterlacer: Deinterlacer[tuple[int, FrameGeometry]] = Deinterlacer()
    geometries = _Geometries(path, stream)
    for decoded in stream.frames():
        tag = numbered.index_of(decoded), geometries.of(decoded.frame)
        yield from deinterlacer.put(decoded.frame, tag)
    yield from deinterlacer.flush()


class _Geometries:
    """The geometry of each frame. It is computed again only where something has changed.

    Reading the side data of a PyAV frame makes a reference cycle, so that its memory is free only
    after a garbage collection.
    """

    def __init__(self, path: Path, stream: VideoStream) -> None:
        self._path, self._stream = path, stream
        self._of: tuple[Any, FrameGeometry] | None = None

    def of(self, frame: Any) -> FrameGeometry:
        aspect, rotation = self._stream.pixel_aspect, getattr(frame, "rotation", None)
        key = frame.width, frame.height, aspect, rotation
        if self._of is None or self._of[0] != key:
            geometry = geometry_of(frame, aspect)
            check_pixels(self._path, geometry.width, geometry.height)
            self._of = key, geometry
        return self._of[1]


def _stated_ns(frame: Any, stream: VideoStream) -> int | None:
    time = frame.dts if stream.times_are_decoding_order or frame.pts is None else frame.pts
    return None if time is None else nanoseconds(time, frame.time_base)


def _rgb(
    frame: Any, geometry: FrameGeometry, reformatter: VideoReformatter
) -> UInt8[np.ndarray, "h w 3"]:
    size = geometry.width, geometry.height
    stretch = "BICUBIC" if size != (frame.width, frame.height) else None
    rgb = reformatter.reformat(
        frame, width=size[0], height=size[1], format="rgb24", interpolation=stretch
    )
    return geometry.turned(np.asarray(rgb.to_ndarray(), np.uint8))


def same_size(frames: Iterable[VideoFrame], path: Path) -> Iterator[VideoFrame]:
    """The frames as they are, as long as they keep the size of the first.

    Raises:
        VideoError: the size changes.
    """
    first: tuple[int, ...] | None = None
    for frame in frames:
        first = first or frame.rgb.shape
        if frame.rgb.shape != first:
            old, new = (f"{shape[1]}x{shape[0]}" for shape in (first, frame.rgb.shape))
            raise VideoError(
                f"{shown(path)} changes its size from {old} to {new} at frame {frame.index}, "
                f"{frame.stamp_ns * 1e-9:.2f} s. Scale it to one size: ffmpeg -i {path.name} "
                f"-vf scale={first[1]}:{first[0]},setsar=1 converted.mp4"
            )
        yield frame
