# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The subscriber of the benchmark: records when each result arrives, in a process of its own.

Images are received as bytes, so that decoding them in Python does not slow down what is measured;
skeletons are decoded, since every subscriber that uses them has to.
"""

import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from thfm_ros.msg import BodyArray
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, Request, Response, serve
from thfm_ros.ros.dds_profile import prepare_ros_environment

TYPES: dict[str, type] = {
    "BodyArray": BodyArray,
    "Image": Image,
    "MarkerArray": MarkerArray,
    "PointCloud2": PointCloud2,
}
DROPPED = "dropped: "  # prefix of the node's drop counters in /diagnostics
DEPTH = 5
DIAGNOSTICS_TIMEOUT_S = 10.0


class ResultSubscriber:
    """Subscribes to topics on request and records their arrivals."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._subscriptions: dict[str, Subscription] = {}
        self._arrivals: dict[str, list[tuple[int, int]]] = {}
        self._people: dict[int, int] = {}
        self._measured_ms: list[tuple[int, float]] = []  # stamp, age of a person's measurement
        self._diagnostics: dict[str, tuple[int, dict[str, str]]] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def spin_once(self) -> None:
        """Handle one message, or wait briefly for it."""
        self._executor.spin_once(timeout_sec=0.05)

    def handle(self, request: Request) -> Response:
        """Answer ``subscribe``, ``clear``, ``report``, ``diagnostics`` or ``unsubscribe``."""
        match request["command"]:
            case "subscribe":
                self._subscribe(request["topics"])
                return {"publishers": min(map(self._node.count_publishers, request["topics"]))}
            case "clear":
                self._people.clear()
                self._measured_ms.clear()
                for arrivals in self._arrivals.values():
                    arrivals.clear()
                return {}
            case "report":
                return {
                    "arrivals": self._arrivals,
                    "people": list(self._people.items()),
                    "measured_ms": self._measured_ms,
                }
            case "diagnostics":
                return self._fresh_diagnostics(request["node"])
            case _:
                self._unsubscribe()
                return {}

    def _subscribe(self, topics: dict[str, str]) -> None:
        """Subscribe to ``topics`` (name: message type) unless that is done already."""
        for topic, type_name in topics.items():
            if topic not in self._subscriptions:
                self._arrivals[topic] = []
                raw = type_name not in ("BodyArray", "MarkerArray")
                callback, qos = self._recorder(topic, type_name), QoSProfile(depth=DEPTH)
                self._subscriptions[topic] = self._node.create_subscription(
                    TYPES[type_name], topic, callback, qos, raw=raw
                )

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._arrivals.clear()

    def _recorder(self, topic: str, type_name: str) -> Callable[[Any], None]:
        """The callback of a topic: appends (stamp, time of arrival), and counts people."""
        arrivals = self._arrivals[topic]

        def on_bodies(message: BodyArray) -> None:
            stamp_ns = nanoseconds(message.header.stamp)
            now_ns = time.time_ns()
            arrivals.append((stamp_ns, now_ns))
            confirmed = [
                body for body in message.bodies if body.state in (body.TRACKED, body.PREDICTED)
            ]
            self._people[stamp_ns] = len(confirmed)
            latency_ms = (now_ns - stamp_ns) * 1e-6
            self._measured_ms += [
                (stamp_ns, latency_ms + 1e3 * body.measurement_age) for body in confirmed
            ]

        def on_markers(message: MarkerArray) -> None:
            if message.markers:  # an empty array does not tell which frame it describes
                stamp_ns = nanoseconds(message.markers[0].header.stamp)
                arrivals.append((stamp_ns, time.time_ns()))
                if topic.endswith("/skeleton"):
                    people = sum(bool(marker.points) for marker in message.markers)
                    self._people[stamp_ns] = people

        def on_bytes(message: bytes) -> None:
            arrivals.append((stamp_of_bytes(message), time.time_ns()))

        return {"BodyArray": on_bodies, "MarkerArray": on_markers}.get(type_name, on_bytes)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._diagnostics[status.name] = (time.time_ns(), values)

    def _fresh_diagnostics(self, node: str) -> Response:
        """Wait for diagnostics that ``node`` publishes from now on.

        Raises:
            BenchmarkError: none arrived in time.
        """
        now_ns, deadline_s = time.time_ns(), time.monotonic() + DIAGNOSTICS_TIMEOUT_S
        of_input, of_engine = f"{node}: input", f"{node}: engine"
        while self._diagnostics.get(of_engine, (0, {}))[0] < now_ns:
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"{node} publishes no diagnostics.")
            self.spin_once()
        counters = self._diagnostics[of_input][1]
        return {
            "drops": {
                key.removeprefix(DROPPED): int(value)
                for key, value in counters.items()
                if key.startswith(DROPPED)
            },
            "engine": self._diagnostics[of_engine][1],
        }


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def stamp_of_bytes(message: bytes) -> int:
    """The stamp, in nanoseconds, of a serialised message that begins with a Header."""
    order = "<" if message[1] & 1 else ">"  # CDR: four bytes that name its kind and byte order
    seconds, rest = struct.unpack_from(f"{order}iI", message, 4)
    return int(seconds) * 10**9 + int(rest)


def main() -> None:
    """Serve requests until standard input ends."""
    prepare_ros_environment()
    rclpy.init()
    subscriber = ResultSubscriber(rclpy.create_node("benchmark_subscriber"))
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        serve(subscriber.handle, subscriber.spin_once)


if __name__ == "__main__":
    main()
