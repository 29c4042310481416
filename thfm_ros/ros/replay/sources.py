"""Images from a video file, a folder or a camera, for the replay node. Knows OpenCV, not ROS."""

import logging
import re
from pathlib import Path
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.media.video import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

RgbImage: TypeAlias = UInt8[np.ndarray, "h w 3"]  # blue, green, red, as OpenCV reads them


class SourceError(PerceptionError):
    """Nothing can be read from what the user named."""


class Source(Protocol):
    """Where images come from, one after the other."""

    description: str
    rate_hz: float  # the source's own rate; 0 when it has none
    count: int  # images from beginning to end; 0 when nobody knows

    def read(self, into: RgbImage | None) -> RgbImage | None:
        """The next image, or None at the end.

        It is written to ``into`` and that is returned, if its size fits; else a new array.
        """

    def rewind(self) -> bool:
        """Begin again; False where there is no beginning."""

    def close(self) -> None:
        """Give back what is held."""


class VideoSource:
    """A video file, decoded as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.description = f"video {path}"
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceError(
                f"OpenCV cannot read {path} as a video. Files that play elsewhere can be "
                f"converted: ffmpeg -i {path.name} -c:v libx264 converted.mp4"
            )
        rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate_hz = rate_hz if 0.1 <= rate_hz <= 1000.0 else 0.0
        self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def read(self, into: RgbImage | None) -> RgbImage | None:
        """The next frame; None at the end of the file or of what can be decoded."""
        ok, image = self._capture.read(into)
        return image if ok else None

    def rewind(self) -> bool:
        """Go to the first frame."""
        return bool(self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0))

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class FolderSource:
    """The images of a folder in the order of their names; they may differ in size."""

    rate_hz = 0.0

    def __init__(self, folder: Path) -> None:
        self.description = f"images in {folder}"
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        self._next = 0
        self._broken: set[Path] = set()
        self.count = len(self._paths)
        if not self._paths:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"{folder} holds no image; looked for {kinds}.")

    def read(self, into: RgbImage | None) -> RgbImage | None:
        """The next image that can be read; the others are named in the log."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            self._next += 1
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                if path not in self._broken:  # once, however often the folder is played
                    logger.warning("%s is skipped: OpenCV cannot read it.", path)
                self._broken.add(path)
                continue
            if into is not None and into.shape == image.shape:
                into[...] = image
                return into
            return np.asarray(image, np.uint8)
        return None

    def rewind(self) -> bool:
        """Begin with the first image again."""
        self._next = 0
        return True

    def close(self) -> None:
        """Nothing is held open."""


class CameraSource:
    """A camera of this machine, /dev/videoN."""

    count = 0

    def __init__(self, number: int) -> None:
        self.description = f"camera /dev/video{number}"
        self._capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            present = sorted(str(path) for path in Path("/dev").glob("video*"))
            raise SourceError(
                f"/dev/video{number} cannot be opened; this machine has "
                f"{', '.join(present) or 'no /dev/video*'}. If it is there, another program may "
                "use it, or you may not: sudo usermod -aG video $USER, then log in again."
            )
        # The driver's queue would hand out images that are several frames old.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))

    def read(self, into: RgbImage | None) -> RgbImage:
        """Wait for the next image.

        Raises:
            SourceError: there is none any more: unlike a file, a camera has no end.
        """
        ok, image = self._capture.read(into)
        if not ok or image is None:
            raise SourceError(
                f"The {self.description} gives no image: it was unplugged, or another program "
                "has taken it. Plug it in again and start anew."
            )
        return np.asarray(image, np.uint8)

    def rewind(self) -> bool:
        """A camera has no beginning."""
        return False

    def close(self) -> None:
        """Let others use the camera."""
        self._capture.release()


def open_source(name: str) -> Source:
    """The source that a user means: a file, a folder, ``/dev/video0``, or a camera's number.

    Raises:
        SourceError: it does not exist or cannot be read; the text says what would work.
    """
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", name)
    if camera is not None:
        return CameraSource(int(camera[1]))
    path = Path(name).expanduser()
    if not name or not path.exists():
        raise SourceError(
            f"There is no {name!r}. Name a video file, a folder of images, or a camera "
            "(/dev/video0 or 0)."
        )
    return FolderSource(path) if path.is_dir() else VideoSource(path)
