# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The fusion node over DDS, in the process of the test: bodies of cameras in, people out."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_process import stamp_ns
from simulated_cameras import PLACES, Person, seen
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.contract import Intrinsics, Perception
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.ros.fusion_node import FusionNode
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.transform import transformed_perception

pytestmark = pytest.mark.ros

TIMEOUT_S = 300.0
RETRY_S = 1.0
ANN = Person("ann", (-0.3, 0.2), (0.3, 0.0), 1.57)
CAMERAS = ("front", "right")
IDENTITY_POSES = [
    f"{name}_optical {x} {y} {z} 0 0 0" for name, (x, y, z) in PLACES.items() if name in CAMERAS
]
"""The simulated cameras' frames have the axes of the world."""


def message(camera: str, people: list[Person], stamp_ns: int, frame_id: str = "") -> BodyArray:
    """What a camera's node publishes in the camera's frame."""
    bodies = tuple(seen(person, camera, 0.5) for person in people)
    k = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
    in_world = Perception(stamp_ns, "", 640, 480, k, bodies)
    in_camera = transformed_perception(in_world, np.eye(3), -PLACES[camera], None)
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    header = Header(frame_id=frame_id or f"{camera}_optical", stamp=Time(sec=sec, nanosec=nanosec))
    return BodyArrayMaker(ros_message).array(in_camera, header)


class Bench:
    """The fusion node, the publishers of two cameras, and what the node publishes."""

    def __init__(self, **parameters: Any) -> None:
        values = {
            "inputs": [f"/{name}/thfm/bodies" for name in CAMERAS],
            "camera_poses": IDENTITY_POSES,
            "diagnostics_period_s": 0.1,
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.fusion = FusionNode(parameter_overrides=overrides)
        self.node = rclpy.create_node("cameras")
        self.executor = SingleThreadedExecutor()
        for each in (self.fusion, self.node):
            self.executor.add_node(each)
        self.publishers = {
            name: self.node.create_publisher(BodyArray, f"/{name}/thfm/bodies", 5)
            for name in CAMERAS
        }
        self.bodies = self.listen(BodyArray, "/fusion/bodies")
        self.markers = self.listen(MarkerArray, "/fusion/markers")
        self.diagnostics = self.listen(DiagnosticArray, "/diagnostics")

    def listen(self, kind: type, topic: str) -> list[Any]:
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, 50)
        return received

    def until(self, condition: Callable[[], Any], send: Callable[[], Any] | None = None) -> None:
        """Spin until the condition is true.

        ``send`` is called again when the people of its stamp were received, or after RETRY_S: at
        the pace of the machine.
        """
        end, retry, stamp = time.monotonic() + TIMEOUT_S, 0.0, 0
        while not condition():
            assert time.monotonic() < end, [self.status(f"camera {c}/thfm") for c in CAMERAS]
            answered = bool(self.bodies) and stamp_ns(self.bodies[-1]) == stamp
            if send and (answered or time.monotonic() >= retry):
                stamp, retry = send() or 0, time.monotonic() + RETRY_S
            self.executor.spin_once(timeout_sec=0.01)

    def send(
        self, frame_ids: tuple[str, str] = ("", ""), people: tuple[Person, ...] = (ANN,)
    ) -> int:
        """Both cameras publish; the stamp."""
        stamp_ns = time.time_ns()
        for name, frame_id in zip(CAMERAS, frame_ids, strict=True):
            self.publishers[name].publish(message(name, list(people), stamp_ns, frame_id))
        return stamp_ns

    def status(self, component: str) -> tuple[int, str]:
        """Level and message of the newest diagnostics about a component."""
        for array in reversed(self.diagnostics):
            for status in array.status:
                if status.name == f"fusion: {component}":
                    return status.level[0], status.message
        return -1, ""

    def close(self) -> None:
        self.fusion.end()
        self.executor.shutdown()
        self.fusion.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    rclpy.init()
    benches: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        benches.append(Bench(**parameters))
        benches[-1].fusion.start()
        return benches[-1]

    yield make
    for each in benches:
        each.close()
    rclpy.try_shutdown()


