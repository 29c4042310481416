"""The demo's listener: a process of its own that subscribes to everything the node publishes.

It measures how old a result is when it arrives, and keeps what is drawn afterwards. Started by
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
from rclpy.task import Future
from sensor_msgs.msg import Image

from thfm_ros.contract import PerceptionError
from thfm_ros.msg import BodyArray, SkeletonInfo
from thfm_ros.ros.dds_profile import prepare
from thfm_ros.ros.demo.panels import Painter, depth_range, write_contact_sheet, write_film
from thfm_ros.ros.demo.stamp_sync import Album
from thfm_ros.ros.demo.summary import Tally

logger = logging.getLogger("demo")

IMAGE_TOPIC = "/camera/image"
NODE_NAME = "thfm"
# Published on events only, so that silence says nothing.
UNCOUNTED = ("/rosout", "/parameter_events", f"/{NODE_NAME}/transition_event")
FIRST_IMAGE_S = 180.0  # the node may have to build its engine before it subscribes
FIRST_RESULT_S = 60.0
END_S = 5.0  # no image for so long: the camera has gone

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Best effort: a slow listener must not hold up the node.
VOLATILE = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class SilenceError(PerceptionError):
    """Something that should have arrived did not."""


class Collector(Node):
    """Subscribes, counts and keeps; ``finished`` is done when there is no more to come."""

    def __init__(self, seconds: float, album: Album) -> None:
        super().__init__("demo_collector")
        self.finished = Future()
        self.tally = Tally()
        self._album = album
        self._seconds = seconds
        self._began = time.monotonic()
        self._first_image: float | None = None
        self._first_result: float | None = None
        self._last_image = self._began
        self._subscribed = {IMAGE_TOPIC}
        self._detailed: dict[str, tuple[type, Any]] = {
            f"/{NODE_NAME}/bodies": (BodyArray, self._on_bodies),
            f"/{NODE_NAME}/segmentation/image": (Image, album.labels),
            f"/{NODE_NAME}/depth/image": (Image, album.depth),
            f"/{NODE_NAME}/depth_relative/image": (Image, album.depth),
            f"/{NODE_NAME}/skeleton_info": (SkeletonInfo, self._on_skeleton),
            "/diagnostics": (DiagnosticArray, self._on_diagnostics),
        }
        # The bodies first, so that nothing heavier stands before them in the executor's round.
        self._subscribe(f"/{NODE_NAME}/bodies", VOLATILE)
        self.create_subscription(Image, IMAGE_TOPIC, self._on_image, VOLATILE)
        self.create_timer(0.5, self._discover)
        self.create_timer(0.2, self._judge)
        self.create_timer(2.0, lambda: logger.info("%s", self.tally.progress()))

    def _discover(self) -> None:
        """Subscribe to what the node has begun to publish."""
        try:
            topics = self.get_publisher_names_and_types_by_node(NODE_NAME, "/")
        except RuntimeError:  # rclpy: there is no such node yet
            return
        for topic, types in topics:
            if topic not in self._subscribed and topic not in UNCOUNTED:
                offered = self.get_publishers_info_by_topic(topic)
                durable = DurabilityPolicy.TRANSIENT_LOCAL
                is_latched = any(o.qos_profile.durability == durable for o in offered)
                self._subscribe(topic, LATCHED if is_latched else VOLATILE, types[0])

    def _subscribe(self, topic: str, qos: QoSProfile, type_name: str = "") -> None:
        self._subscribed.add(topic)
        self.tally.expect(topic)
        if topic in self._detailed:
            kind, handle = self._detailed[topic]
            self.create_subscription(kind, topic, self._counted(topic, handle), qos)
            return
        package, _, name = type_name.replace("/", ".").rpartition(".")
        try:
            kind = getattr(import_module(package), name)
        except (ImportError, AttributeError):
            logger.warning("%s is not counted: %s is not installed here.", topic, type_name)
            return
        # Raw: counted, but not turned into Python objects, which would cost more than it tells.
        count = self._counted(topic, lambda _: None)
        self.create_subscription(kind, topic, count, qos, raw=True)

    def _counted(self, topic: str, handle: Any) -> Any:
        def on_message(message: Any) -> None:
            self.tally.message(topic)
            handle(message)

        return on_message

    def _on_image(self, message: Image) -> None:
        self._last_image = time.monotonic()
        if self._first_image is None:
            self._first_image = self._last_image
        self.tally.image(nanoseconds(message.header.stamp))
        self._album.image(message)

    def _on_bodies(self, message: BodyArray) -> None:
        now_ns = self.get_clock().now().nanoseconds
        people = [body.id for body in message.bodies if body.state == body.TRACKED]
        stamp_ns = nanoseconds(message.header.stamp)
        if self._first_result is None:
            self._first_result = time.monotonic()
        latency_ms = self.tally.result(stamp_ns, now_ns, people, metric=message.metric)
        self._album.bodies(message, latency_ms)

    def _on_skeleton(self, message: SkeletonInfo) -> None:
        self.tally.checkpoint = message.model

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{NODE_NAME}: "):
                values = {pair.key: pair.value for pair in status.values}
                part = status.name.removeprefix(f"{NODE_NAME}: ")
                self.tally.diagnostics(part, status.message, values)

    def _judge(self) -> None:
        """End when it is over; raise when it will never begin."""
        now = time.monotonic()
        if self._first_image is None:
            if now - self._began > FIRST_IMAGE_S:
                raise SilenceError(
                    f"{IMAGE_TOPIC} stayed silent for {FIRST_IMAGE_S:.0f} s: the camera waits "
                    f"until the node {NODE_NAME} subscribes, which it does once it is active."
                )
            return
        ended = now - self._last_image > END_S
        if self._first_result is None:
            if ended or now - self._first_image > FIRST_RESULT_S:
                raise SilenceError(
                    f"{self.tally.images} images in {now - self._first_image:.0f} s, but "
                    f"/{NODE_NAME}/bodies stayed silent."
                )
            return
        over = now - self._first_result >= self._seconds
        if (over or ended) and not self.finished.done():
            self.finished.set_result(None)


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time as one number."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def collect(seconds: float, album: Album) -> Tally:
    """Listen until ``seconds`` after the first result, or until the images end.

    Raises:
        SilenceError: no image, or no result, for a minute and more.
    """
    prepare()
    rclpy.init(args=[])
    collector = Collector(seconds, album)
    try:
        rclpy.spin_until_future_complete(collector, collector.finished)
    finally:
        collector.destroy_node()
        rclpy.try_shutdown()
    return collector.tally


def draw(album: Album, tally: Tally, out: Path) -> None:
    """Write overlay.mp4 and contact.png, if there is anything to draw."""
    spool = album.spool
    if not len(spool):
        logger.error("No overlay: no image had mask, depth and bodies of its own stamp.")
        return
    logger.info("Drawing %d images ...", len(spool))
    painter = Painter(depth_range(spool), tally.metric)
    write_film(spool, painter, out / "overlay.mp4")
    write_contact_sheet(spool, painter, out / "contact.png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, write, judge: 0 all is there, 1 a topic stayed silent or nothing came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--viewer", choices=("rerun", "none"), default="none")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        viewer = None
        if options.viewer == "rerun":
            from thfm_ros.ros.demo.rerun_viewer import Viewer

            viewer = Viewer()
        album = Album(options.out, viewer)
        tally = collect(options.seconds, album)
        (options.out / "summary.json").write_text(json.dumps(tally.summary(), indent=2) + "\n")
        draw(album, tally, options.out)
    except PerceptionError as error:
        logger.error("ERROR: %s", error)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    silent = tally.silent()
    if silent or not len(album.spool):
        logger.error("ERROR: these topics stayed silent: %s", ", ".join(silent) or "none")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
