# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Write frames as an .mp4 file of H.264, each with its own time."""

import contextlib
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.media.errors import VideoError, shown
from thfm_ros.media.frame_times import IncreasingTimes

_TIME_BASE = Fraction(1, 90_000)
_MAX_SIDE = 16_384  # of H.264


class VideoWriter:
    """Writes an .mp4 file of the size of the first frame; other frames are letterboxed into it.

    The file gets its name when it is complete: after an error of writing, such as a full disk,
    there is none. Frames that are written before another error are kept.

    Args:
        path: of the file.
        fps: frames per second of frames without a time; the last frame is shown for 1 / fps.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = fps
        self._size = (0, 0)
        self._count = 0
        self._times = IncreasingTimes(round(1e9 / fps))
        self._encoder: _Encoder | None = None

    def write(self, rgb: UInt8[np.ndarray, "h w 3"], stamp_ns: int | None = None) -> None:
        """Append a frame, shown from ``stamp_ns`` on; None: 1 / fps after the one before.

        Raises:
            VideoError: the file cannot be written.
        """
        if self._encoder is None:
            # H.264 subsamples the colour planes: odd sizes cannot be encoded.
            height, width = (min(_MAX_SIDE, (side + 1) // 2 * 2) for side in rgb.shape[:2])
            self._size = width, height
            self._encoder = _Encoder(self.path, self._size, self._fps)
        try:
            self._encoder.write(letterboxed(rgb, self._size), self._times.next(stamp_ns))
        except VideoError:
            self._encoder = None  # its file is closed, and using it would crash
            raise

    def close(self) -> None:
        """Finish the file; without a frame no file is written.

        Raises:
            VideoError: the file cannot be written.
        """
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            encoder.close()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def letterboxed(
    rgb: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image scaled to fit into ``size`` (width, height), centred, with black bars."""
    height, width = rgb.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(rgb)
    scale = min(size[0] / width, size[1] / height)
    if scale < 1 or scale > 1.05:
        new = max(1, round(width * scale)), max(1, round(height * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        rgb = cv2.resize(np.ascontiguousarray(rgb), new, interpolation=interpolation)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - rgb.shape[0]) // 2, (size[0] - rgb.shape[1]) // 2
    canvas[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return canvas


class _Encoder:
    """Encodes into a temporary file beside ``path``, which gets its name when it is complete.

    A frame is encoded when the next one comes: only then it is known how long it is shown.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path = path
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        except OSError as error:
            raise VideoError(f"{shown(path)} cannot be written: {error.strerror}.") from error
        self._temporary = self._folder / "video.mp4"
        self._last_ticks = max(1, round(1 / fps / _TIME_BASE))
        self._waiting: tuple[Any, int] | None = None
        self._file: Any = None
        try:
            self._file = av.open(f"file:{self._temporary}", "w", format="mp4")
            name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            rate = Fraction(fps).limit_denominator(1001)
            self._stream: Any = self._file.add_stream(name, rate=rate)
            self._stream.width, self._stream.height = size
            self._stream.pix_fmt = "yuv420p"
            # Without B-frames: with them MP4 files of uneven times state a wrong duration.
            options = {"crf": "21", "preset": "veryfast", "threads": "1", "bf": "0"}
            self._stream.options = options
            self._stream.codec_context.time_base = _TIME_BASE
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def write(self, rgb: UInt8[np.ndarray, "h w 3"], stamp_ns: int) -> None:
        frame: Any = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = round(stamp_ns * 1e-9 / _TIME_BASE), _TIME_BASE
        self._encode_waiting(frame.pts)
        self._waiting = frame, frame.pts

    def close(self) -> None:
        try:
            self._encode_waiting(None)
            self._mux(None)
            self._file.close()
            self._temporary.replace(self._path)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        self._remove()

    def _encode_waiting(self, until: int | None) -> None:
        if self._waiting is not None:
            frame, start = self._waiting
            frame.duration = self._last_ticks if until is None else max(1, until - start)
            self._mux(frame)

    def _mux(self, frame: Any) -> None:
        try:
            self._encode(frame)
        except (av.FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _encode(self, frame: Any) -> None:
        self._file.mux(self._stream.encode(frame))

    def _failed(self, error: Exception) -> VideoError:
        """Remove what was written; the error to raise."""
        if self._file is not None:
            with contextlib.suppress(av.FFmpegError, OSError):  # the reason is known already
                self._file.close()
        self._remove()
        reason = getattr(error, "strerror", None) or str(error)
        return VideoError(f"{shown(self._path)} cannot be written: {reason}.")

    def _remove(self) -> None:
        self._temporary.unlink(missing_ok=True)
        self._folder.rmdir()
