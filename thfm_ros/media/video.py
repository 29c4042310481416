# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Read frames from videos and image folders, and write videos and images."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm"))
"""The files of a folder that are read as images."""

_DEFAULT_FPS = 30.0  # of videos that do not state a plausible rate


class VideoError(PerceptionError):
    """A video or an image that cannot be read or written; the text says which and why."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a source."""

    rgb: UInt8[np.ndarray, "h w 3"]
    index: int  # in the video, or in the sorted list of the folder's files
    stamp_ns: int  # since the beginning of the video
    name: str


class Video:
    """The frames of a video file, once; stamps are index / frame rate.

    Raises:
        VideoError: there is no such file, or OpenCV cannot open it.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise VideoError(f"There is no file {path}.")
        check_file_name(path)
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise VideoError(
                f"OpenCV cannot open {path} as a video. If it plays elsewhere, convert it: "
                f"ffmpeg -i {path.name} -c:v libx264 converted.mp4"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0.1 <= fps <= 1000 else _DEFAULT_FPS
        self.length = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # 0: not known
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def __iter__(self) -> Iterator[VideoFrame]:
        """All frames that can be decoded.

        Raises:
            VideoError: no frame can be decoded, or the frame size changes.
        """
        index = undecodable = 0
        while True:
            is_decoded, bgr = self._capture.read()
            if not is_decoded:
                if index >= self.length:
                    break
                index, undecodable = index + 1, undecodable + 1  # damaged or cut off
                continue
            if bgr.shape[:2] != (self.height, self.width) and index:
                size = f"{bgr.shape[1]}x{bgr.shape[0]}"
                raise VideoError(f"{self.path} changes its size to {size} at frame {index}.")
            self.height, self.width = bgr.shape[:2]
            stamp_ns = round(index / self.fps * 1e9)
            yield VideoFrame(bgr[..., ::-1], index, stamp_ns, f"{self.path.name}#{index}")
            index += 1
        self._capture.release()
        if index == undecodable:
            raise VideoError(f"{self.path} was opened but holds no frame that OpenCV can decode.")
        if undecodable:
            count = "%d of %d frames of %s cannot be decoded"
            log.warning(count, undecodable, index, self.path)


def check_file_name(path: Path) -> None:
    """Refuse a name that is not UTF-8: OpenCV would abort the process.

    Raises:
        VideoError: the name is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise VideoError(f"The name of {shown} is not UTF-8: rename it.") from error


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Raises:
        VideoError: there is none, or a name is not UTF-8.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in files:
        check_file_name(path)
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise VideoError(f"The folder {folder} holds no images ({kinds}).")
    return files


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
    """RGB of an image file; None if OpenCV cannot read it."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if bgr is None else np.asarray(bgr[..., ::-1])


def write_image(path: Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an image in the format of its suffix; missing folders are made.

    Raises:
        VideoError: OpenCV cannot write the file or does not know the suffix.
    """
    check_file_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
    except cv2.error:  # an unknown suffix
        written = False
    if not written:
        raise VideoError(f"The image {path} cannot be written; name a .png or .jpg file.")


class _Encoder(Protocol):
    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append one frame; all frames have the size given to the encoder."""

    def close(self) -> None:
        """Finish the file."""


class VideoWriter:
    """Writes an .mp4 file of the size of the first frame; other frames are letterboxed into it.

    H.264 if PyAV or the ffmpeg program is installed. Otherwise OpenCV writes MPEG-4 part 2,
    which browsers do not play.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = fps
        self._size = (0, 0)
        self._encoder: _Encoder | None = None

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append a frame.

        Raises:
            VideoError: the file cannot be written.
        """
        if self._encoder is None:
            # H.264 subsamples the colour planes: odd sizes cannot be encoded.
            self._size = (rgb.shape[1] + 1) // 2 * 2, (rgb.shape[0] + 1) // 2 * 2
            self._encoder = _encoder(self.path, self._size, self._fps)
        self._encoder.write(letterboxed(rgb, self._size))

    def close(self) -> None:
        """Finish the file; without a frame no file is written."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

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


def _encoder(path: Path, size: tuple[int, int], fps: float) -> _Encoder:
    if find_spec("av") is not None:
        return _AvEncoder(path, size, fps)
    if program := shutil.which("ffmpeg"):
        return _FfmpegEncoder(program, path, size, fps)
    log.info("%s: neither PyAV nor ffmpeg is installed; OpenCV writes MPEG-4 part 2", path.name)
    return _OpenCvEncoder(path, size, fps)


class _AvEncoder:
    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._av: Any = import_module("av")
        self._file = self._av.open(str(path), "w")
        name = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._file.add_stream(name, rate=rate)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "21", "preset": "veryfast", "threads": "1"}

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        frame = self._av.VideoFrame.from_ndarray(rgb, format="rgb24")
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()


class _FfmpegEncoder:
    def __init__(self, program: str, path: Path, size: tuple[int, int], fps: float) -> None:
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}"]
        out = ["-c:v", "libx264", "-crf", "21", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        command = [program, "-y", "-loglevel", "error", *raw, "-r", f"{fps:g}", "-i", "-", *out]
        self._path = path
        self._process = subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE)

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(rgb.tobytes())
        except BrokenPipeError as error:
            raise VideoError(f"ffmpeg stopped while writing {self._path}.") from error

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise VideoError(f"ffmpeg could not write {self._path}.")


class _OpenCvEncoder:
    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            raise VideoError(f"OpenCV cannot write {path}. Check that its folder is writable.")

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        self._writer.write(np.ascontiguousarray(rgb[..., ::-1]))

    def close(self) -> None:
        self._writer.release()
