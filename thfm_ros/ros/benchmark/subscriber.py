"""The audience of the benchmark: notes when each result arrives, in a process of its own.

Images are taken as bytes, so that Python's decoding of messages nobody looks at does not slow
down what is measured; skeletons are decoded, since everybody who wants them does.
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
from thfm_ros.ros.benchmark.subprocesses import Answer, BenchmarkError, Order, serve
from thfm_ros.ros.dds_profile import prepare

TYPES: dict[str, type] = {
    "BodyArray": BodyArray,
    "Image": Image,
    "MarkerArray": MarkerArray,
    "PointCloud2": PointCloud2,
}
DROPPED = "dropped: "  # begins the names of the node's counters in /diagnostics
DEPTH = 5
DIAGNOSTICS_TIMEOUT_S = 10.0


class Audience:
    """Subscribes to what it is ordered to."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._subscriptions: dict[str, Subscription] = {}
        self._arrivals: dict[str, list[tuple[int, int]]] = {}
        self._people: dict[int, int] = {}
        self._diagnostics: dict[str, tuple[int, dict[str, str]]] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def idle(self) -> None:
        """Take what has arrived, or wait for it a little."""
        self._executor.spin_once(timeout_sec=0.05)

    def handle(self, order: Order) -> Answer:
        """``listen``, ``begin``, ``report``, ``diagnostics`` or ``leave``."""
        match order["do"]:
            case "listen":
                self._listen(order["topics"])
                return {"publishers": min(map(self._node.count_publishers, order["topics"]))}
            case "begin":
                self._people.clear()
                for arrivals in self._arrivals.values():
                    arrivals.clear()
                return {}
            case "report":
                return {"arrivals": self._arrivals, "people": list(self._people.items())}
            case "diagnostics":
                return self._fresh_diagnostics(order["node"])
            case _:
                self._leave()
                return {}

    def _listen(self, topics: dict[str, str]) -> None:
        """Subscribe to ``topics`` (name: type), once."""
        for topic, kind in topics.items():
            if topic not in self._subscriptions:
                self._arrivals[topic] = []
                raw = kind not in ("BodyArray", "MarkerArray")
                self._subscriptions[topic] = self._node.create_subscription(
                    TYPES[kind], topic, self._noting(topic, kind), QoSProfile(depth=DEPTH), raw=raw
                )

    def _leave(self) -> None:
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._arrivals.clear()

    def _noting(self, topic: str, kind: str) -> Callable[[Any], None]:
        arrivals = self._arrivals[topic]

        def on_bodies(message: BodyArray) -> None:
            stamp_ns = nanoseconds(message.header.stamp)
            arrivals.append((stamp_ns, time.time_ns()))
            self._people[stamp_ns] = sum(body.state == body.TRACKED for body in message.bodies)

        def on_markers(message: MarkerArray) -> None:
            if message.markers:  # without one, nothing says which frame it is about
                stamp_ns = nanoseconds(message.markers[0].header.stamp)
                arrivals.append((stamp_ns, time.time_ns()))
                if topic.endswith("/skeleton"):
                    self._people[stamp_ns] = sum(bool(each.points) for each in message.markers)

        def on_bytes(message: bytes) -> None:
            arrivals.append((stamp_of_bytes(message), time.time_ns()))

        return {"BodyArray": on_bodies, "MarkerArray": on_markers}.get(kind, on_bytes)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {each.key: each.value for each in status.values}
            self._diagnostics[status.name] = (time.time_ns(), values)

    def _fresh_diagnostics(self, node: str) -> Answer:
        """What ``node`` says about itself from now on."""
        now_ns, patience_until = time.time_ns(), time.monotonic() + DIAGNOSTICS_TIMEOUT_S
        of_input, of_engine = f"{node}: input", f"{node}: engine"
        while self._diagnostics.get(of_engine, (0, {}))[0] < now_ns:
            if time.monotonic() > patience_until:
                raise BenchmarkError(f"{node} publishes no diagnostics.")
            self.idle()
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
    """A builtin_interfaces/Time."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def stamp_of_bytes(message: bytes) -> int:
    """The stamp of a serialised message that begins with a Header, nanoseconds."""
    order = "<" if message[1] & 1 else ">"  # CDR: four bytes that name its kind and byte order
    seconds, rest = struct.unpack_from(f"{order}iI", message, 4)
    return int(seconds) * 10**9 + int(rest)


def main() -> None:
    """Take orders until there are no more."""
    prepare()
    rclpy.init()
    audience = Audience(rclpy.create_node("benchmark_audience"))
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        serve(audience.handle, audience.idle)


if __name__ == "__main__":
    main()
