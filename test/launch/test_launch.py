# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The launch files, launched; runs where ROS 2 is installed with launch and launch_pytest (apt)."""

import time
from pathlib import Path
from typing import Any

import pytest

launch = pytest.importorskip(
    "launch", reason="launch is not installed: it is part of an apt ROS 2, not of the wheels"
)
launch_pytest = pytest.importorskip(
    "launch_pytest",
    reason="launch_pytest is not installed: sudo apt install ros-$ROS_DISTRO-launch-pytest",
)

import rclpy  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

from thfm_ros.msg import BodyArray  # noqa: E402
from thfm_ros.ros.dds_profile import share_folder  # noqa: E402

pytestmark = pytest.mark.ros


def included(name: str, arguments: dict[str, str]) -> Any:
    source = PythonLaunchDescriptionSource(str(share_folder() / "launch" / name))
    included = IncludeLaunchDescription(source, launch_arguments=list(arguments.items()))
    ready = launch_pytest.actions.ReadyToTest()
    return launch.LaunchDescription([included, ready])


@launch_pytest.fixture  # type: ignore[untyped-decorator]
def demo() -> Any:
    return included("demo.launch.py", {"rviz": "false", "rate_hz": "5.0"})


@pytest.mark.launch(fixture=demo)
def test_the_demo_launch_detects_people_in_its_clip() -> None:
    rclpy.init()
    try:
        node = rclpy.create_node("probe")
        received: list[BodyArray] = []
        node.create_subscription(BodyArray, "/thfm/bodies", received.append, 10)
        end = time.monotonic() + 300  # the engine may be built first
        while time.monotonic() < end and not any(message.bodies for message in received):
            rclpy.spin_once(node, timeout_sec=0.2)
        assert any(message.bodies for message in received)
        assert {message.header.frame_id for message in received} == {"camera_optical_frame"}
    finally:
        rclpy.try_shutdown()


@launch_pytest.fixture  # type: ignore[untyped-decorator]
def waiting() -> Any:
    return included("thfm.launch.py", {"autostart": "false", "name": "eye", "namespace": "left"})


@pytest.mark.launch(fixture=waiting)
def test_name_namespace_and_autostart_are_passed_to_the_node() -> None:
    rclpy.init()
    try:
        node = rclpy.create_node("probe")
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if ("eye", "/left") in node.get_node_names_and_namespaces():
                break
            rclpy.spin_once(node, timeout_sec=0.2)
        else:
            raise AssertionError(str(node.get_node_names_and_namespaces()))
        assert not node.get_publishers_info_by_topic("/left/eye/bodies")
    finally:
        rclpy.try_shutdown()


@launch_pytest.fixture  # type: ignore[untyped-decorator]
def fused() -> Any:
    return included("fusion.launch.py", {"cameras": "left right", "perception": "false"})


@pytest.mark.launch(fixture=fused)
def test_the_fusion_launch_starts_the_node_with_its_inputs() -> None:
    rclpy.init()
    try:
        node = rclpy.create_node("probe")
        node.create_publisher(BodyArray, "/left/thfm/bodies", 1)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if node.get_subscriptions_info_by_topic("/left/thfm/bodies"):
                break
            rclpy.spin_once(node, timeout_sec=0.2)
        else:
            raise AssertionError(str(node.get_node_names_and_namespaces()))
    finally:
        rclpy.try_shutdown()


def test_the_share_folder_contains_the_launch_files() -> None:
    assert {path.name for path in Path(share_folder(), "launch").iterdir()} >= {
        "thfm.launch.py",
        "demo.launch.py",
        "fusion.launch.py",
        "cameras.launch.py",
    }
