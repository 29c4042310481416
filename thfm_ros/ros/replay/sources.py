# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images from a video file, a folder or a camera, for the replay node. Not of ROS."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.media.errors import VideoError, shown
from thfm_ros.media.images import image_files, read_image
from thfm_ros.media.video import Video, VideoFrame
from thfm_ros.user_folders import expanded

logger = logging.getLogger(__name__)


DEFAULT_RATE_HZ = 10.0
"""Of a folder of images, and of a camera that states no rate."""


class ImageSourceError(PerceptionError):
    """The source that the user named cannot be read; the text says how to correct it."""


class SourceImage(NamedTuple):
    """An image, and when it is due."""

    pixels: UInt8[np.ndarray, "h w 3"]
    stamp_ns: int | None  # since the first image of the source; None: the source has no times


class ImageSource(Protocol):
    """A sequence of images."""

    description: str
    encoding: str  # of the pixels: rgb8 or bgr8
    rate_hz: float  # images per second
    is_live: bool  # a camera: an image is read when it is due, not before

    def read(self) -> SourceImage | None:
        """The next image, or None at the end."""

    def rewind(self) -> bool:
        """Go back to the first image; False if the source cannot."""

    def duration_s(self) -> float:
        """From the first image to the end of the last; 0 for a camera, which has no end."""

    def close(self) -> None:
        """Release file or device."""


class VideoSource:
    """A video file, decoded frame by frame; images have the container's own times."""

    encoding = "rgb8"
    is_live = False

    def __init__(self, path: Path) -> None:
        self.description = f"video {shown(path)}"
        try:
            self._video = Video(path)
        except VideoError as error:
            raise ImageSourceError(str(error)) from error
        self.rate_hz = self._video.fps
        self._frames: Iterator[VideoFrame] = iter(self._video)

    def read(self) -> SourceImage | None:
        """The next frame that can be decoded; None at the end of the file."""
        try:
            frame = next(self._frames, None)
        except VideoError as error:
            raise ImageSourceError(str(error)) from error
        return None if frame is None else SourceImage(frame.rgb, frame.stamp_ns)

    def rewind(self) -> bool:
        """Go back to the first frame."""
        self._frames = iter(self._video)
        return True

    def duration_s(self) -> float:
        """By the times of all frames; reads the file to its end."""
        return self._video.measured_duration_s()

    def close(self) -> None:
        """Close the file."""
        self._frames = iter(())


class FolderSource:
    """The images of a folder, sorted by name; they may differ in size."""

    encoding = "rgb8"
    rate_hz = DEFAULT_RATE_HZ
    is_live = False

    def __init__(self, folder: Path) -> None:
        self.description = f"images in {shown(folder)}"
        try:
            self._paths = image_files(folder)
        except VideoError as error:
            raise ImageSourceError(str(error)) from error
        self._next = 0
        self._unreadable: set[Path] = set()

    def read(self) -> SourceImage | None:
        """The next readable image; each unreadable one is logged once."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            self._next += 1
            try:
                return SourceImage(read_image(path), None)
            except VideoError as error:
                if path not in self._unreadable:
                    logger.warning("%s is skipped: %s", shown(Path(path.name)), error)
                self._unreadable.add(path)
        return None

    def rewind(self) -> bool:
        """Go back to the first image."""
        self._next = 0
        return True

    def duration_s(self) -> float:
        """At the usual rate."""
        return len(self._paths) / self.rate_hz

    def close(self) -> None:
        """Nothing to release: files are closed after reading."""


class CameraSource:
    """A camera of this machine, /dev/videoN."""

    encoding = "bgr8"
    is_live = True

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
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_RATE_HZ

    def read(self) -> SourceImage:
        """Wait for the next image.

        Raises:
            ImageSourceError: no image comes. Unlike a file, a camera has no end.
        """
        ok, image = self._capture.read()
        if not ok or image is None:
            raise ImageSourceError(
                f"The {self.description} gives no image: it was unplugged, or another program "
                "uses it. Plug it in again and restart."
            )
        return SourceImage(np.asarray(image, np.uint8), None)

    def rewind(self) -> bool:
        """A camera cannot go back."""
        return False

    def duration_s(self) -> float:
        """A camera has no end."""
        return 0.0

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
