# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The demo's listener: a process that subscribes to all topics of the node.

It measures the latency of the results and stores the frames that are drawn at the end. Started by
`thfm_ros.ros.demo.command`, which also starts the camera and the node.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import Image

from thfm_ros.contract import PerceptionError
from thfm_ros.msg import BodyArray, SkeletonInfo
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.demo.panels import (
    DiskFrameBuffer,
    PanelRenderer,
    depth_range,
    write_contact_sheet,
    write_video,
)
from thfm_ros.ros.demo.stamp_sync import StampSynchronizer
from thfm_ros.ros.demo.summary import DemoSummary

logger = logging.getLogger("demo")

IMAGE_TOPIC = "/camera/image"
NODE_NAME = "thfm"
# Messages of megabytes: what is not drawn is given up after a few, for it would cost as much of the
# machine as the people do.
LARGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2")
ENOUGH_MESSAGES = 3
# Published on events only, so that no message is no failure.
IGNORED_TOPICS = ("/rosout", "/parameter_events", f"/{NODE_NAME}/transition_event")
FIRST_IMAGE_TIMEOUT_S = 180.0  # the node may have to build its engine before it subscribes
FIRST_RESULT_TIMEOUT_S = 60.0
IMAGE_TIMEOUT_S = 5.0  # without an image for this long the camera has ended

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Best effort: a slow listener must not hold up the node.
VOLATILE = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class NoMessagesError(PerceptionError):
    """No image or no result arrived."""


