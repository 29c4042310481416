# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which thfm_ros is tested, and what is left out where ROS 2 or a GPU is missing.

thfm_ros.msg exists only in a build, so the suite wants the installed package (./test.sh installs
it). From a bare source tree everything that needs no message still runs, and the end of the
report says what did not.
"""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import property_tests  # noqa: F401  no test of hypothesis has a deadline
import pytest
from jaxtyping import install_import_hook
from ros_domain import reserve_domain

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter
    from ros_process import Listener

ROOT = Path(__file__).resolve().parents[1]
CURE = "run ./test.sh, or `pip install .` in an environment with ROS 2"


def _has_messages() -> bool:
    """Import the installed thfm_ros if there is one, even from inside the source tree."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    try:
        return importlib.util.find_spec("thfm_ros.msg") is not None
    except ModuleNotFoundError:
        sys.modules.pop("thfm_ros", None)
        sys.path.insert(0, str(ROOT))
        return False


def _modules(folder: Path) -> dict[str, bytes]:
    skipped = {"msg", "srv", "__pycache__"}
    paths = (path for path in folder.rglob("*.py") if not skipped & set(path.parts))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


# For PyTorch, before it is imported: small networks are slower with more threads, above all on a
# busy machine, where threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Array shapes in the signatures of these modules are checked while tests run. Not torch's: the
# checker breaks torch.export. Before anything imports them.
SHAPED = (
    *("contract", "geometry", "media.drawing"),
    *("perception.crop_region", "perception.frame_window"),
    *("perception.keypoints", "perception.tracking"),
)
for name in SHAPED:
    assert (ROOT / "thfm_ros" / (name.replace(".", "/") + ".py")).is_file(), f"no {name} to check"
if importlib.util.find_spec("beartype") is not None:
    install_import_hook([f"thfm_ros.{name}" for name in SHAPED], "shape_checks.check")

HAS_MESSAGES = _has_messages()
if not HAS_MESSAGES and os.environ.get("THFM_TESTS_NEED_ROS"):
    pytest.exit(f"thfm_ros.msg cannot be imported by {sys.executable}: {CURE}", returncode=4)
if not HAS_MESSAGES:
    collect_ignore = ["ros", "launch"]

# Nothing of a test may reach, or be reached by, another robot or another process of this or
# another run of the suite (`pytest -n`).
os.environ["ROS_DOMAIN_ID"] = str(reserve_domain())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="thfm_test_log_"))
os.environ["PYTHONSAFEPATH"] = "1"  # child processes must not find the source tree either


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`pytest -n 2` gives the tests of a file to one process: they share a node, or a network."""
    if getattr(config.option, "dist", "") == "no":
        config.option.dist = "loadfile"


def pytest_report_header() -> list[str]:
    import thfm_ros

    folder = Path(thfm_ros.__file__).resolve().parent
    lines = [f"thfm_ros: {folder}, messages: {'built' if HAS_MESSAGES else 'NOT built'}"]
    if folder != ROOT / "thfm_ros" and _modules(folder) != _modules(ROOT / "thfm_ros"):
        lines.append("WARNING: the installed package is not what these sources say: " + CURE)
    return lines


def pytest_terminal_summary(terminalreporter: "TerminalReporter") -> None:
    if not HAS_MESSAGES:
        terminalreporter.write_line(
            f"NOT RUN: test/ros and test/launch, since thfm_ros.msg is not built: {CURE}",
            yellow=True,
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("ros") and not HAS_MESSAGES:
            item.add_marker(pytest.mark.skip(reason=f"thfm_ros.msg is not built: {CURE}"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


@pytest.fixture(scope="session")
def root() -> Path:
    """The source tree, for tests that read launch files, messages or documents."""
    return ROOT


@pytest.fixture
def listener() -> Iterator["Listener"]:
    """rclpy is initialised for one test, with a node that collects messages."""
    import rclpy
    from ros_process import Listener

    rclpy.init()
    listener = Listener()
    try:
        yield listener
    finally:
        listener.close()
        rclpy.try_shutdown()
