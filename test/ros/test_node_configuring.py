# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A node that is configured by its services, over DDS."""

from collections.abc import Iterator
from importlib import util

import cv2
import pytest
from fake_engine import image
from fake_node import CAMERA, HEIGHT, WIDTH
from node_client import Client, fake_node
from ros_process import Listener, NodeProcess
from sensor_msgs.msg import Image

from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

ERROR = 2


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that does not start itself."""
    with fake_node(tmp_path_factory.mktemp("node") / "log", {"autostart": False}) as running:
        yield running


@pytest.fixture
def unconfigured(listener: Listener, process: NodeProcess) -> Client:
    """A client of that node, which is unconfigured."""
    client = Client(listener, process)
    if client.state() == "active":
        assert client.change_state("deactivate")
    if client.state() == "inactive":
        assert client.change_state("cleanup")
    return client


@pytest.mark.fault("camera", "a truncated compressed image")
def test_compressed_images_are_received_and_broken_ones_reported(unconfigured: Client) -> None:
    client = unconfigured
    assert client.set_parameter("image_transport", "compressed") == (True, "")
    assert client.change_state("configure") and client.change_state("activate")
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


def test_configuring_with_a_target_frame_fails_without_tf2_ros(unconfigured: Client) -> None:
    if util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed here")
    client = unconfigured
    assert client.set_parameter("target_frame", "map") == (True, "")
    assert not client.change_state("configure")
    client.wait(lambda: client.status("engine")[0] == ERROR, "an error")
    assert "needs tf2_ros" in client.status("engine")[1]
    assert client.state() == "unconfigured"
    assert client.set_parameter("target_frame", "") == (True, "")


def test_without_autostart_the_node_waits_until_it_is_configured(unconfigured: Client) -> None:
    client = unconfigured
    assert client.set_parameter("image_transport", "raw") == (True, "")
    assert client.change_state("configure")
    assert client.state() == "inactive"
    assert client.change_state("activate")
    client.wait_for_subscription()
    client.exchange([client.listen(BodyArray, "bodies")])
