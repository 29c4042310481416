# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The environment that ROS reads: the log folder, and the profile that large images need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_process import Listener, ros_arguments, stamp_ns, started
from sensor_msgs.msg import CameraInfo, Image

from thfm_ros.ros import dds_profile

pytestmark = pytest.mark.ros

NAMESPACE = "{http://www.eprosima.com}"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No profile is set and there is enough shared memory, whatever this machine has."""
    for name in dds_profile.PROFILE_VARIABLES:
        monkeypatch.setenv(name, "")  # so that what a test sets is removed after it
        monkeypatch.delenv(name)
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


@pytest.mark.fault("transport", "a small /dev/shm at the start")
def test_with_too_little_shared_memory_a_warning_is_logged_and_nothing_set(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setattr(dds_profile, "_free_shared_memory", lambda: 64 * 2**20)
    assert dds_profile.use_shared_memory() is None
    assert "--shm-size" in caplog.text


@pytest.mark.parametrize("variables", [{"HOME": "/proc/nowhere"}, {"ROS_HOME": "/dev/null"}])
@pytest.mark.fault("disk", "the folder of ROS's logs cannot be written")
def test_where_ros_cannot_write_logs_a_temporary_folder_is_set_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    variables: dict[str, str],
) -> None:
    monkeypatch.delenv("ROS_LOG_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    dds_profile.use_log_folder()
    assert Path(os.environ["ROS_LOG_DIR"]).parent == tmp_path
    assert len(caplog.records) == 1 and "set ROS_LOG_DIR" in caplog.text


def test_the_log_folder_of_the_user_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    dds_profile.use_log_folder()
    assert os.environ["ROS_LOG_DIR"] == str(tmp_path / "log") and not caplog.records


@pytest.mark.fault("disk", "no HOME and no entry in passwd")
def test_a_process_without_home_and_entry_in_passwd_runs_and_its_lines_have_the_cure() -> None:
    """As `docker run --user 1234` starts one; ROS and the cache of engines need folders."""
    unknown_user = ["unshare", "--user", "--map-user=1234"]
    if shutil.which("unshare") is None or subprocess.run([*unknown_user, "true"]).returncode:
        pytest.skip("user namespaces are not available here")
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "AMENT_PREFIX_PATH", "ROS_DISTRO")
    ended = subprocess.run(
        [*unknown_user, sys.executable, "-P", "-c", _PROCESS],
        env={name: os.environ[name] for name in kept if name in os.environ},
        cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "/dev/shm" not in line]
    assert len(lines) == 2 and all("user 1234" in line for line in lines), ended.stderr
    assert "ROS_LOG_DIR" in lines[0] and "engine.cache_dir" in lines[1]


_PROCESS = """
import logging

import rclpy
from thfm_ros.engine.cache import CacheError, default_folder
from thfm_ros.ros.dds_profile import prepare_ros_environment

prepare_ros_environment()
rclpy.init()
rclpy.shutdown()
try:
    default_folder()
except CacheError as error:
    logging.warning("%s", error)
"""


def test_the_advice_against_lost_images_is_shared_memory_or_the_profile_of_the_camera(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setattr(dds_profile, "_free_shared_memory", lambda: 64 * 2**20)
    assert "64 MiB" in dds_profile.transport_advice() and "--shm-size" in (
        dds_profile.transport_advice()
    )
    environment.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/a.xml")
    advice = dds_profile.transport_advice()
    assert "export FASTDDS_DEFAULT_PROFILES_FILE=/a.xml" in advice


def test_large_best_effort_images_arrive_in_another_process(
    listener: Listener, tmp_path: Path
) -> None:
    """640x480 colour images, of which about 98 % are lost without the profile.

    Each is published with a CameraInfo, which is small enough to arrive without it.
    """
    (tmp_path / "in").mkdir()
    for number in range(3):
        image = np.full((480, 640, 3), number, np.uint8)
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), image)
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.listen(Image, "image", qos)
    listener.listen(CameraInfo, "camera_info", qos)
    images, infos = (listener.received[topic] for topic in ("image", "camera_info"))
    values = {"source": tmp_path / "in", "rate_hz": 20, "loop": True, "wait_for_subscribers": 1}
    with started("thfm_ros.ros.replay.node", ros_arguments(values), tmp_path / "log") as replay:
        assert listener.wait(lambda: len(infos) >= 40 and bool(images)), replay.text()
        # An image has arrived by the time that a later one has.
        assert listener.wait(lambda: stamp_ns(images[-1]) >= stamp_ns(infos[39])), replay.text()
    published = {stamp_ns(message) for message in infos[:40]}
    arrived = published & {stamp_ns(message) for message in images}
    # Nearly all. While this process waits for a busy machine, best-effort images may be lost.
    assert len(arrived) >= 20, len(arrived)
