# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A /dev/shm as small as a container's may be, over DDS, in a mount namespace of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from node_client import SUPPORT
from ros_process import TIMEOUT_S

from thfm_ros.ros.dds_profile import PROFILE_VARIABLES

pytestmark = pytest.mark.ros

MOUNT = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def can_mount() -> bool:
    """Whether this machine lets a user have a /dev/shm of their own."""
    try:
        return subprocess.run([*UNSHARE, MOUNT], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.fault("transport", "a /dev/shm of 1 MB")
@pytest.mark.skipif(not can_mount(), reason="needs mount namespaces of users")
def test_with_a_small_shared_memory_images_arrive_or_the_diagnostics_have_the_cure(
    tmp_path: Path,
) -> None:
    # An earlier test of this process may have set the profile, as a user would.
    environment = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES}
    ended = subprocess.run(
        [*UNSHARE, f'{MOUNT} && exec "$0" -m small_shared_memory "$1"', sys.executable, "log"],
        env={**environment, "PYTHONPATH": str(SUPPORT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stderr
    assert "results" in ended.stdout or "--shm-size" in ended.stdout, ended.stdout
    log = (tmp_path / "log").read_text()
    assert "/dev/shm has" in log and "are needed" in log and "Traceback" not in log
