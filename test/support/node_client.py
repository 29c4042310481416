# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A camera, subscriptions and a service client for a perception node in another process."""

import array
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from fake_engine import image
from fake_node import CAMERA
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_process import (
    TIMEOUT_S,
    Listener,
    NodeProcess,
    ros_arguments,
    stamp_ns,
    started,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from thfm_ros.ros.to_msg.camera_info import camera_info_from_intrinsics

SUPPORT = Path(__file__).resolve().parent
CALL_RETRY_S = 10.0  # an unanswered request of a service is sent again after this time
REACHED_STATES = {
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
}
RETRY_S = 2.0  # an image that gave no result for this long was lost: images are best effort


@contextmanager
def fake_node(
    log: Path, parameters: dict[str, object] | None = None, **environment: str
) -> Iterator[NodeProcess]:
    """The node with the engine of fake_node.py, in a process of its own."""
    original = dict(os.environ)
    os.environ.update(environment, PYTHONPATH=str(SUPPORT))
    settings = {"diagnostics_period_s": 0.2, **(parameters or {})}
    try:
        with started("fake_node", ros_arguments(settings), log) as process:
            os.environ.clear()
            os.environ.update(original)
            yield process
    finally:
        os.environ.clear()
        os.environ.update(original)


class Client:
    """Publishes to the node ``/thfm`` and receives from it; failures show the node's log."""

    def __init__(self, listener: Listener, process: NodeProcess) -> None:
        self.listener, self.process = listener, process
        self.node = listener.node
        self._image = self.node.create_publisher(Image, "image", 1)
        self._info = self.node.create_publisher(CameraInfo, "camera_info", 1)
        self._compressed = self.node.create_publisher(CompressedImage, "image/compressed", 1)
        listener.listen(DiagnosticArray, "/diagnostics")
        self.newest_ns = 0  # stamp of the newest image

    def listen(self, kind: type, topic: str, qos: Any = 50) -> list[Any]:
        """Subscribe; the list grows as messages arrive. A relative name is below the node's."""
        full = topic if topic.startswith("/") else f"/thfm/{topic}"
        self.listener.listen(kind, full, qos)
        return self.listener.received[full]

    def wait(self, until: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Receive messages until the condition is true.

        Raises:
            AssertionError: it did not become true; the text has ``what`` and the node's log.
        """
        if not self.listener.wait(lambda: bool(until()), timeout_s):
            raise AssertionError(f"did not happen: {what}\n{self.process.text()}")

    def wait_for_subscription(self) -> None:
        """Wait until the node has subscribed to the camera."""
        self.wait(lambda: self._image.get_subscription_count(), "the node subscribes to image")

    def publish(
        self,
        rgb: np.ndarray | None = None,
        *,
        stamp_ns: int | None = None,
        calibrated: bool = True,
        frame_id: str = "camera",
        **changes: Any,
    ) -> int:
        """Publish the fake scene, or ``rgb``, with ``changes`` to the message; its stamp."""
        rgb = image(CAMERA) if rgb is None else rgb
        self.newest_ns = max(self.newest_ns + 1, time.time_ns()) if stamp_ns is None else stamp_ns
        msg = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=3 * rgb.shape[1])
        msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(self.newest_ns, 1_000_000_000)
        msg.header.frame_id = frame_id
        msg.data = array.array("B", np.ascontiguousarray(rgb).tobytes())
        for name, value in changes.items():
            setattr(msg, name, value)
        if calibrated:
            self._info.publish(camera_info_from_intrinsics(CAMERA, msg.header))
        self._image.publish(msg)
        return self.newest_ns

    def publish_compressed(self, data: bytes) -> None:
        """Publish a compressed image."""
        msg = CompressedImage(format="jpeg", data=array.array("B", data))
        self.newest_ns = max(self.newest_ns + 1, time.time_ns())
        msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(self.newest_ns, 1_000_000_000)
        msg.header.frame_id = "camera"
        self._compressed.publish(msg)

    def stream(
        self,
        until: Callable[[], Any],
        what: str,
        *,
        send: Callable[[], Any] | None = None,
        rate_hz: float = 20.0,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Call ``send``, or publish images, until the condition is true; see `wait`.

        At ``rate_hz``, or as fast as this process can receive what the node publishes.
        """
        end = time.monotonic() + timeout_s
        due = time.monotonic()
        while not until():
            if time.monotonic() > end:
                raise AssertionError(f"did not happen: {what}\n{self.process.text()}")
            if time.monotonic() >= due:
                (send or self.publish)()
                due = time.monotonic() + 1 / rate_hz
            self.listener.spin(min(0.05, max(0.0, due - time.monotonic())))

    def exchange(
        self,
        results: Sequence[list[Any]],
        *,
        send: Callable[[], int] | None = None,
        lossless: bool = False,
    ) -> int:
        """Publish an image and wait until every list has its result; its stamp.

        So no result is replaced by the next one before a subscription has received it. An image
        without results is followed by another one after `RETRY_S`.

        Args:
            results: what `listen` returned.
            send: publishes an image and returns its stamp; None: `publish`.
            lossless: a result in one list must get into all; otherwise another image is published
                then, too. Only for subscriptions that the node is known to have discovered.

        Raises:
            AssertionError: no image has a result in every list; the text has the node's log.
        """
        stamps: list[int] = []
        end = retry = time.monotonic()
        end += TIMEOUT_S
        while time.monotonic() < end:
            of_each = [{stamp_ns(each) for each in messages[-50:]} for messages in results]
            seen = set(stamps).intersection(set().union(*of_each))
            if seen and all(max(seen) in each for each in of_each):
                return max(seen)
            if time.monotonic() >= retry and not (lossless and seen):
                stamps.append((send or self.publish)())
                retry = time.monotonic() + RETRY_S
            self.listener.spin()
        counts = [len(messages) for messages in results]
        raise AssertionError(f"no image has all results: {counts}\n{self.process.text()}")

    def status(self, component: str) -> tuple[int, str, dict[str, str]]:
        """Level, message and values of the newest diagnostics about a component of the node."""
        for message in reversed(self.listener.received["/diagnostics"]):
            for status in message.status:
                if status.name == f"thfm: {component}":
                    values = {pair.key: pair.value for pair in status.values}
                    return status.level[0], status.message, values
        return -1, "", {}

    def call(self, kind: type, service: str, request: Any) -> Any:
        """Call a service below the node's name and return its response.

        A response is lost if the server has not discovered the client's reader within 100 ms of
        the request, so an unanswered request is sent again; the services are idempotent.
        """
        return self._call(kind, service, request, lambda: None)

    def _call(
        self, kind: type, service: str, request: Any, answered_otherwise: Callable[[], Any]
    ) -> Any:
        """The response, or what ``answered_otherwise`` returns before a request is sent again."""
        client = self.node.create_client(kind, f"/thfm/{service}")
        try:
            self.wait(client.service_is_ready, f"service {service}")
            futures = []
            give_up = time.monotonic() + TIMEOUT_S
            while time.monotonic() < give_up:
                futures.append(client.call_async(request))
                retry = time.monotonic() + CALL_RETRY_S
                while time.monotonic() < retry:
                    self.listener.spin()
                    for future in futures:
                        if future.done():
                            return future.result()
                if (response := answered_otherwise()) is not None:
                    return response
            raise AssertionError(f"no response of {service}\n{self.process.text()}")
        finally:
            self.node.destroy_client(client)

    def change_state(self, label: str) -> bool:
        """Request a lifecycle transition by its name; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = label

        def reached() -> ChangeState.Response | None:
            # Of a transition that was made, but whose response was lost: it cannot be repeated.
            is_reached = self.state() == REACHED_STATES[label]
            return ChangeState.Response(success=True) if is_reached else None

        return bool(self._call(ChangeState, "change_state", request, reached).success)

    def state(self) -> str:
        """The name of the lifecycle state."""
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def set_parameter(self, name: str, value: object) -> tuple[bool, str]:
        """Set a parameter; whether it was accepted, and the reason if not."""
        request = SetParameters.Request(parameters=[Parameter(name=name, value=_value(value))])
        (result,) = self.call(SetParameters, "set_parameters", request).results
        return bool(result.successful), str(result.reason)


def _value(value: object) -> ParameterValue:
    if isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    if isinstance(value, int):
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(value))
