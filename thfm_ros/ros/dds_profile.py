# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The environment that ROS reads: installed files, a log folder that can be written, and a DDS
profile that can carry images.

Call `prepare_ros_environment()` before ``rclpy.init``. This module does not import rclpy.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

from thfm_ros.user_folders import NoHomeError, can_write, ros_log_folder

logger = logging.getLogger(__name__)

# Fast DDS 2 reads only the second variable; Fast DDS 3 warns about it. So only one is set.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
FAST_DDS_2_DISTRIBUTIONS = ("humble", "iron", "jazzy")

# Each process allocates the profile's segment of 32 MiB; a demo has three processes, rviz is a
# fourth. A full /dev/shm does not raise an error but kills the writer with SIGBUS, and containers
# have 64 MiB by default.
SHARED_MEMORY_NEEDED = 4 * 32 * 2**20


def prepare_ros_environment() -> None:
    """Set the environment variables that ROS reads, unless the user has set them."""
    # The ROS 2 wheels do not set it; without it no package finds its share folder.
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    use_log_folder()
    use_shared_memory()


def use_log_folder() -> None:
    """Set ROS_LOG_DIR to a temporary folder if ROS could not write its log files otherwise.

    ``rclpy.init`` raises an exception where the log folder cannot be made.
    """
    try:
        folder = ros_log_folder()
        if can_write(folder):
            # rcl itself does not look for the home folder in passwd.
            os.environ["ROS_LOG_DIR"] = str(folder)
            return
        problem = f"{folder} cannot be written: set ROS_LOG_DIR to a folder that can"
    except NoHomeError as error:
        problem = f"{error}, or ROS_LOG_DIR"
    try:
        os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="thfm_ros_log_")
    except OSError as error:
        logger.warning("%s: %s", problem, error)
        return
    logger.warning("%s. Until then the logs of ROS are in %s.", problem, os.environ["ROS_LOG_DIR"])


def share_folder() -> Path:
    """The installed ``share/thfm_ros`` with its folders ``launch`` and ``config``.

    Raises:
        FileNotFoundError: the package is not installed, or its environment is not sourced.
    """
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    for prefix in [*prefixes, sys.prefix]:
        folder = Path(prefix, "share", "thfm_ros")
        if prefix and folder.is_dir():
            return folder
    raise FileNotFoundError(
        "share/thfm_ros is in no folder of AMENT_PREFIX_PATH. Source the workspace's "
        "install/setup.bash, or install the package: pip install ."
    )


def use_shared_memory() -> Path | None:
    """Make Fast DDS load the shipped profile, unless another profile is set.

    Without it nearly all best-effort 640x480 colour images are lost between processes.

    Returns:
        The profile's path; None if the environment was left unchanged.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return None
    try:
        profile = (share_folder() / "config" / "fastdds.xml").resolve(strict=True)
    except FileNotFoundError as error:
        logger.warning("%s Until then large images are lost between processes.", error)
        return None
    free = _free_shared_memory()
    if free < SHARED_MEMORY_NEEDED:
        logger.warning(
            "/dev/shm has %d MiB free, but %d MiB are needed: images are sent over UDP and many "
            "are lost. In a container: docker run --shm-size=512m (or --ipc=host).",
            free // 2**20,
            SHARED_MEMORY_NEEDED // 2**20,
        )
        return None
    distribution = os.environ.get("ROS_DISTRO", "")
    os.environ[PROFILE_VARIABLES[distribution in FAST_DDS_2_DISTRIBUTIONS]] = str(profile)
    return profile


def transport_advice() -> str:
    """What to do against images that are lost between processes."""
    for name in PROFILE_VARIABLES:
        if profile := os.environ.get(name):
            return (
                "Large images need the DDS profile in the process of the camera, too: there, "
                f"export {name}={profile}"
            )
    return (
        f"Large images need {SHARED_MEMORY_NEEDED // 2**20} MiB of shared memory, /dev/shm has "
        f"{_free_shared_memory() // 2**20} MiB free. In a container: docker run --shm-size=512m "
        "(or --ipc=host); then start camera and node again."
    )


def _free_shared_memory() -> int:
    """Free bytes of /dev/shm; 0 where it does not exist."""
    try:
        status = os.statvfs("/dev/shm")
    except OSError:  # not Linux
        return 0
    return status.f_bavail * status.f_frsize
