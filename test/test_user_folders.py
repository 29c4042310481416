# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Home, cache and log folders, also of a user without HOME and without an entry in passwd."""

import pwd
from pathlib import Path

import pytest

from thfm_ros.user_folders import (
    NoHomeError,
    cache_folder,
    can_write,
    expanded,
    home,
    ros_log_folder,
)


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Neither variables nor an entry in passwd."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "ROS_HOME", "ROS_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    return monkeypatch


def test_without_a_home_the_error_says_what_to_set(no_home: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoHomeError, match=r"HOME is not set and user \d+ .*docker run -e HOME="):
        home()
    with pytest.raises(NoHomeError, match="XDG_CACHE_HOME"):
        cache_folder()
    with pytest.raises(NoHomeError, match="HOME"):
        expanded("~/engines")


def test_home_is_that_of_passwd_if_the_variable_is_missing_or_relative(
    no_home: pytest.MonkeyPatch,
) -> None:
    entry = pwd.struct_passwd(("robot", "x", 1000, 1000, "", "/home/robot", "/bin/sh"))
    no_home.setattr("pwd.getpwuid", lambda uid: entry)
    for value in ("", "relative"):
        no_home.setenv("HOME", value)
        assert home() == Path("/home/robot")
        assert expanded("~/engines") == Path("/home/robot/engines")
    no_home.setenv("HOME", "/data")
    assert home() == Path("/data")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/thfm_ros"),
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/h"}, "/cache/thfm_ros"),
        ({"HOME": "/h"}, "/h/.cache/thfm_ros"),
        ({"XDG_CACHE_HOME": "not/absolute", "HOME": "/h"}, "/h/.cache/thfm_ros"),
    ],
)
def test_the_cache_folder_follows_xdg(
    no_home: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name, value in variables.items():
        no_home.setenv(name, value)
    assert cache_folder() == Path(folder)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"ROS_LOG_DIR": "/log", "ROS_HOME": "/ros", "HOME": "/h"}, "/log"),
        ({"ROS_HOME": "/ros", "HOME": "/h"}, "/ros/log"),
        ({"ROS_LOG_DIR": "~/log", "HOME": "/h"}, "/h/log"),
        ({"HOME": "/h"}, "/h/.ros/log"),
    ],
)
def test_the_log_folder_follows_the_rules_of_ros(
    no_home: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name, value in variables.items():
        no_home.setenv(name, value)
    assert ros_log_folder() == Path(folder)


def test_a_path_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(NoHomeError, match=r"~no-such-user/x.*path from / on"):
        expanded("~no-such-user/x")


@pytest.mark.parametrize("path", ["", "a/b", "/a/~b", "./~", "a~"])
def test_other_paths_are_unchanged(no_home: pytest.MonkeyPatch, path: str) -> None:
    assert expanded(path) == Path(path)


def test_whether_a_folder_can_be_written(tmp_path: Path) -> None:
    assert can_write(tmp_path / "new" / "folder")
    (tmp_path / "file").write_text("in the way")
    assert not can_write(tmp_path / "file" / "folder")
    assert not can_write(Path("/proc/nowhere"))
