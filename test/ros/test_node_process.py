# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node's process: it starts with one line about what is wrong, and ends in any case."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.task import Future
from ros_process import TIMEOUT_S

from thfm_ros.ros import node_process

pytestmark = pytest.mark.ros
SUPPORT = Path(__file__).resolve().parents[1] / "support"


class StandInExecutor:
    """An executor whose handles are destroyed under it."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self._before = before

    def spin_until_future_complete(self, future: "Future[None]") -> None:
        self._before()
        raise InvalidHandle("cannot use Destroyable because destruction was requested")


def spun(executor: Any, ending: threading.Event) -> list[BaseException]:
    """What `spin` reports as failures."""
    failures: list[BaseException] = []
    idle: Any = SimpleNamespace(autostart=False)
    node_process.spin(executor, idle, Future(), ending, failures)
    assert ending.is_set(), "the process ends when its executor has ended"
    return failures


@pytest.mark.fault("process", "rclpy destroys a handle while the executor looks at it")
def test_a_handle_that_rclpy_destroys_while_the_node_ends_is_no_failure() -> None:
    ending = threading.Event()
    assert spun(StandInExecutor(before=ending.set), ending) == []


def test_a_destroyed_handle_while_the_node_runs_is_a_failure() -> None:
    (failure,) = spun(StandInExecutor(), threading.Event())
    assert isinstance(failure, InvalidHandle)


@pytest.mark.parametrize("hanging", ["step", "search"])
@pytest.mark.fault("process", "SIGINT while a step, or a detection pass, hangs")
def test_sigint_while_the_engine_hangs_ends_the_process_with_code_1_and_one_line(
    hanging: str, tmp_path: Path
) -> None:
    """The interpreter must not end while a thread is inside a library: that aborts the process."""
    ended = subprocess.run(
        [sys.executable, "-m", "hanging_node"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "HANGING": hanging},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
    )
    lines = ended.stderr.splitlines()
    lines = [each for each in lines if "[INFO]" not in each and "[WARN" not in each]
    assert ended.returncode == 1, ended.stderr
    assert len(lines) == 1 and "left behind" in lines[0], ended.stderr


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("tasks: []", "tasks has no value (or an empty list). tasks is a list of depth, normals"),
        ("window: {length: []}", "window.length has no value"),
        ("window: {length: [4]}", "INTEGER_ARRAY"),
        ("window: {length: 0}", "window.length is a int from 1 to 256"),
        ("track: {smoothing: kalman}", "choose from none, one_euro"),
        ("engine: {threads: many}", "engine.threads"),
        ("window: {length: 99999999999999999999}", "window.length is a int from 1 to 256"),
        ("window: {max_gap_s: .nan}", "window.max_gap_s is a float from 0.001"),
        ("tasks: [1, 2]", "tasks is a list of depth"),
        ("tasks: [depth, gaze]", "'gaze'; choose from depth"),
        ("tasks: [depth, 1]", "Sequence should be of same type"),
        ("tasks:", "No value at line 3"),
        ("use_sim_time: []", "'use_sim_time' is not initialized"),
        ("use_sim_time: 5", "'use_sim_time' to '5'"),
    ],
)
@pytest.mark.fault("file", "an invalid parameter file of the node")
def test_an_invalid_parameter_file_is_one_line_and_exit_code_2(
    parameters: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from thfm_ros.ros.node import PerceptionNode

    file = tmp_path / "parameters.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    {parameters}\n")
    try:
        with pytest.raises(SystemExit) as ended:
            node_process.started(PerceptionNode, ["--ros-args", "--params-file", str(file)])
    finally:
        rclpy.try_shutdown()
    assert ended.value.code == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "[FATAL]" in line]
    assert len(lines) == 1 and reason in lines[0]
    assert "/project/" not in lines[0]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("windo.length", "Did you mean window.length?"),
        ("window", "See docs/parameters.md"),
        ("tasks.depth", "See docs/parameters.md"),
        ("decode.of_another_node", "See docs/parameters.md"),
    ],
)
def test_a_misspelt_parameter_is_named(name: str, hint: str) -> None:
    from thfm_ros.ros.params import misspelt_parameters

    (line,) = misspelt_parameters([name, "window.length", "use_sim_time", "exposure"])
    assert name in line and hint in line
