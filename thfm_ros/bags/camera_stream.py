# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The images of one camera in a bag, converted as the node converts them.

Stamps, frame_ids and calibrations are those of the messages. A calibration is valid until another
arrives, whatever its stamp, as in the node; the images before the first one use that, too, because
a bag is known as a whole (some drivers publish it late, or once).
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from thfm_ros.bags.bag import Bag, BagMessage, camera_info_topic_of
from thfm_ros.bags.compressed_video import CompressedVideoDecoder
from thfm_ros.bags.message_types import COMPRESSED_IMAGE, COMPRESSED_VIDEO, IMAGE
from thfm_ros.bags.opening import BagError
from thfm_ros.camera import BadInputError, rgb_from_compressed, rgb_from_image, stamp_ns
from thfm_ros.camera.calibration import Calibration, tf_frame
from thfm_ros.contract import Intrinsics
from thfm_ros.media.errors import shown

_MAX_FAILURES = 300
"""After so many images in a row that cannot be used the rest of the topic is given up."""
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CameraImage:
    """One image of a camera's topic."""

    rgb: UInt8[np.ndarray, "h w 3"]
    index: int  # among all messages of the topic
    stamp_ns: int
    received_ns: int  # when the message was recorded
    frame_id: str  # without a leading slash
    intrinsics: Intrinsics | None  # None: not calibrated, or not for these images


