# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Participants of DDS that come and go: a camera, and subscribers of results."""

import array
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from thfm_ros.ros.benchmark.clip import people_clip
from thfm_ros.ros.endurance.phases import Phase
from thfm_ros.ros.endurance.records import Record
from thfm_ros.ros.replay.calibration import pinhole

NODE = "/thfm"
"""Name of the node."""
REQUEST_AGAIN_S = 10.0  # an unanswered request of a service is sent again after this time
_FRAMES = 12  # images of the clip that are published in turn
_FIELD_OF_VIEW_DEG = 60.0
_KINDS = {"points": PointCloud2, "markers": MarkerArray}  # other topics are images


class Participant:
    """A participant of DDS of its own, with one node."""

    def __init__(self, name: str, domain_id: int) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self.node: Node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Subscribe to results and drop what comes."""
        for topic in topics:
            kind = _KINDS.get(topic, Image)
            self.node.create_subscription(kind, f"{NODE}/{topic}", _drop, QoSProfile(depth=1))

    def spin(self, timeout_s: float) -> None:
        """Handle one message if one comes in time."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def call(
        self,
        kind: type,
        service: str,
        request: Any,
        done_otherwise: Callable[[], Any],
        wait: Callable[[Callable[[], bool], str], None],
    ) -> Any:
        """Call a service of the node with a client that exists only for that.

        A response is lost if the node has not discovered the client's reader when it answers, so
        an unanswered request is sent again after `REQUEST_AGAIN_S`.

        Args:
            kind: type of the service.
            service: its name below that of the node.
            request: of that type.
            done_otherwise: asked before the request is sent again: a response if what was
                requested has been done, else None.
            wait: spins until a condition is true, or raises an error that says for what it waited.
        """
        client = self.node.create_client(kind, f"{NODE}/{service}")
        futures: list[Any] = []
        response: Any = None
        due_s = 0.0

        def answered() -> bool:
            nonlocal response, due_s
            response = next((future.result() for future in futures if future.done()), None)
            if response is None and time.monotonic() >= due_s:
                response = done_otherwise() if futures else None
                if response is None:
                    futures.append(client.call_async(request))
                due_s = time.monotonic() + REQUEST_AGAIN_S
            return response is not None

        try:
            wait(client.service_is_ready, f"offers {service}")
            wait(answered, f"answers {service}")
            return response
        finally:
            self.node.destroy_client(client)

    def close(self) -> None:
        """Leave."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self._context.destroy()


class Camera(Participant):
    """Publishes images at the rate of a phase, stamped with the time."""

    def __init__(self, phase: Phase, domain_id: int, record: Record) -> None:
        super().__init__("camera", domain_id)
        self._phase, self._record = phase, record
        self._images: Publisher = self.node.create_publisher(Image, "/image", 1)
        self._infos: Publisher = self.node.create_publisher(CameraInfo, "/camera_info", 1)
        self._messages = _messages(phase.people, phase.width, phase.height)
        self._info = pinhole(phase.width, phase.height, _FIELD_OF_VIEW_DEG)
        self._stamps: list[int] = []
        self._due_s = time.monotonic()

    def publish_if_due(self) -> None:
        """Publish an image, and its camera_info, if it is time; late ones are left out."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        period_s = 1 / self._phase.rate_hz
        self._due_s = max(self._due_s + period_s, now_s)
        image = self._messages[len(self._stamps) % len(self._messages)]
        stamp_ns = time.time_ns()
        for message in (image, self._info):
            message.header.frame_id = "camera_optical_frame"
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._stamps.append(stamp_ns)
        self._record.published_ns.add(stamp_ns)
        if self._phase.calibrated:
            self._infos.publish(self._info)
        self._images.publish(image)

    def published_after(self, stamp_ns: int) -> int:
        """Number of its images that are newer."""
        return sum(stamp > stamp_ns for stamp in self._stamps[-100:])


def _drop(_: Any) -> None:
    """A callback that does nothing."""


@lru_cache(maxsize=8)
def _messages(people: int, width: int, height: int) -> list[Image]:
    """Images of the street clip that can be repeated without a jump."""
    frames = people_clip(people, width, height)[:_FRAMES]
    messages = []
    for rgb in [*frames, *frames[-2:0:-1]]:
        message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
        message.data = array.array("B", rgb.tobytes())
        messages.append(message)
    return messages