class DemoListener(Node):
    """Counts messages and stores frames; ``finished`` is done when the demo is over."""

    def __init__(self, seconds: float, synchronizer: StampSynchronizer) -> None:
        super().__init__("demo_listener")
        self.finished = Future()
        self.summary = DemoSummary()
        self._synchronizer = synchronizer
        self._duration_s = seconds
        self._started_s = time.monotonic()
        self._first_image_s: float | None = None
        self._first_result_s: float | None = None
        self._last_image_s = self._started_s
        self._subscribed = {IMAGE_TOPIC}
        self._sampled: dict[str, Subscription[Any]] = {}  # large topics that are not drawn
        self._handlers: dict[str, tuple[type, Any]] = {
            f"/{NODE_NAME}/bodies": (BodyArray, self._on_bodies),
            f"/{NODE_NAME}/segmentation/image": (Image, synchronizer.add_labels),
            f"/{NODE_NAME}/depth/image": (Image, synchronizer.add_depth),
            f"/{NODE_NAME}/depth_relative/image": (Image, synchronizer.add_depth),
            f"/{NODE_NAME}/skeleton_info": (SkeletonInfo, self._on_skeleton),
            "/diagnostics": (DiagnosticArray, self._on_diagnostics),
        }
        # The bodies first: the executor handles subscriptions in the order of their creation.
        self._subscribe(f"/{NODE_NAME}/bodies", VOLATILE)
        self.create_subscription(Image, IMAGE_TOPIC, self._on_image, VOLATILE)
        self.create_timer(0.5, self._discover)
        self.create_timer(0.2, self._check_progress)
        self.create_timer(2.0, lambda: logger.info("%s", self.summary.progress()))

    def _discover(self) -> None:
        """Subscribe to the topics that the node has begun to publish, and give up large ones."""
        for topic in [
            each for each in self._sampled if self.summary.topics[each] >= ENOUGH_MESSAGES
        ]:
            self.destroy_subscription(self._sampled.pop(topic))
            self.summary.sampled.add(topic)
        try:
            topics = self.get_publisher_names_and_types_by_node(NODE_NAME, "/")
        except RuntimeError:  # of rclpy, while the node does not exist
            return
        for topic, types in topics:
            if topic not in self._subscribed and topic not in IGNORED_TOPICS:
                offered = self.get_publishers_info_by_topic(topic)
                durable = DurabilityPolicy.TRANSIENT_LOCAL
                is_latched = any(info.qos_profile.durability == durable for info in offered)
                self._subscribe(topic, LATCHED if is_latched else VOLATILE, types[0])

    def _subscribe(self, topic: str, qos: QoSProfile, type_name: str = "") -> None:
        self._subscribed.add(topic)
        self.summary.add_topic(topic)
        if topic in self._handlers:
            message_type, handle = self._handlers[topic]
            self.create_subscription(message_type, topic, self._counted(topic, handle), qos)
            return
        package, _, name = type_name.replace("/", ".").rpartition(".")
        try:
            message_type = getattr(import_module(package), name)
        except (ImportError, AttributeError):
            logger.warning("%s is not counted: %s is not installed here.", topic, type_name)
            return
        # Raw: only counted, so converting the message into a Python object would waste time.
        count = self._counted(topic, lambda _: None)
        subscription = self.create_subscription(message_type, topic, count, qos, raw=True)
        if type_name in LARGE_TYPES:
            self._sampled[topic] = subscription

    def _counted(self, topic: str, handle: Any) -> Any:
        """A callback that counts the message before it is handled."""

        def on_message(message: Any) -> None:
            self.summary.count_message(topic)
            handle(message)

        return on_message

    def _on_image(self, message: Image) -> None:
        self._last_image_s = time.monotonic()
        if self._first_image_s is None:
            self._first_image_s = self._last_image_s
        self.summary.add_image(nanoseconds(message.header.stamp))
        self._synchronizer.add_image(message)

    def _on_bodies(self, message: BodyArray) -> None:
        now_ns = self.get_clock().now().nanoseconds
        measured = [body.id for body in message.bodies if body.state == body.TRACKED]
        predicted = [body.id for body in message.bodies if body.state == body.PREDICTED]
        stamp_ns = nanoseconds(message.header.stamp)
        if self._first_result_s is None:
            self._first_result_s = time.monotonic()
        latency_ms = self.summary.add_result(
            stamp_ns, now_ns, measured, metric=message.metric, predicted=predicted
        )
        self._synchronizer.add_bodies(message, latency_ms)

    def _on_skeleton(self, message: SkeletonInfo) -> None:
        self.summary.checkpoint = message.model

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{NODE_NAME}: "):
                values = {pair.key: pair.value for pair in status.values}
                part = status.name.removeprefix(f"{NODE_NAME}: ")
                self.summary.set_diagnostics(part, status.message, values)

    def _check_progress(self) -> None:
        """Finish when the duration is over or the images end.

        Raises:
            NoMessagesError: no image, or no result, arrived in time.
        """
        now_s = time.monotonic()
        if self._first_image_s is None:
            if now_s - self._started_s > FIRST_IMAGE_TIMEOUT_S:
                raise NoMessagesError(
                    f"{IMAGE_TOPIC} had no message for {FIRST_IMAGE_TIMEOUT_S:.0f} s: the camera "
                    f"waits until the node {NODE_NAME} subscribes, which it does once it is active."
                )
            return
        ended = now_s - self._last_image_s > IMAGE_TIMEOUT_S
        if self._first_result_s is None:
            if ended or now_s - self._first_image_s > FIRST_RESULT_TIMEOUT_S:
                raise NoMessagesError(
                    f"{self.summary.images} images in {now_s - self._first_image_s:.0f} s, but "
                    f"/{NODE_NAME}/bodies had no message."
                )
            return
        is_over = now_s - self._first_result_s >= self._duration_s
        if (is_over or ended) and not self.finished.done():
            self.finished.set_result(None)


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def listen(seconds: float, synchronizer: StampSynchronizer) -> DemoSummary:
    """Listen until ``seconds`` after the first result, or until the images end.

    Raises:
        NoMessagesError: no image, or no result, arrived in time.
    """
    prepare_ros_environment()
    rclpy.init(args=[])
    listener = DemoListener(seconds, synchronizer)
    try:
        rclpy.spin_until_future_complete(listener, listener.finished)
    finally:
        listener.destroy_node()
        rclpy.try_shutdown()
    return listener.summary


def write_images(buffer: DiskFrameBuffer, summary: DemoSummary, out: Path) -> None:
    """Write overlay.mp4 and contact.png, if there is any frame to draw."""
    if not len(buffer):
        logger.error("No overlay: no image had mask, depth and bodies of its own stamp.")
        return
    logger.info("Drawing %d images ...", len(buffer))
    renderer = PanelRenderer(depth_range(buffer), summary.metric)
    write_video(buffer, renderer, out / "overlay.mp4")
    write_contact_sheet(buffer, renderer, out / "contact.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen and write the results; 0, or 1 if a topic had no message or nothing was drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--viewer", choices=("rerun", "none"), default="none")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        viewer = None
        if options.viewer == "rerun":
            from thfm_ros.ros.demo.rerun_viewer import RerunViewer

            viewer = RerunViewer()
        synchronizer = StampSynchronizer(options.out, viewer)
        summary = listen(options.seconds, synchronizer)
        (options.out / "summary.json").write_text(json.dumps(summary.as_json(), indent=2) + "\n")
        write_images(synchronizer.buffer, summary, options.out)
    except PerceptionError as error:
        logger.error("ERROR: %s", error)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    missing = summary.topics_without_messages()
    if missing or not len(synchronizer.buffer):
        logger.error("ERROR: topics without messages: %s", ", ".join(missing) or "none")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
