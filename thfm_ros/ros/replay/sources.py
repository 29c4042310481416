# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images from a video file, a folder or a camera, for the replay node. Uses OpenCV, not ROS."""

import logging
import re
from pathlib import Path
from typing import Protocol, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.media.video import IMAGE_SUFFIXES
from thfm_ros.user_folders import expanded

logger = logging.getLogger(__name__)

BgrImage: TypeAlias = UInt8[np.ndarray, "h w 3"]  # blue, green, red, as OpenCV reads images


class ImageSourceError(PerceptionError):
    """The source that the user named cannot be read; the text says how to correct it."""


class ImageSource(Protocol):
    """A sequence of images."""

    description: str
    rate_hz: float  # images per second of the source itself; 0 if it has no rate
    count: int  # images from beginning to end; 0 if unknown

    def read(self, buffer: BgrImage | None) -> BgrImage | None:
        """The next image, or None at the end.

        It is written to ``buffer`` and that is returned, if the size is equal; else a new array.
        """

    def rewind(self) -> bool:
        """Go back to the first image; False if the source cannot."""

    def close(self) -> None:
        """Release file or device."""


class VideoSource:
    """A video file, decoded frame by frame."""

    def __init__(self, path: Path) -> None:
        self.description = f"video {path}"
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise ImageSourceError(
                f"OpenCV cannot read {path} as a video. A file that other programs can play can "
                f"be converted: ffmpeg -i {path.name} -c:v libx264 converted.mp4"
            )
        rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate_hz = rate_hz if 0.1 <= rate_hz <= 1000.0 else 0.0
        self.count = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def read(self, buffer: BgrImage | None) -> BgrImage | None:
        """The next frame; None at the end of the file or at a frame that cannot be decoded."""
        ok, image = self._capture.read(buffer)
        return image if ok else None

    def rewind(self) -> bool:
        """Go back to the first frame."""
        return bool(self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0))

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class FolderSource:
    """The images of a folder, sorted by name; they may differ in size."""

    rate_hz = 0.0

    def __init__(self, folder: Path) -> None:
        self.description = f"images in {folder}"
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        self._next = 0
        self._unreadable: set[Path] = set()
        self.count = len(self._paths)
        if not self._paths:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise ImageSourceError(f"{folder} contains no image ({suffixes}).")

    def read(self, buffer: BgrImage | None) -> BgrImage | None:
        """The next readable image; each unreadable one is logged once."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            self._next += 1
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                if path not in self._unreadable:
                    logger.warning("%s is skipped: OpenCV cannot read it.", path)
                self._unreadable.add(path)
                continue
            if buffer is not None and buffer.shape == image.shape:
                buffer[...] = image
                return buffer
            return np.asarray(image, np.uint8)
        return None

    def rewind(self) -> bool:
        """Go back to the first image."""
        self._next = 0
        return True

    def close(self) -> None:
        """Nothing to release: files are closed after reading."""


class CameraSource:
    """A camera of this machine, /dev/videoN."""

    count = 0

    def __init__(self, number: int) -> None:
        self.description = f"camera /dev/video{number}"
        self._capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            present = sorted(str(path) for path in Path("/dev").glob("video*"))
            raise ImageSourceError(
                f"/dev/video{number} cannot be opened; this machine has "
                f"{', '.join(present) or 'no /dev/video*'}. If the device exists, another program "
                "may be using it, or you lack the permission: sudo usermod -aG video $USER, then "
                "log in again."
            )
        # With the default queue of the driver, images are several frames old.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))

    def read(self, buffer: BgrImage | None) -> BgrImage:
        """Wait for the next image.

        Raises:
            ImageSourceError: no image comes. Unlike a file, a camera has no end.
        """
        ok, image = self._capture.read(buffer)
        if not ok or image is None:
            raise ImageSourceError(
                f"The {self.description} gives no image: it was unplugged, or another program "
                "uses it. Plug it in again and restart."
            )
        return np.asarray(image, np.uint8)

    def rewind(self) -> bool:
        """A camera cannot go back."""
        return False

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def open_image_source(name: str) -> ImageSource:
    """Open a video file, a folder of images, ``/dev/videoN``, or a camera given by its number.

    Raises:
        ImageSourceError: it does not exist or cannot be read.
    """
    camera = re.fullmatch(r"(?:/dev/video)?(\d+)", name)
    if camera is not None:
        return CameraSource(int(camera[1]))
    path = expanded(name)
    if not name or not path.exists():
        raise ImageSourceError(
            f"{name!r} does not exist. Name a video file, a folder of images, or a camera "
            "(/dev/video0 or 0)."
        )
    return FolderSource(path) if path.is_dir() else VideoSource(path)
