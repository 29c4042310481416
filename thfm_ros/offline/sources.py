# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recorded input as frames: films, images, and the cameras of a bag."""

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from thfm_ros.bags.bag import Bag
from thfm_ros.bags.camera_stream import CameraImage, CameraStream
from thfm_ros.bags.opening import BagError
from thfm_ros.config import WindowConfig
from thfm_ros.contract import Intrinsics, PerceptionError
from thfm_ros.geometry import intrinsics_from_fov
from thfm_ros.media.errors import VideoError, shown
from thfm_ros.media.images import image_files, is_image_name, read_image
from thfm_ros.media.reduction import reduced, reduced_size
from thfm_ros.media.video import Video, VideoFrame, same_size
from thfm_ros.perception.frame_window import config_for_rate

log = logging.getLogger(__name__)

_ANIMATED = (".gif",)  # read as a video, unless it lies in a folder of images
_PROBED_IMAGES = 10  # of a bag, to learn the rate
_USUAL_RATE = 30.0
_FOCAL_RANGE = (0.05, 200.0)
"""Possible focal lengths in units of the longer side, as of a camera_info."""


class FrameSource(Protocol):
    """Frames to perceive, oldest first; large ones are reduced (media/reduction.py)."""

    width: int  # of the widest frame, as it is perceived
    height: int  # of the highest frame, as it is perceived
    length: int  # 0: not known
    fps: float  # of the overlay
    one_clip: bool  # False: every frame is a clip of its own

    def __iter__(self) -> Iterator[VideoFrame]:
        """All frames, once."""

    def window(self, config: WindowConfig) -> WindowConfig:
        """The window for these frames, from the one that is configured."""


class ImageFolder:
    """Unrelated images, or a single one; those that cannot be read are logged and left out.

    Args:
        path: a folder, or an image file.

    Raises:
        VideoError: the folder has no image, or none of them can be read.
    """

    fps = 1.0
    one_clip = False

    def __init__(self, path: Path) -> None:
        self._readable: list[tuple[int, Path]] = []
        self.width = self.height = 0
        # All images are read twice: the largest size must be known before the first row is
        # written, and reading takes a tenth of the time of the pipeline.
        for index, file in enumerate(image_files(path) if path.is_dir() else [path]):
            try:
                rgb = read_image(file)
            except VideoError as error:
                log.warning("Left out: %s", error)
                continue
            self._readable.append((index, file))
            width, height = _size_perceived(file, rgb.shape[1], rgb.shape[0])
            self.height, self.width = max(self.height, height), max(self.width, width)
        self.length = len(self._readable)
        if not self._readable:
            raise VideoError(f"None of the images in {shown(path)} can be read.")

    def __iter__(self) -> Iterator[VideoFrame]:
        for index, file in self._readable:
            yield reduced(VideoFrame(read_image(file), index, index * 1_000_000_000, file.name))

    def window(self, config: WindowConfig) -> WindowConfig:
        """The window as configured: there are no gaps between unrelated images."""
        return config


class _VideoFile(Video):
    """A video as one clip, whose frames must have one size."""

    one_clip = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.width, self.height = _size_perceived(path, self.width, self.height)

    def __iter__(self) -> Iterator[VideoFrame]:
        return map(reduced, same_size(super().__iter__(), self.path))

    def window(self, config: WindowConfig) -> WindowConfig:
        """Time-lapse films are one stream, too."""
        return config_for_rate(config, self.fps)


class BagCamera:
    """The images of one camera of an open bag: one clip, with gaps as in the node.

    Raises:
        BagError: there is no such topic, or none of its images can be used.
    """

    one_clip = True

    def __init__(self, stream: CameraStream) -> None:
        self.stream = stream
        stamps: list[int] = []
        size = (0, 0)
        with contextlib.closing(stream.images()) as images:
            try:
                for image in itertools.islice(images, _PROBED_IMAGES):
                    size = size if stamps else image.rgb.shape[1::-1]
                    stamps.append(image.stamp_ns)
            except BagError:
                if not stamps:  # else it comes again, after the images before it
                    raise
        self.fps = _rate_of(stamps)
        self.length = stream.length
        where = Path(f"{shown(stream.bag.path)}, {stream.topic}")
        self.width, self.height = _size_perceived(where, *size)

    def __iter__(self) -> Iterator[VideoFrame]:
        return map(reduced, map(self._frame, self.stream.images()))

    def window(self, config: WindowConfig) -> WindowConfig:
        """The window as configured, as in the node."""
        return config

    def _frame(self, image: CameraImage) -> VideoFrame:
        name = f"{self.stream.topic}#{image.index}"
        return VideoFrame(
            image.rgb,
            image.index,
            image.stamp_ns,
            name,
            frame_id=image.frame_id,
            intrinsics=image.intrinsics,
            received_ns=image.received_ns,
        )


