# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Faults around the node, over DDS: stopped and killed processes, clocks, double names."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_client import Client, fake_node
from ros_process import NodeProcess, stamp_ns
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

OK, WARN, ERROR = 0, 1, 2
SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    log = tmp_path_factory.mktemp("node") / "log"
    with fake_node(log, {"image_timeout_s": 0.5}) as running:
        yield running


@pytest.mark.fault("process", "the node is stopped (SIGSTOP) and goes on")
def test_a_node_that_was_stopped_goes_on_with_new_images(
    client: Client, process: NodeProcess
) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.exchange([bodies])
    os.kill(process.pid, signal.SIGSTOP)
    for _ in range(20):
        client.publish()
    os.kill(process.pid, signal.SIGCONT)
    newest = client.exchange([bodies])
    stamps = [stamp_ns(each) for each in bodies]
    assert stamps == sorted(set(stamps)) and stamps[-1] >= newest
    client.exchange([bodies])


@pytest.mark.fault("camera", "two cameras publish on one topic")
def test_images_of_two_publishers_are_a_warning_that_names_the_topic(client: Client) -> None:
    other = client.node.create_publisher(Image, "image", 1)
    client.stream(
        lambda: "2 publishers" in client.status("input")[1] and client.status("input")[0] == WARN,
        "a warning",
    )
    assert client.status("input")[1].startswith("/image has 2 publishers")
    client.node.destroy_publisher(other)
    client.stream(lambda: "publishers" not in client.status("input")[1], "no warning any more")


@pytest.mark.fault("process", "a second node of the same name is killed (SIGKILL)")
def test_the_death_of_a_second_node_of_the_same_name_does_no_harm(
    client: Client, process: NodeProcess, tmp_path: Path
) -> None:
    bodies = client.listen(BodyArray, "bodies")
    with fake_node(tmp_path / "log") as second:
        client.wait(lambda: "subscribed" in second.text(), "the second node runs")
        client.wait(lambda: client.status("name")[0] == WARN, "a warning")
        assert "nodes are called /thfm" in client.status("name")[1]
        os.killpg(second.pid, signal.SIGKILL)
        second.exit_code()
    client.exchange([bodies])
    assert process.running()


class Simulation:
    """Publishes /clock, and images with the simulated time as stamp."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._publisher = client.node.create_publisher(Clock, "/clock", 1)
        client.wait(self._publisher.get_subscription_count, "the node subscribes to /clock")
        self.now_ns = 1000 * SECOND_NS

    def tick(self, seconds: float = 0.05, image: bool = True) -> None:
        self.now_ns += round(seconds * SECOND_NS)
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(self.now_ns, SECOND_NS)
        self._publisher.publish(message)
        if image:
            self._client.publish(stamp_ns=self.now_ns)


@pytest.mark.fault("clock", "a bag is paused, begins again, and its images stop")
def test_a_bag_that_pauses_and_begins_again_is_followed(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    assert client.set_parameter("use_sim_time", True) == (True, "")
    simulation = Simulation(client)

    def results_within(begin_s: int, end_s: int) -> bool:
        stamps = [stamp_ns(each) / SECOND_NS for each in bodies[-3:]]
        return len(stamps) == 3 and all(begin_s < stamp < end_s for stamp in stamps)

    client.stream(lambda: results_within(1000, 2000), "results", send=simulation.tick)
    client.wait(lambda: "time is paused" in client.status("input")[1], "the pause is known")
    assert client.status("input")[0] == OK and bodies[-1].bodies
    assert abs(float(client.status("input")[2]["age on arrival p50 (ms)"])) < 60_000
    simulation.now_ns = 500 * SECOND_NS
    client.stream(lambda: results_within(500, 900), "results", send=simulation.tick)
    client.stream(
        lambda: client.status("window")[2]["stream began because of"].startswith("time went back"),
        "a new stream",
        send=simulation.tick,
    )
    client.stream(
        lambda: client.status("input")[0] == ERROR,
        "an error",
        send=lambda: simulation.tick(0.5, image=False),
    )
    assert "no image any more" in client.status("input")[1]
    assert client.set_parameter("use_sim_time", False) == (True, "")
    client.exchange([bodies])
