"""The shared-memory profile: when it is set, and that large images arrive with it."""

import os
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_process import Listener, ros_arguments, started
from sensor_msgs.msg import Image

from thfm_ros.ros import dds_profile

pytestmark = pytest.mark.ros

NAMESPACE = "{http://www.eprosima.com}"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No profile is set and there is enough shared memory, whatever this machine has."""
    for name in dds_profile.PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    monkeypatch.setattr(dds_profile, "_free_shared_memory", lambda: 2**30)
    return monkeypatch


def test_the_shipped_profile_is_set_and_can_be_parsed(environment: pytest.MonkeyPatch) -> None:
    profile = dds_profile.use_shared_memory()
    assert profile is not None
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == str(profile)
    segment = ElementTree.parse(profile).getroot().find(f".//{NAMESPACE}segment_size")
    assert segment is not None and segment.text is not None
    assert int(segment.text) * 4 == dds_profile.SHARED_MEMORY_NEEDED


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_variable_is_the_one_that_the_distributions_fast_dds_reads(
    environment: pytest.MonkeyPatch, distribution: str, name: str
) -> None:
    environment.setenv("ROS_DISTRO", distribution)
    dds_profile.use_shared_memory()
    assert [v for v in dds_profile.PROFILE_VARIABLES if v in os.environ] == [name]


@pytest.mark.parametrize("name", dds_profile.PROFILE_VARIABLES)
def test_a_profile_of_the_user_is_kept(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "/users.xml")
    assert dds_profile.use_shared_memory() is None
    assert [os.environ.get(v) for v in dds_profile.PROFILE_VARIABLES].count("/users.xml") == 1
    assert [os.environ.get(v) for v in dds_profile.PROFILE_VARIABLES].count(None) == 1


def test_with_too_little_shared_memory_a_warning_is_logged_and_nothing_set(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setattr(dds_profile, "_free_shared_memory", lambda: 64 * 2**20)
    assert dds_profile.use_shared_memory() is None
    assert "--shm-size" in caplog.text


def test_large_best_effort_images_arrive_in_another_process(
    listener: Listener, tmp_path: Path
) -> None:
    """640x480 colour images, of which about 98 % are lost without the profile."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        image = np.full((480, 640, 3), number, np.uint8)
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), image)
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.listen(Image, "image", qos)
    values = {"source": tmp_path / "in", "rate_hz": 20, "loop": True, "wait_for_subscribers": 1}
    with started("thfm_ros.ros.replay.node", ros_arguments(values), tmp_path / "log") as replay:
        images = listener.received["image"]
        assert listener.wait(lambda: len(images) >= 40, 20), f"{len(images)}\n{replay.text()}"
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec / 1e9 for m in images[:40]]
    # 40 images at 20 Hz take 2 s if none is lost; on a busy machine it may take longer.
    assert stamps[-1] - stamps[0] < 3.0
