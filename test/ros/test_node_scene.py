# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS with two networks: nano and a tiny full-size checkpoint for the scene."""

import time
from collections.abc import Iterator

import genception_fixtures as reference
import pytest
from fake_node import HEIGHT, WIDTH
from node_client import Client
from ros_process import NodeProcess, ros_arguments, stamp_ns, started
from sensor_msgs.msg import Image

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("checkpoint")
    settings = {
        "engine.kind": "torch",
        "engine.scene_checkpoint": str(reference.write_checkpoint(folder / "release")),
        "diagnostics_period_s": 0.2,
    }
    with started("thfm_ros.ros.node", ros_arguments(settings), folder / "log") as running:
        yield running


def test_bodies_and_maps_of_the_scene_come_from_one_node(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    maps = {name: client.listen(Image, name) for name in ("normals/image", "depth_relative/image")}
    began_ns = time.time_ns()
    client.stream(lambda: bodies and all(maps.values()), "bodies and maps", rate_hz=10.0)
    for received in maps.values():
        assert {(msg.width, msg.height) for msg in received} == {(WIDTH, HEIGHT)}
        stamps = [stamp_ns(msg) for msg in received]
        assert stamps == sorted(set(stamps)) and began_ns <= stamps[0]
    level, text, values = client.status("engine")
    assert "scene: PyTorch" in text and "genception_tiny" in values["checkpoint"]
    assert level == 0, text
