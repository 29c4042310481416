# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A rosbag of ROS 2 (folder, .mcap, .db3) or ROS 1 (.bag), read by the library rosbags.

Only the messages of the topics that are asked for are decoded, with the definitions of the library
and not with those in the bag: one odd definition of another topic does not make a bag unreadable.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from thfm_ros.bags.message_types import COMPRESSED, INFO, IS_IMAGE, types_of_ros1, types_of_ros2
from thfm_ros.bags.opening import BagError, damaged, open_reader
from thfm_ros.media.errors import shown


class BagMessage(NamedTuple):
    """One message of a bag."""

    topic: str
    received_ns: int  # when it was recorded
    content: Any  # with the fields of ROS 2, also if the bag is of ROS 1


class RawMessage(NamedTuple):
    """One message of a bag as it is stored, in CDR."""

    topic: str
    received_ns: int
    data: bytes


@dataclass(frozen=True)
class Topic:
    """What a bag says about a topic."""

    name: str
    type: str  # of ROS 2: "sensor_msgs/msg/Image"
    count: int  # of messages
    definition: str  # its message definition in the form of .msg files; "" if the bag has none


class Bag:
    """An open bag; a context manager.

    Args:
        path: a folder of rosbag2, or a file .mcap, .db3 or .bag.

    Raises:
        BagError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_ros1 = path.suffix == ".bag" and not path.is_dir()
        self._reader = open_reader(path, self.is_ros1)
        self.topics = {topic.name: topic for topic in self._topics()}

    def __enter__(self) -> "Bag":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and remove what was decompressed."""
        with contextlib.suppress(Exception):  # nothing is lost: the bag was only read
            self._reader.close()

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message, by their times of recording."""
        return float(self._reader.duration) * 1e-9

    @property
    def image_topics(self) -> list[str]:
        """Names of the topics that may show a camera's images."""
        return [
            topic.name
            for topic in self.topics.values()
            # Depth in this transport is a PNG behind a header, of the same type as a JPEG.
            if topic.type in IS_IMAGE and not topic.name.endswith("/compressedDepth")
        ]

    @property
    def camera_info_topics(self) -> list[str]:
        """Names of the topics with calibrations."""
        return [topic.name for topic in self.topics.values() if topic.type == INFO]

    def image_topic(self, wanted: str = "") -> str:
        """The topic ``wanted``, or the only one with images if that is empty.

        Raises:
            BagError: there is none, or more than one to choose from; the text lists them.
        """
        found = self.image_topics
        if wanted in found or (not wanted and len(found) == 1):
            return wanted or found[0]
        if not self.topics:
            raise BagError(f"{shown(self.path)} holds no topics: nothing was recorded.")
        if not found:
            raise BagError(
                f"{shown(self.path)} holds no images. Its topics are {self._listed(self.topics)}."
            )
        listed = f"Its image topics are {self._listed(found)}."
        if not wanted:
            raise BagError(
                f"{shown(self.path)} has {len(found)} image topics: choose by --topic NAME, or "
                f"--topic all. {listed}"
            )
        if wanted in self.topics:
            kind = self.topics[wanted].type
            raise BagError(f"{shown(self.path)}: {wanted} is of type {kind}, no images. {listed}")
        raise BagError(f"{shown(self.path)} has no topic {wanted}. {listed}")

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """The decoded messages of some topics, in the order of recording.

        Raises:
            BagError: the bag is damaged from there on; the messages before were yielded.
        """
        for connection, received_ns, data in self._stored(topics):
            try:
                content = self._decoded(data, connection.msgtype)
            except Exception as error:
                raise BagError(
                    f"{shown(self.path)}: a message of {connection.topic} cannot be decoded as "
                    f"{connection.msgtype} ({error or type(error).__name__}): the bag is damaged, "
                    "or the type was another one when it was recorded."
                ) from error
            yield BagMessage(connection.topic, received_ns, content)

    def raw_messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """The messages of some topics as they are stored, those of ROS 1 converted to CDR.

        Raises:
            BagError: see `messages`; or a type of ROS 1 is not one of the usual ones.
        """
        for connection, received_ns, data in self._stored(topics):
            if self.is_ros1:
                data = self._converted(data, connection)
            yield RawMessage(connection.topic, received_ns, bytes(data))

    def first(self, topic: str) -> Any:
        """The first message of a topic; None if it has none, or the bag has no such topic."""
        messages = self.messages([topic]) if topic in self.topics else iter(())
        first = next(messages, None)
        return first.content if first else None

    def _stored(self, topics: Collection[str]) -> Iterator[tuple[Any, int, bytes]]:
        connections = [each for each in self._reader.connections if each.topic in topics]
        if not connections:
            return
        stored = self._reader.messages(connections=connections)
        while True:
            try:
                item = next(stored, None)
            except Exception as error:  # any: the library meets damaged data with many kinds
                raise damaged(self.path, error) from error
            if item is None:
                return
            yield item

    def _decoded(self, data: bytes, kind: str) -> Any:
        if not self.is_ros1:
            return types_of_ros2().deserialize_cdr(data, kind)
        message = types_of_ros1().deserialize_ros1(data, kind)
        return _Ros1CameraInfo(message) if kind == INFO else message

    def _converted(self, data: bytes, connection: Any) -> bytes:
        types = types_of_ros2()
        if connection.msgtype not in types.fielddefs:
            raise BagError(
                f"{shown(self.path)}: messages of {connection.topic} have a type of ROS 1 "
                f"({connection.msgtype}) that is not known: convert the bag (rosbags-convert)."
            )
        return bytes(types.ros1_to_cdr(data, connection.msgtype))

    def _topics(self) -> Iterator[Topic]:
        seen: dict[str, Topic] = {}
        for each in self._reader.connections:
            before = seen[each.topic].count if each.topic in seen else 0
            definition = each.msgdef.data if each.msgdef.format.name == "MSG" else ""
            seen[each.topic] = Topic(
                each.topic, each.msgtype, before + int(each.msgcount), definition
            )
        yield from sorted(seen.values(), key=lambda topic: topic.name)

    def _listed(self, names: Collection[str]) -> str:
        topics = [self.topics[name] for name in names]
        parts = [
            f"{each.name} ({each.type.rpartition('/')[2]}, {each.count} messages)"
            for each in topics
        ]
        return ", ".join(parts)


class _Ros1CameraInfo:
    """A CameraInfo of ROS 1, whose matrices have upper-case names, with the names of ROS 2."""

    def __init__(self, message: Any) -> None:
        self.header, self.roi = message.header, message.roi
        self.height, self.width = message.height, message.width
        self.distortion_model = message.distortion_model
        self.d, self.k, self.r, self.p = message.D, message.K, message.R, message.P
        self.binning_x, self.binning_y = message.binning_x, message.binning_y


def camera_info_topic_of(image_topic: str) -> str:
    """The topic of an image topic's calibration, as the node finds it: beside the image."""
    return image_topic.removesuffix(COMPRESSED).rpartition("/")[0] + "/camera_info"
