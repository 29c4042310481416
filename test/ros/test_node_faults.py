# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS: bad input and engine failures are reported once and do not end the node."""

import array
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_node import HEIGHT, WIDTH
from node_client import Client, fake_node
from ros_process import Listener, NodeProcess
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

WARN, ERROR = 1, 2


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    log = tmp_path_factory.mktemp("node") / "log"
    with fake_node(log, {"image_timeout_s": 0.5}) as running:
        yield running


@pytest.fixture
def client(listener: Listener, process: NodeProcess) -> Client:
    client = Client(listener, process)
    client.wait_for_subscription()
    return client


def expect_recovery(client: Client, bodies: list[BodyArray]) -> None:
    """Check that good images give results again and the input's status returns to OK."""
    count = len(bodies)
    client.stream(
        lambda: len(bodies) > count + 3 and client.status("input")[0] == 0, "results again"
    )


def test_without_calibration_only_relative_results_and_a_warning_are_published(
    client: Client,
) -> None:
    """Must be the first test of this file: later ones publish a CameraInfo, which is cached."""
    metric = [client.listen(Image, "depth/image"), client.listen(PointCloud2, "points")]
    metric.append(client.listen(CameraInfo, "depth/camera_info"))
    relative, bodies = (
        client.listen(Image, "depth_relative/image"),
        client.listen(BodyArray, "bodies"),
    )

    def send() -> None:
        client.publish(calibrated=False)

    client.stream(lambda: len(relative) > 3 and len(bodies) > 3, "relative depth", send=send)
    client.stream(lambda: client.status("calibration")[0] == WARN, "a warning", send=send)
    assert "No CameraInfo on /camera_info" in client.status("calibration")[1]
    assert not any(metric)
    assert not bodies[-1].metric
    assert all(np.isnan(body.root.z) for body in bodies[-1].bodies)
    assert np.nanmin(np.frombuffer(relative[-1].data, np.float32)) > 0


def test_a_zero_calibration_is_rejected_and_a_valid_one_used_at_once(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    zero = CameraInfo(width=WIDTH, height=HEIGHT)
    zero.header.frame_id = "camera"
    publisher = client.node.create_publisher(CameraInfo, "camera_info", 1)

    def send_zero() -> None:
        publisher.publish(zero)
        client.publish(calibrated=False)

    client.stream(
        lambda: bodies and "K is zero" in client.status("calibration")[1],
        "a warning",
        send=send_zero,
    )
    assert not bodies[-1].metric
    client.stream(lambda: bodies[-1].metric, "metric bodies")
    client.stream(lambda: client.status("calibration")[0] == 0, "calibration is OK")
    client.node.destroy_publisher(publisher)


def test_a_camera_info_that_leaves_no_pixel_is_rejected(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    binned = CameraInfo(width=WIDTH, height=HEIGHT, binning_x=1000, binning_y=1000)
    binned.header.frame_id = "camera"
    binned.k[0] = binned.k[4] = 250.0
    publisher = client.node.create_publisher(CameraInfo, "camera_info", 1)

    def send_binned() -> None:
        publisher.publish(binned)
        client.publish(calibrated=False)

    client.stream(
        lambda: "leaves no pixel" in client.status("calibration")[1],
        "a warning",
        send=send_binned,
    )
    client.stream(lambda: bodies and bodies[-1].metric, "metric bodies")
    client.node.destroy_publisher(publisher)


def test_published_people_are_removed_when_images_stop(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    markers = client.listen(MarkerArray, "markers")

    def position_topics() -> list[str]:
        names = [name for name, _ in client.node.get_topic_names_and_types()]
        return [name for name in names if name.startswith("/humans/") and "/position" in name]

    client.stream(lambda: bodies and len(position_topics()) == 2, "two people")
    client.wait(lambda: not position_topics(), "no people", 5.0)
    assert markers[-1].markers[0].action == Marker.DELETEALL
    client.stream(lambda: len(position_topics()) == 2, "two people again")


BAD: dict[str, Callable[[Client], Any]] = {  # by a part of the error message
    "16UC1": lambda client: client.publish(encoding="16UC1"),
    "is empty": lambda client: client.publish(width=0, height=0),
    "step=17": lambda client: client.publish(step=17),
    "100 bytes": lambda client: client.publish(data=array.array("B", bytes(100))),
}


@pytest.mark.parametrize("message", BAD)
def test_an_unusable_image_is_logged_once_and_the_next_good_one_gives_a_result(
    client: Client, message: str
) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    lines = client.process.text().count(message)

    def send() -> None:
        BAD[message](client)

    client.stream(
        lambda: client.status("input")[0] == ERROR and message in client.status("input")[1],
        f"an error with {message!r}",
        send=send,
    )
    count = len(bodies)
    end = time.monotonic() + 0.5
    client.stream(lambda: time.monotonic() > end, "half a second", send=send)
    assert len(bodies) == count, "there is no result for an unusable image"
    assert client.process.text().count(message) == lines + 1, client.process.text()
    assert int(next(v for k, v in client.status("input")[2].items() if "dropped: bad" in k)) > 1
    expect_recovery(client, bodies)
    assert client.process.running()


def test_stamps_that_go_backwards_begin_a_new_stream(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    streams = int(client.status("window")[2]["stream"])
    past = time.time_ns() - 10_000_000_000
    times = iter(range(past, past + 10_000_000_000, 50_000_000))
    client.stream(
        lambda: (
            int(client.status("window")[2]["stream"]) > streams
            and "backwards" in client.status("window")[2]["stream began because of"]
        ),
        "a new stream",
        send=lambda: client.publish(stamp_ns=next(times)),
    )
    count = len(bodies)
    client.stream(
        lambda: len(bodies) > count + 2,
        "results of the past",
        send=lambda: client.publish(stamp_ns=next(times)),
    )
    assert bodies[-1].header.stamp.sec < time.time() - 5
    expect_recovery(client, bodies)


def test_repeated_stamps_give_no_results_and_a_warning(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    stamp = client.publish()
    client.stream(
        lambda: "all images have one stamp" in client.status("input")[1],
        "a warning",
        send=lambda: client.publish(stamp_ns=stamp),
    )
    assert client.status("input")[0] == WARN
    assert int(client.status("input")[2]["dropped: repeated stamp"]) > 1
    expect_recovery(client, bodies)


def test_images_without_a_stamp_are_a_warning(client: Client) -> None:
    client.stream(
        lambda: "no stamp" in client.status("input")[1],
        "a warning",
        send=lambda: client.publish(stamp_ns=0),
    )
    assert client.status("input")[0] == WARN
    expect_recovery(client, client.listen(BodyArray, "bodies"))


def test_missing_images_are_a_warning_then_an_error(client: Client) -> None:
    expect_recovery(client, client.listen(BodyArray, "bodies"))
    client.wait(lambda: client.status("input")[0] == WARN, "a warning")
    assert "no image any more" in client.status("input")[1]
    assert "/image is published by listener" in client.status("input")[1]
    client.wait(lambda: client.status("input")[0] == ERROR, "an error")
    assert "stale" not in client.status("latency")[1]  # without images there is nothing to wait for


def test_an_engine_failure_is_an_error_until_the_next_result(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    client.stream(
        lambda: client.status("engine")[0] == ERROR,
        "an error",
        send=lambda: client.publish(black),
    )
    assert "a black image" in client.status("engine")[1]
    assert client.process.text().count("a black image") == 1, client.process.text()
    expect_recovery(client, bodies)
    client.stream(lambda: client.status("engine")[0] == 0, "engine is OK")
