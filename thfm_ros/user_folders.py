# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The user's folders: home, cache and ROS logs, also where there is no home.

A container that runs as a number (``docker run --user 1234``) and a service of systemd have
neither HOME nor an entry in passwd. This is the only module that looks for these folders, so that
all parts say the same thing about a missing one.
"""

import contextlib
import os
import pwd
from pathlib import Path

from thfm_ros.contract import PerceptionError


class NoHomeError(PerceptionError):
    """The user has no home folder; the text says which variables to set."""


def home() -> Path:
    """The folder that HOME names, or the home folder in passwd if HOME is not set.

    Raises:
        NoHomeError: there is neither, or both are relative paths.
    """
    candidates = [os.environ.get("HOME", "")]
    with contextlib.suppress(KeyError):
        candidates.append(pwd.getpwuid(os.getuid()).pw_dir)
    for name in candidates:
        if os.path.isabs(name):
            return Path(name)
    raise NoHomeError(
        f"HOME is not set and user {os.getuid()} has no home folder in passwd: set HOME to a "
        "folder that can be written (docker run -e HOME=/tmp)"
    )


def cache_folder() -> Path:
    """The package's folder in the user's cache, according to the XDG base directory standard.

    Raises:
        NoHomeError: XDG_CACHE_HOME is not an absolute path and there is no home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "thfm_ros"
    try:
        return home() / ".cache" / "thfm_ros"
    except NoHomeError as error:
        raise NoHomeError(f"{error}, or XDG_CACHE_HOME") from error


def ros_log_folder() -> Path:
    """The folder of ROS's log files: ROS_LOG_DIR, else log in ROS_HOME, else .ros/log at home.

    Raises:
        NoHomeError: none of these variables is set and there is no home.
    """
    if folder := os.environ.get("ROS_LOG_DIR"):
        return expanded(folder)
    if folder := os.environ.get("ROS_HOME"):
        return expanded(folder) / "log"
    return home() / ".ros" / "log"


def expanded(path: str | Path) -> Path:
    """``path`` with a leading ``~`` or ``~user`` replaced by that home folder.

    Raises:
        NoHomeError: there is no such folder.
    """
    if not os.fspath(path).startswith("~"):
        return Path(path)
    first, *rest = Path(path).parts
    if first == "~":
        return home().joinpath(*rest)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise NoHomeError(
            f"{path} cannot be resolved: there is no user {first[1:]!r} with a home folder. Give "
            "the path from / on."
        ) from error


def can_write(folder: Path) -> bool:
    """Whether files can be created in ``folder``, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
