"""The camera of the benchmark: real images at an exact rate over DDS, from a process of its own.

Orders are those of `Load`; the answer is `Sent`. Each image is stamped just before it is
published, and published when it is due: a late one does not shift those after it.
"""

import array
import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from thfm_ros.ros.benchmark.clip import people_clip
from thfm_ros.ros.benchmark.resource_usage import Meter, Usage
from thfm_ros.ros.benchmark.subprocesses import Answer, BenchmarkError, Order, serve
from thfm_ros.ros.dds_profile import prepare
from thfm_ros.ros.replay.calibration import pinhole

FRAME_ID = "camera_optical_frame"
FIELD_OF_VIEW_DEG = 60.0
SETTLE_S = 0.3  # what is under way at the end may arrive


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to publish: ``warmup_s`` that are not counted, then ``seconds`` that are."""

    namespace: str  # of the topics image and camera_info
    people: int
    width: int
    height: int
    rate_hz: float
    warmup_s: float
    seconds: float
    pids: Mapping[str, int]  # processes that are metered while it counts


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was published."""

    warmup_ns: list[int]  # stamps
    counted_ns: list[int]
    usage: Usage


@dataclass(frozen=True)
class _Outlet:
    images: Publisher
    infos: Publisher


class Camera:
    """Publishes what it is ordered to."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._outlets: dict[str, _Outlet] = {}

    def handle(self, order: Order) -> Answer:
        """``{"do": "match" | "send", ...}``, see `Load`."""
        if order.pop("do") == "match":
            return {"subscribers": self._outlet(order["namespace"]).images.get_subscription_count()}
        return asdict(self.send(Load(**order)))

    def send(self, load: Load) -> Sent:
        """Publish all of it; returns when that is done."""
        outlet = self._outlet(load.namespace)
        if not outlet.images.get_subscription_count():
            raise BenchmarkError(f"Nobody subscribes to {load.namespace}/image.")
        messages = _messages(load.people, load.width, load.height)
        meter = Meter(load.pids)
        warmup = round(load.warmup_s * load.rate_hz)
        count = warmup + round(load.seconds * load.rate_hz)
        stamps: list[int] = []
        began_ns = time.time_ns()
        for number in range(count):
            _sleep_until(began_ns + round(number * 1e9 / load.rate_hz))
            if number == warmup:
                meter.begin()
            stamps.append(_publish(outlet, messages[number % len(messages)], load))
            if number >= warmup:
                meter.look()
        # The counted span lasts until the next image would be due.
        _sleep_until(began_ns + round(count * 1e9 / load.rate_hz))
        usage = meter.end()
        time.sleep(SETTLE_S)
        return Sent(warmup_ns=stamps[:warmup], counted_ns=stamps[warmup:], usage=usage)

    def _outlet(self, namespace: str) -> _Outlet:
        if namespace not in self._outlets:
            qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
            self._outlets[namespace] = _Outlet(
                self._node.create_publisher(Image, f"{namespace}/image", qos),
                self._node.create_publisher(CameraInfo, f"{namespace}/camera_info", qos),
            )
        return self._outlets[namespace]


@lru_cache(maxsize=2)  # a clip of 1280x720 is 216 MB
def _messages(people: int, width: int, height: int) -> list[Image]:
    messages = []
    for image in people_clip(people, width, height):
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.frame_id = FRAME_ID
        message.data = array.array("B", image.tobytes())
        messages.append(message)
    return messages


def _publish(outlet: _Outlet, image: Image, load: Load) -> int:
    info = pinhole(load.width, load.height, FIELD_OF_VIEW_DEG)
    info.header.frame_id = FRAME_ID
    now_ns = time.time_ns()
    for message in (info, image):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
    outlet.infos.publish(info)
    outlet.images.publish(image)
    return now_ns


def _sleep_until(moment_ns: int) -> None:
    wait_ns = moment_ns - time.time_ns()
    if wait_ns > 0:
        time.sleep(wait_ns / 1e9)


def main() -> None:
    """Take orders until there are no more."""
    prepare()
    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    with contextlib.suppress(KeyboardInterrupt):
        serve(Camera(node).handle)


if __name__ == "__main__":
    main()