def test_people_of_two_cameras_are_published_once_in_the_target_frame(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    stamps: list[int] = []

    def fused_from_both() -> bool:
        return any(m.bodies and m.bodies[0].root_covariance[3] < 0.06 for m in bench.bodies)

    def send() -> int:
        stamps.append(bench.send())
        return stamps[-1]

    bench.until(fused_from_both, send)
    newest = bench.bodies[-1]
    assert newest.header.frame_id == "map" and len(newest.bodies) == 1
    assert stamp_ns(newest) in stamps
    root = newest.bodies[0].root
    assert np.linalg.norm([root.x, root.y, root.z] - ANN.root(0.5)) < 0.1
    assert (newest.image_width, newest.metric) == (0, True)
    assert {m.id for m in [b for each in bench.bodies for b in each.bodies]} == {
        newest.bodies[0].id
    }
    bench.until(lambda: bench.markers, bench.send)
    assert bench.markers[-1].markers[0].header.frame_id == "map"
    bench.until(lambda: bench.status("people")[1] == "1 people", bench.send)


def test_two_nodes_on_one_topic_are_named_and_not_used(make: Callable[..., Bench]) -> None:
    bench = make()
    other = rclpy.create_node("thfm", namespace="/copy")
    second = other.create_publisher(BodyArray, "/left_over", 1)
    try:
        for name in CAMERAS:
            other.create_publisher(BodyArray, f"/{name}/thfm/bodies", 1)
        bench.until(lambda: "2 publishers" in bench.status("camera front/thfm")[1], bench.send)
        level, text = bench.status("camera front/thfm")
        assert level == 2 and "/copy/thfm" in text and "one name" in text
        bench.bodies.clear()
        for _ in range(5):
            bench.send()
            bench.executor.spin_once(timeout_sec=0.02)
        assert bench.bodies == []
    finally:
        other.destroy_publisher(second)
        other.destroy_node()


def test_a_camera_without_a_transform_is_named_and_the_other_one_used(
    make: Callable[..., Bench],
) -> None:
    bench = make(transform_timeout_s=0.02)
    send = lambda: bench.send(("", "unknown_optical"))  # noqa: E731
    bench.until(lambda: "unknown_optical" in bench.status("camera right/thfm")[1], send)
    assert bench.status("camera right/thfm")[0] == 2
    bench.until(lambda: bench.bodies, send)
    assert bench.status("camera front/thfm")[0] <= 1


def test_deactivating_removes_markers_and_ends_the_subscriptions(
    make: Callable[..., Bench],
) -> None:
    bench = make()
    bench.until(lambda: bench.bodies, bench.send)
    assert bench.fusion.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert not bench.fusion.get_subscriptions_info_by_topic("/front/thfm/bodies")
    bench.until(lambda: bench.markers and bench.markers[-1].markers[-1].action == Marker.DELETEALL)
    assert bench.fusion.trigger_activate() == TransitionCallbackReturn.SUCCESS
    count = len(bench.bodies)
    bench.until(lambda: len(bench.bodies) > count, bench.send)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"inputs": [""]}, "inputs is empty"),
        ({"inputs": ["/a/bodies", "/a/bodies"]}, "two cameras cannot have one name"),
        ({"target_frame": ""}, "target_frame is empty"),
        ({"camera_poses": ["front_optical 1 2"]}, "FRAME_ID X Y Z"),
    ],
)
def test_parameters_that_cannot_be_used_are_an_error_of_configuring(
    make: Callable[..., Bench], parameters: dict[str, Any], reason: str
) -> None:
    bench = make(**parameters)
    bench.until(lambda: reason in bench.status("fusion")[1])
    assert bench.status("fusion")[0] == 2


def test_parameters_are_refused_while_the_node_is_configured(make: Callable[..., Bench]) -> None:
    fusion = make().fusion
    (result,) = fusion.set_parameters([Parameter("max_delay_s", value=1.0)])
    assert not result.successful and "deactivate" in result.reason
    (result,) = fusion.set_parameters([Parameter("max_delay_s", value=-1.0)])
    assert not result.successful and "max_delay_s" in result.reason
    fusion.trigger_deactivate()
    fusion.trigger_cleanup()
    (result,) = fusion.set_parameters([Parameter("max_delay_s", value=1.0)])
    assert result.successful


def test_resetting_forgets_all_people(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.until(lambda: bench.bodies and bench.bodies[-1].bodies, bench.send)
    before = bench.bodies[-1].bodies[0].id
    assert bench.fusion._session is not None
    bench.fusion._session.reset()
    far = replace(ANN, name="eve", start=(1.5, -1.5))
    bench.until(
        lambda: any(b.id != before for b in bench.bodies[-1].bodies),
        lambda: bench.send(people=(far,)),
    )