def _rate_of(stamps_ns: Sequence[int]) -> float:
    """Images per second, from the median of the intervals; the usual rate if it is not known."""
    intervals = np.diff(np.array(stamps_ns, np.float64)) * 1e-9
    usable = intervals[(intervals > 1e-3) & (intervals < 100)]
    return float(1 / np.median(usable)) if len(usable) else _USUAL_RATE


def bag_cameras(
    bag: Bag, topics: Sequence[str], info_topic: str = "", *, received_times: bool = False
) -> dict[str, CameraStream]:
    """The cameras of a bag by their topics: those named, the only one, or with "all" all.

    Raises:
        BagError: a topic is not in the bag, or none is named and there is not exactly one.
    """
    names = bag.image_topics if list(topics) == ["all"] else list(topics)
    chosen = [bag.image_topic(name) for name in (names or [""])]
    if info_topic and len(chosen) > 1:
        raise PerceptionError(
            f"--camera-info {info_topic} would be used for {len(chosen)} cameras: perceive them "
            "one by one with --topic."
        )
    return {
        topic: CameraStream(bag, topic, info_topic, received_times=received_times)
        for topic in dict.fromkeys(chosen)
    }


def _size_perceived(path: Path, width: int, height: int) -> tuple[int, int]:
    """The size at which an image of this size is perceived; a reduction is logged."""
    size = reduced_size(width, height)
    if size != (width, height):
        text = "%s: %dx%d pixels are reduced to %dx%d; all results are in pixels of that size"
        log.warning(text, shown(path), width, height, *size)
    return size


def open_source(path: Path) -> FrameSource:
    """The frames of a video file, of an image file or of a folder of images.

    Raises:
        VideoError: it is neither, or nothing in it can be read.
    """
    is_image = path.is_file() and is_image_name(path) and path.suffix.lower() not in _ANIMATED
    return ImageFolder(path) if path.is_dir() or is_image else _VideoFile(path)


@dataclass(frozen=True)
class FocalLength:
    """What is known of the camera, if anything; without it nothing is metric."""

    hfov_deg: float | None = None  # horizontal field of view
    fx: float | None = None  # pixels

    def __post_init__(self) -> None:
        """Refuse values that no camera has."""
        if self.hfov_deg is not None and not 1 <= self.hfov_deg <= 170:
            raise PerceptionError(f"--hfov {self.hfov_deg:g}: give 1 to 170 degrees.")
        if self.fx is not None and not 0 < self.fx < math.inf:
            raise PerceptionError(f"--fx {self.fx:g}: give a focal length of more than 0 pixels.")

    def of_frame(self, frame: VideoFrame) -> Intrinsics | None:
        """Intrinsics of a frame: as given here, else as its source says, else None."""
        height, width = frame.rgb.shape[:2]
        return self.intrinsics(width, height, frame.scale) or frame.intrinsics

    def intrinsics(self, width: int, height: int, scale: float = 1.0) -> Intrinsics | None:
        """Intrinsics of an image of this size, principal point at its centre; None if unknown.

        ``scale`` is the factor by which the image of the camera was reduced.

        Raises:
            PerceptionError: no camera has this focal length in pixels with images of this width.
        """
        if self.fx is not None:
            fx = self.fx * scale
            low, high = (limit * max(width, height) for limit in _FOCAL_RANGE)
            if not low <= fx <= high:
                hfov_deg = 2 * math.degrees(math.atan(width / 2 / fx))
                raise PerceptionError(
                    f"--fx {self.fx:g}: with images {width / scale:.0f} pixels wide the field of "
                    f"view would be {hfov_deg:.3g} degrees. Give pixels, as in the camera matrix, "
                    "not millimetres; or give --hfov."
                )
            return Intrinsics(fx, fx, width / 2, height / 2, width, height)
        if self.hfov_deg is not None:
            return intrinsics_from_fov(width, height, self.hfov_deg)
        return None
