"""How this package meets ROS: where its files lie, and a DDS that can carry images.

Call `prepare()` before ``rclpy.init``. Nothing here imports rclpy.
"""

import logging
import os
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

# Fast DDS 2 knows the second name only; Fast DDS 3 warns about it, so just one of them is set.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
FAST_DDS_2 = ("humble", "iron", "jazzy")

# The profile's segment is 32 MiB for each process; a demo has three, and rviz makes four. A full
# /dev/shm does not report an error but kills the writer (SIGBUS), and containers get 64 MiB.
SHARED_MEMORY_NEEDED = 4 * 32 * 2**20


def prepare() -> None:
    """Set what ROS reads from the environment, leaving alone whatever the user has set."""
    # The wheels of ROS 2 do not set it, and without it no package finds its share folder.
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    use_shared_memory()


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
    """Let Fast DDS use the shipped profile; returns it, or None when it was left alone.

    Without it a best-effort 640x480 colour image loses nearly every frame between processes.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return None
    try:
        profile = (share_folder() / "config" / "fastdds.xml").resolve(strict=True)
    except FileNotFoundError as error:
        logger.warning("%s Until then large images are lost between processes.", error)
        return None
    free = _shared_memory_free()
    if free < SHARED_MEMORY_NEEDED:
        logger.warning(
            "/dev/shm has %d MiB free, %d are needed: images go over UDP and many are lost. "
            "In a container: docker run --shm-size=512m (or --ipc=host).",
            free // 2**20,
            SHARED_MEMORY_NEEDED // 2**20,
        )
        return None
    distribution = os.environ.get("ROS_DISTRO", "")
    os.environ[PROFILE_VARIABLES[distribution in FAST_DDS_2]] = str(profile)
    return profile


def _shared_memory_free() -> int:
    try:
        room = os.statvfs("/dev/shm")
    except OSError:  # no such folder: not Linux
        return 0
    return room.f_bavail * room.f_frsize
