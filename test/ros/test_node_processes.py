# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS, with a process of its own per test: start, end, and single faults.

No other node may run at the same time.
"""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
from node_client import Client, fake_node
from ros_process import Listener, ros_arguments, started
from safetensors.numpy import load_file, save_file
from small_checkpoint import write_small_checkpoint

from thfm_ros.model.weights import read_card
from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

ERROR = 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def set_future_version(path: Path) -> None:
    card = dataclasses.replace(read_card(path), version=99)
    save_file(load_file(path), path, metadata={"thfm_card": card.to_json()})


@pytest.mark.fault("file", "a truncated checkpoint, and one of a later version")
def test_with_an_unusable_checkpoint_configuring_fails_and_the_node_keeps_running(
    listener: Listener, tmp_path: Path
) -> None:
    broken, future = tmp_path / "broken.safetensors", tmp_path / "future.safetensors"
    for path, damage in ((broken, truncate), (future, set_future_version)):
        write_small_checkpoint(tmp_path).rename(path)
        damage(path)
    settings = {"engine.checkpoint": str(broken), "diagnostics_period_s": 0.2}
    with started("thfm_ros.ros.node", ros_arguments(settings), tmp_path / "log") as process:
        client = Client(listener, process)
        client.wait(lambda: client.status("engine")[0] == ERROR, "an error")
        message = client.status("engine")[1]
        assert str(broken) in message and "truncated: copy or download it again" in message
        assert client.state() == "unconfigured"
        assert process.text().count("cannot be configured") == 1
        assert not listener.node.get_publishers_info_by_topic("/thfm/bodies")
        assert client.set_parameter("engine.checkpoint", str(future)) == (True, "")
        assert not client.change_state("configure")
        client.wait(lambda: str(future) in client.status("engine")[1], "another error")
        assert "format version 99" in client.status("engine")[1]
        assert client.set_parameter("engine.checkpoint", "nano") == (True, "")
        assert process.running()


def test_an_invalid_parameter_at_the_start_is_one_log_line_and_exit_code_2(tmp_path: Path) -> None:
    """Other values: test_node_process.py."""
    with fake_node(tmp_path / "log", {"window.length": 0}) as process:
        assert process.exit_code() == 2
        assert "window.length is a int from 1 to 256" in process.text()
        assert "Traceback" not in process.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.fault("process", "SIGINT and SIGTERM while images arrive")
def test_a_signal_ends_the_node_without_a_traceback(
    listener: Listener, tmp_path: Path, number: signal.Signals
) -> None:
    with fake_node(tmp_path / "log") as process:
        client = Client(listener, process)
        client.wait_for_subscription()
        bodies = client.listen(BodyArray, "bodies")
        client.stream(lambda: bodies, "bodies")
        os.kill(process.pid, number)
        assert process.exit_code() == 0, process.text()
        assert "Traceback" not in process.text(), process.text()
