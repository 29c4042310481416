# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The simulated camera of the benchmark: publishes real images at an exact rate, in a process.

Requests are those of `PublishRequest`; the response is `PublishResult`. Each image is stamped
just before it is published, at its scheduled time: a late image does not delay the following ones.
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
from thfm_ros.ros.benchmark.resource_usage import ResourceUsage, UsageMeter
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, Request, Response, serve
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.replay.calibration import pinhole

FRAME_ID = "camera_optical_frame"
FIELD_OF_VIEW_DEG = 60.0
SETTLE_S = 0.3  # after the last image, for results that are still in flight


@dataclass(frozen=True, kw_only=True)
class PublishRequest:
    """What to publish: ``warmup_s`` that are not counted, then ``seconds`` that are."""

    namespace: str  # of the topics image and camera_info
    people: int
    width: int
    height: int
    rate_hz: float
    warmup_s: float
    seconds: float
    pids: Mapping[str, int]  # processes whose usage is measured while frames are counted


@dataclass(frozen=True, kw_only=True)
class PublishResult:
    """Stamps of the published images, and the usage while they were counted."""

    warmup_ns: list[int]
    counted_ns: list[int]
    usage: ResourceUsage


@dataclass(frozen=True)
class _Publishers:
    images: Publisher
    infos: Publisher


class Camera:
    """Publishes images on request."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publishers: dict[str, _Publishers] = {}

    def handle(self, request: Request) -> Response:
        """Answer ``{"command": "count_subscribers" | "publish", ...}``, see `PublishRequest`."""
        if request.pop("command") == "count_subscribers":
            images = self._publishers_of(request["namespace"]).images
            return {"subscribers": images.get_subscription_count()}
        return asdict(self.publish(PublishRequest(**request)))

    def publish(self, request: PublishRequest) -> PublishResult:
        """Publish all images of the request; returns when that is done.

        Raises:
            BenchmarkError: nothing subscribes to the images.
        """
        publishers = self._publishers_of(request.namespace)
        if not publishers.images.get_subscription_count():
            raise BenchmarkError(f"{request.namespace}/image has no subscriber.")
        messages = _messages(request.people, request.width, request.height)
        meter = UsageMeter(request.pids)
        warmup = round(request.warmup_s * request.rate_hz)
        count = warmup + round(request.seconds * request.rate_hz)
        stamps: list[int] = []
        started_ns = time.time_ns()
        for index in range(count):
            _sleep_until(started_ns + round(index * 1e9 / request.rate_hz))
            if index == warmup:
                meter.start()
            stamps.append(_publish(publishers, messages[index % len(messages)], request))
            if index >= warmup:
                meter.sample_memory()
        # The counted span lasts until the next image would be due.
        _sleep_until(started_ns + round(count * 1e9 / request.rate_hz))
        usage = meter.stop()
        time.sleep(SETTLE_S)
        return PublishResult(warmup_ns=stamps[:warmup], counted_ns=stamps[warmup:], usage=usage)

    def _publishers_of(self, namespace: str) -> _Publishers:
        if namespace not in self._publishers:
            qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
            self._publishers[namespace] = _Publishers(
                self._node.create_publisher(Image, f"{namespace}/image", qos),
                self._node.create_publisher(CameraInfo, f"{namespace}/camera_info", qos),
            )
        return self._publishers[namespace]


@lru_cache(maxsize=2)  # a clip of 1280x720 is 216 MB
def _messages(people: int, width: int, height: int) -> list[Image]:
    messages = []
    for image in people_clip(people, width, height):
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.header.frame_id = FRAME_ID
        message.data = array.array("B", image.tobytes())
        messages.append(message)
    return messages


def _publish(publishers: _Publishers, image: Image, request: PublishRequest) -> int:
    """Stamp and publish an image with its camera info; returns the stamp in nanoseconds."""
    info = pinhole(request.width, request.height, FIELD_OF_VIEW_DEG)
    info.header.frame_id = FRAME_ID
    now_ns = time.time_ns()
    for message in (info, image):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns, 10**9)
    publishers.infos.publish(info)
    publishers.images.publish(image)
    return now_ns


def _sleep_until(time_ns: int) -> None:
    wait_ns = time_ns - time.time_ns()
    if wait_ns > 0:
        time.sleep(wait_ns / 1e9)


def main() -> None:
    """Serve requests until standard input ends."""
    prepare_ros_environment()
    rclpy.init()
    node = rclpy.create_node("benchmark_camera")
    with contextlib.suppress(KeyboardInterrupt):
        serve(Camera(node).handle)


if __name__ == "__main__":
    main()
