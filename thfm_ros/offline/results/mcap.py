# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""perception.mcap: the node's topics as a bag, with the definitions of all messages."""

from pathlib import Path
from typing import Any

from thfm_ros.bags.bag import Bag, Topic
from thfm_ros.contract import Perception, PerceptionError
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.results.message_store import message_store, serialized
from thfm_ros.offline.results.messages import FrameMessages
from thfm_ros.offline.results.temporary_file import TemporaryFile

NODE = "/thfm"
"""The name of the node, below which its topics are."""

_FOREVER = "{sec: 9223372036, nsec: 854775807}"
_LATCHED_QOS = (
    "- history: 1\n  depth: 1\n  reliability: 1\n  durability: 1\n"
    f"  deadline: {_FOREVER}\n  lifespan: {_FOREVER}\n  liveliness: 1\n"
    f"  liveliness_lease_duration: {_FOREVER}\n  avoid_ros_namespace_conventions: false\n"
)
"""Transient local, reliable, depth 1, as the recorder of rosbag2 writes it."""


class McapResults:
    """A `ResultWriter` of perception.mcap.

    Stamps are those of the images. A message is logged when its image was recorded.

    Args:
        path: of the file.
        messages: makes the messages.
        bag: whose topics are copied, if any.
        keep: the topics that are copied from it.

    Raises:
        PerceptionError: mcap or rosbags is not installed.
    """

    def __init__(
        self,
        path: Path,
        messages: FrameMessages,
        bag: Bag | None = None,
        keep: tuple[str, ...] = (),
    ) -> None:
        try:
            from mcap.writer import CompressionType, Writer
        except ImportError as error:
            raise PerceptionError(
                "--format mcap needs the package mcap: pip install 'thfm_ros[archive]'"
            ) from error
        self._messages, self._bag, self._keep = messages, bag, keep
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._file = TemporaryFile(path)
        self._stream = self._file.temporary.open("wb")
        self._writer: Any = Writer(self._stream, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="thfm_ros")
        self._count = 0

    def add(self, frame: VideoFrame, perception: Perception) -> None:
        """Append the messages of one frame."""
        logged_ns = frame.received_ns or perception.stamp_ns
        if not self._count:
            for name, message in self._messages.latched(perception.stamp_ns):
                self._write(name, message, logged_ns, perception.stamp_ns, latched=True)
        for name, message in self._messages.of_frame(perception):
            self._write(name, message, logged_ns, perception.stamp_ns)
        self._count += 1

    def close(self) -> None:
        """Write the file."""
        if self._count and not self._stream.closed:
            self._copy_topics()
            self._writer.finish()
            self._stream.close()
            self._file.complete()
        self.abandon()

    def abandon(self) -> None:
        """Write nothing."""
        self._stream.close()
        self._file.abandon()

    def _write(
        self, name: str, message: Any, logged_ns: int, stamp_ns: int, *, latched: bool = False
    ) -> None:
        topic = f"{NODE}/{name}"
        if topic not in self._channels:
            kind = message.__msgtype__
            definition = message_store().generate_msgdef(kind, ros_version=2)[0]
            self._add_channel(topic, kind, definition, _LATCHED_QOS if latched else "")
        self._writer.add_message(
            self._channels[topic], logged_ns, serialized(message), stamp_ns, self._count
        )

    def _add_channel(self, topic: str, kind: str, definition: str, qos: str) -> None:
        if kind not in self._schemas:
            # Without a definition the type's name is all that is known; `ros2 bag play` needs no
            # more, viewers do.
            encoding = "ros2msg" if definition else ""
            self._schemas[kind] = self._writer.register_schema(kind, encoding, definition.encode())
        self._channels[topic] = self._writer.register_channel(
            topic, "cdr", self._schemas[kind], {"offered_qos_profiles": qos}
        )

    def _copy_topics(self) -> None:
        """Copy the kept topics. Readers sort by the index, so they may come last."""
        if self._bag is None or not self._keep:
            return
        for name in self._keep:
            topic = self._bag.topics[name]
            self._add_channel(name, topic.type, self._definition(topic), "")
        for message in self._bag.raw_messages(self._keep):
            channel = self._channels[message.topic]
            self._writer.add_message(
                channel, message.received_ns, message.data, message.received_ns
            )

    def _definition(self, topic: Topic) -> str:
        assert self._bag is not None
        if topic.definition and not self._bag.is_ros1:
            return topic.definition
        store = message_store()
        known = topic.type in store.fielddefs
        return str(store.generate_msgdef(topic.type, ros_version=2)[0]) if known else ""