class CameraStream:
    """The images of a topic, in the order of recording.

    Images that cannot be used are left out and counted; `losses` and `doubts` tell.

    Args:
        bag: an open bag.
        topic: the topic of the images.
        info_topic: the topic of their CameraInfo; empty: the one beside the images.
        received_times: use the times of recording instead of the stamps of the headers.

    Raises:
        BagError: there is no such topic.
    """

    def __init__(
        self, bag: Bag, topic: str, info_topic: str = "", *, received_times: bool = False
    ) -> None:
        self.bag, self.topic = bag, bag.image_topic(topic)
        self.info_topic = info_topic or camera_info_topic_of(self.topic)
        if info_topic and info_topic not in bag.camera_info_topics:
            found = ", ".join(bag.camera_info_topics) or "none"
            raise BagError(
                f"{shown(bag.path)} has no CameraInfo topic {info_topic}: give one of its own "
                f"({found})."
            )
        self.length = bag.topics[self.topic].count
        self._kind = bag.topics[self.topic].type
        self._received_times = received_times
        self._losses = _Losses(self)
        self._calibration: Calibration | None = None

    def images(self) -> Generator[CameraImage, None, None]:
        """All images that can be used.

        Raises:
            BagError: the bag is damaged from there on, the size of the images changes, or none of
                them can be used.
        """
        calibration = self._calibration = self._first_calibration()
        decoder = _Decoder() if self._kind == COMPRESSED_VIDEO else None
        losses = self._losses = _Losses(self)
        first_shape: tuple[int, ...] | None = None
        for message in self.bag.messages({self.topic, self.info_topic}):
            if message.topic != self.topic:
                calibration.receive(message.content)
                continue
            if losses.in_a_row >= _MAX_FAILURES:
                break
            index = losses.seen
            losses.seen += 1
            try:
                for waiting, rgb in self._decoded(message, index, decoder):
                    image = self._image(waiting, rgb, calibration)
                    first_shape = first_shape or rgb.shape
                    self._require_shape(first_shape, image)
                    losses.in_a_row = 0
                    losses.good += 1
                    yield image
            except BadInputError as error:
                losses.add(index, error)
        losses.check()

    @property
    def losses(self) -> str:
        """What was left out of the images that were read last, and why; empty if nothing was."""
        return self._losses.described()

    @property
    def doubts(self) -> str:
        """What is wrong with the calibration of the images that were read last; empty: nothing."""
        calibration = self._calibration
        if calibration is None:
            return ""
        problem = calibration.problem
        return f"nothing is metric: {problem}" if problem else calibration.warning

    def _decoded(
        self, message: BagMessage, index: int, decoder: "_Decoder | None"
    ) -> Iterator[tuple["_Waiting", UInt8[np.ndarray, "h w 3"]]]:
        waiting = self._waiting(message, index)
        content = message.content
        if decoder is not None:
            yield from decoder.decode(content, waiting)
        elif self._kind == COMPRESSED_IMAGE:
            yield waiting, rgb_from_compressed(content)
        else:
            assert self._kind == IMAGE
            yield waiting, rgb_from_image(content)

    def _waiting(self, message: BagMessage, index: int) -> "_Waiting":
        content = message.content
        if self._kind == COMPRESSED_VIDEO:
            stamp = content.timestamp.sec * _NANOSECONDS + content.timestamp.nanosec
            frame_id = content.frame_id
        else:
            stamp, frame_id = stamp_ns(content), content.header.frame_id
        if self._received_times:
            stamp = message.received_ns
        elif stamp == 0:
            raise BadInputError(
                "stamp",
                "The stamps of the images are zero, so nothing is known about their times: "
                "use the times of recording by --stamps received.",
            )
        return _Waiting(index, stamp, message.received_ns, tf_frame(frame_id))

    def _image(
        self, waiting: "_Waiting", rgb: UInt8[np.ndarray, "h w 3"], calibration: Calibration
    ) -> CameraImage:
        height, width = rgb.shape[:2]
        intrinsics = calibration.intrinsics_for(waiting.frame_id, width, height)
        return CameraImage(
            rgb,
            waiting.index,
            waiting.stamp_ns,
            waiting.received_ns,
            waiting.frame_id,
            intrinsics,
        )

    def _first_calibration(self) -> Calibration:
        calibration = Calibration(self.topic, self._missing_calibration)
        first = self.bag.first(self.info_topic)
        if first is not None:
            calibration.receive(first)
        return calibration

    def _missing_calibration(self) -> str:
        others = ", ".join(self.bag.camera_info_topics) or "no CameraInfo at all"
        return (
            f"there is no message on {self.info_topic}; the bag has {others}. Name it by "
            "--camera-info TOPIC, or give --fx or --hfov"
        )

    def _require_shape(self, first: tuple[int, ...], image: CameraImage) -> None:
        if image.rgb.shape != first:
            old, new = (f"{shape[1]}x{shape[0]}" for shape in (first, image.rgb.shape))
            raise BagError(
                f"{shown(self.bag.path)}: the images of {self.topic} change their size from {old} "
                f"to {new} at image {image.index} (stamp {image.stamp_ns} ns). Perceive the parts "
                "one by one: cut the bag there (ros2 bag convert with start_time_ns, end_time_ns)."
            )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is known of an image before it is decoded."""

    index: int
    stamp_ns: int
    received_ns: int
    frame_id: str


_Decoder = CompressedVideoDecoder[_Waiting]


class _Losses:
    """Counts the images of a topic, and those that cannot be used."""

    def __init__(self, stream: CameraStream) -> None:
        self._stream = stream
        self._count = 0
        self._first: tuple[int, BadInputError] | None = None
        self.seen = self.in_a_row = self.good = 0

    def add(self, index: int, error: BadInputError) -> None:
        """Note an image that is left out."""
        self._first = self._first or (index, error)
        self._count += 1
        self.in_a_row += 1

    def check(self) -> None:
        """Refuse a topic without a good image.

        Raises:
            BagError: there was none.
        """
        path, topic = shown(self._stream.bag.path), self._stream.topic
        if self.good:
            return
        if self._first is None:
            raise BagError(f"{path} holds no image on {topic}: the topic has no messages.")
        raise BagError(f"{path}: no image of {topic} can be used. {self._first[1]}")

    def described(self) -> str:
        """What was left out; empty if nothing was."""
        if self._first is None:
            return ""
        index, error = self._first
        rest = ", and the rest was given up" if self.in_a_row >= _MAX_FAILURES else ""
        return (
            f"{self._count} of {self.seen} images are left out{rest}; the first is image {index}: "
            f"{error}"
        )
