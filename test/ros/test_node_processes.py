# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS, with a process of its own per test: start, end, and single faults.

No other node may run at the same time.
"""

import dataclasses
import os
import signal
from collections.abc import Callable
from importlib import util
from pathlib import Path

import cv2
import pytest
from fake_engine import image
from fake_node import CAMERA, HEIGHT, WIDTH
from node_client import Client, fake_node
from ros_process import Listener, ros_arguments, started
from rosgraph_msgs.msg import Clock
from safetensors.numpy import load_file, save_file
from sensor_msgs.msg import Image
from small_checkpoint import write_small_checkpoint

from thfm_ros.model.weights import read_card
from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

ERROR = 2


def test_compressed_images_are_received_and_broken_ones_reported(
    listener: Listener, tmp_path: Path
) -> None:
    with fake_node(tmp_path / "log", {"image_transport": "compressed"}) as process:
        client = Client(listener, process)
        client.wait(lambda: client._compressed.get_subscription_count(), "the node subscribes")
        overlay = client.listen(Image, "overlay")
        good = cv2.imencode(".png", image(CAMERA)[..., ::-1])[1].tobytes()
        client.stream(
            lambda: len(overlay) > 2, "overlays", send=lambda: client.publish_compressed(good)
        )
        assert (overlay[-1].width, overlay[-1].height) == (WIDTH, HEIGHT)
        client.stream(
            lambda: "cannot be decoded" in client.status("input")[1],
            "an error",
            send=lambda: client.publish_compressed(good[:100]),
        )


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def set_future_version(path: Path) -> None:
    card = dataclasses.replace(read_card(path), version=99)
    save_file(load_file(path), path, metadata={"thfm_card": card.to_json()})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(truncate, "truncated: copy or download it again"), (set_future_version, "format version 99")],
    ids=["truncated", "future version"],
)
def test_with_an_unusable_checkpoint_configuring_fails_and_the_node_keeps_running(
    listener: Listener, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    broken = write_small_checkpoint(tmp_path).rename(tmp_path / "broken.safetensors")
    damage(broken)
    settings = {"engine.checkpoint": str(broken), "diagnostics_period_s": 0.2}
    with started("thfm_ros.ros.node", ros_arguments(settings), tmp_path / "log") as process:
        client = Client(listener, process)
        client.wait(lambda: client.status("engine")[0] == ERROR, "an error")
        message = client.status("engine")[1]
        assert str(broken) in message and reason in message
        assert client.state() == "unconfigured"
        assert process.text().count("cannot be configured") == 1
        assert not listener.node.get_publishers_info_by_topic("/thfm/bodies")
        assert not client.change_state("configure")
        assert client.set_parameter("engine.checkpoint", "nano") == (True, "")
        assert process.running()


def test_configuring_with_a_target_frame_fails_without_tf2_ros(
    listener: Listener, tmp_path: Path
) -> None:
    if util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed here")
    with fake_node(tmp_path / "log", {"target_frame": "map"}) as process:
        client = Client(listener, process)
        client.wait(lambda: client.status("engine")[0] == ERROR, "an error")
        assert "needs tf2_ros" in client.status("engine")[1]
        assert client.state() == "unconfigured"


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ({"window.length": 0}, "window.length is a int from 1 to 256"),
        ({"track.smoothing": "kalman"}, "choose from none, one_euro"),
        ({"engine.threads": "many"}, "engine.threads"),
    ],
)
def test_an_invalid_parameter_at_the_start_is_one_log_line_and_exit_code_2(
    tmp_path: Path, parameter: dict[str, object], reason: str
) -> None:
    with fake_node(tmp_path / "log", parameter) as process:
        assert process.exit_code() == 2
        assert reason in process.text()
        assert "Traceback" not in process.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def test_without_autostart_the_node_waits_and_it_follows_simulated_time(
    listener: Listener, tmp_path: Path
) -> None:
    with fake_node(tmp_path / "log", {"autostart": False, "use_sim_time": True}) as process:
        client = Client(listener, process)
        assert client.state() == "unconfigured"
        assert client.change_state("configure") and client.change_state("activate")
        client.wait_for_subscription()
        clock = client.node.create_publisher(Clock, "/clock", 1)
        bodies = client.listen(BodyArray, "bodies")
        now_ns = [1_000_000_000]

        def send() -> None:
            now_ns[0] += 50_000_000
            tick = Clock()
            tick.clock.sec, tick.clock.nanosec = divmod(now_ns[0], 1_000_000_000)
            clock.publish(tick)
            client.publish(stamp_ns=now_ns[0])

        client.stream(lambda: len(bodies) > 10, "bodies", send=send)
        client.stream(
            lambda: client.status("input")[0] == 0, "stamps are of the node's clock", send=send
        )
        assert abs(float(client.status("input")[2]["age on arrival p50 (ms)"])) < 60_000
        assert bodies[-1].header.stamp.sec < 1000
