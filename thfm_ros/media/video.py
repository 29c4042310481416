"""Reading frames from videos and folders, and writing videos that most players can show."""

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
"""What in a folder is taken for an image."""

_USUAL_FPS = 30.0


class VideoError(PerceptionError):
    """A video or an image that cannot be read or written; the text says which and why."""


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a source."""

    rgb: UInt8[np.ndarray, "h w 3"]
    index: int  # in the video, or in the sorted list of the folder's files
    stamp_ns: int  # from the beginning of the video
    name: str


class Video:
    """The frames of a video file, once through, with the stamps that its rate gives them."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise VideoError(f"There is no file {path}.")
        check_name(path)
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise VideoError(
                f"OpenCV cannot open {path} as a video. If it plays elsewhere, convert it: "
                f"ffmpeg -i {path.name} -c:v libx264 converted.mp4"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0.1 <= fps <= 1000 else _USUAL_FPS
        self.length = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))  # 0: not known
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def __iter__(self) -> Iterator[VideoFrame]:
        """Read to the end; a frame of another size than the first ends it with an error."""
        index = lost = 0
        while True:
            there, bgr = self._capture.read()
            if not there:
                if index >= self.length:
                    break
                index, lost = index + 1, lost + 1  # damaged, or the file is cut
                continue
            if bgr.shape[:2] != (self.height, self.width) and index:
                size = f"{bgr.shape[1]}x{bgr.shape[0]}"
                raise VideoError(f"{self.path} changes its size to {size} at frame {index}.")
            self.height, self.width = bgr.shape[:2]
            stamp_ns = round(index / self.fps * 1e9)
            yield VideoFrame(bgr[..., ::-1], index, stamp_ns, f"{self.path.name}#{index}")
            index += 1
        self._capture.release()
        if index == lost:
            raise VideoError(f"{self.path} was opened but holds no frame that OpenCV can decode.")
        if lost:
            log.warning("%d of %d frames of %s cannot be decoded", lost, index, self.path)


def check_name(path: Path) -> None:
    """VideoError for a name that is not UTF-8: OpenCV ends the process at such a one."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="replace").decode()
        raise VideoError(f"The name of {shown} is not UTF-8: rename it.") from error


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name.

    Raises:
        VideoError: there is none.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in files:
        check_name(path)
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise VideoError(f"The folder {folder} holds no images ({kinds}).")
    return files


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
    """RGB of an image file; None where OpenCV cannot read it."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if bgr is None else np.asarray(bgr[..., ::-1])


def write_image(path: Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an image in the form that its suffix names.

    Raises:
        VideoError: OpenCV cannot write there, or does not know the suffix.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]))
    except cv2.error:  # a suffix that it does not know
        written = False
    if not written:
        raise VideoError(f"The image {path} cannot be written; name a .png or .jpg file.")


class _Encoder(Protocol):
    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        """Take one frame of the encoder's size."""

    def close(self) -> None:
        """Finish the file."""


class VideoWriter:
    """Writes an .mp4; frames of any size are fitted into that of the first.

    H.264 where PyAV or an ffmpeg program is installed, which plays everywhere; else what OpenCV
    alone can write (MPEG-4 part 2), which browsers do not play.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = fps
        self._size = (0, 0)
        self._encoder: _Encoder | None = None

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append a frame."""
        if self._encoder is None:
            # H.264 halves the colour planes: odd sizes cannot be encoded.
            self._size = (rgb.shape[1] + 1) // 2 * 2, (rgb.shape[0] + 1) // 2 * 2
            self._encoder = _encoder(self.path, self._size, self._fps)
        self._encoder.write(fitted(rgb, self._size))

    def close(self) -> None:
        """Finish the file; without a frame there is none."""
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


def fitted(rgb: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image in the middle of a black one of ``size``, shrunk or enlarged to fit."""
    height, width = rgb.shape[:2]
    if (width, height) == size:
        return np.ascontiguousarray(rgb)
    scale = min(size[0] / width, size[1] / height)
    if scale < 1 or scale > 1.05:
        new = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        rgb = cv2.resize(np.ascontiguousarray(rgb), new, interpolation=how)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - rgb.shape[0]) // 2, (size[0] - rgb.shape[1]) // 2
    canvas[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return canvas


def _encoder(path: Path, size: tuple[int, int], fps: float) -> _Encoder:
    if find_spec("av") is not None:
        return _AvEncoder(path, size, fps)
    if program := shutil.which("ffmpeg"):
        return _FfmpegEncoder(program, path, size, fps)
    log.info("%s: neither PyAV nor ffmpeg is here; writing MPEG-4 part 2 with OpenCV", path.name)
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
            raise VideoError(f"ffmpeg stopped while it wrote {self._path}.") from error

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise VideoError(f"ffmpeg could not write {self._path}.")


class _OpenCvEncoder:
    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            raise VideoError(f"OpenCV cannot write {path}; is the folder writable?")

    def write(self, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
        self._writer.write(np.ascontiguousarray(rgb[..., ::-1]))

    def close(self) -> None:
        self._writer.release()
