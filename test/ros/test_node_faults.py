# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS: bad input and engine failures are reported once and do not end the node."""

import array
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from fake_node import HEIGHT, WIDTH
from node_client import Client, fake_node
from ros_process import NodeProcess, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

WARN, ERROR = 1, 2


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    log = tmp_path_factory.mktemp("node") / "log"
    with fake_node(log, {"image_timeout_s": 60.0}) as running:
        yield running


def expect_recovery(client: Client, bodies: list[BodyArray]) -> None:
    """Check that good images give results again and the input's status returns to OK."""
    before = len(bodies)
    client.stream(
        lambda: len(bodies) > before + 3 and client.status("input")[0] == 0, "results again"
    )


def configure_again(client: Client, **parameters: object) -> None:
    """Configure the node anew, with other parameters, which also discards its CameraInfo."""
    for transition in ("deactivate", "cleanup"):
        assert client.change_state(transition)
    for name, value in parameters.items():
        assert client.set_parameter(name, value) == (True, "")
    for transition in ("configure", "activate"):
        assert client.change_state(transition)
    client.wait_for_subscription()


@pytest.mark.fault("camera", "no camera_info")
def test_without_calibration_only_relative_results_and_a_warning_are_published(
    client: Client,
) -> None:
    configure_again(client)
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
    assert "No CameraInfo" in client.status("calibration")[1]
    assert not any(metric)
    assert not bodies[-1].metric
    assert all(np.isnan(body.root.z) for body in bodies[-1].bodies)
    assert np.nanmin(np.frombuffer(relative[-1].data, np.float32)) > 0


@pytest.mark.fault("camera", "a camera_info full of zeros")
def test_a_zero_calibration_is_rejected_and_a_valid_one_used_at_once(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    zero = CameraInfo(width=WIDTH, height=HEIGHT)
    zero.header.frame_id = "camera"
    publisher = client.node.create_publisher(CameraInfo, "camera_info", 1)

    def send_zero() -> None:
        publisher.publish(zero)
        client.publish(calibrated=False)

    client.stream(
        lambda: bodies and "zero" in client.status("calibration")[1],
        "a warning",
        send=send_zero,
    )
    assert not bodies[-1].metric
    client.stream(lambda: bodies[-1].metric, "metric bodies")
    client.stream(lambda: client.status("calibration")[0] == 0, "calibration is OK")
    client.node.destroy_publisher(publisher)


@pytest.mark.fault("camera", "a camera_info whose binning leaves no pixel")
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


@pytest.mark.fault("camera", "images stop while people are published")
def test_published_people_are_removed_when_images_stop(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    markers = client.listen(MarkerArray, "markers")

    def position_topics() -> list[str]:
        names = [name for name, _ in client.node.get_topic_names_and_types()]
        return [name for name in names if name.startswith("/humans/") and "/position" in name]

    client.stream(lambda: bodies and len(position_topics()) == 2, "two people")
    client.wait(lambda: not position_topics(), "no people")
    client.wait(
        lambda: [each.action for each in markers[-1].markers] == [Marker.DELETEALL], "DELETEALL"
    )
    client.stream(lambda: len(position_topics()) == 2, "two people again")


BAD: dict[str, Callable[[Client], Any]] = {  # by a part of the error message
    "16UC1": lambda client: client.publish(encoding="16UC1"),
    "is empty": lambda client: client.publish(width=0, height=0),
    "step=17": lambda client: client.publish(step=17),
    "100 bytes": lambda client: client.publish(data=array.array("B", bytes(100))),
}


def unusable(client: Client) -> int:
    """Number of unusable images."""
    values = client.status("input")[2]
    return sum(int(value) for key, value in values.items() if "dropped: bad" in key)


@pytest.mark.parametrize("message", BAD)
@pytest.mark.fault("camera", "images of an unusable encoding, size, step or length")
def test_an_unusable_image_is_logged_once_and_the_next_good_one_gives_a_result(
    client: Client, message: str
) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    lines = client.process.text().count(message)

    bad: list[int] = []

    def send() -> None:
        bad.append(BAD[message](client))

    client.stream(
        lambda: client.status("input")[0] == ERROR and message in client.status("input")[1],
        f"an error with {message!r}",
        send=send,
    )
    before = unusable(client)
    client.stream(lambda: unusable(client) > before + 3, "more of them", send=send)
    assert not {stamp_ns(each) for each in bodies} & set(bad), "no result of an unusable image"
    assert client.process.text().count(message) == lines + 1, client.process.text()
    expect_recovery(client, bodies)
    assert client.process.running()


@pytest.mark.fault("clock", "stamps go backwards")
def test_stamps_that_go_backwards_begin_a_new_stream(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    expect_recovery(client, bodies)
    streams = int(client.status("window")[2]["stream"])
    present = client.newest_ns
    times = count(present - 1_000_000_000_000, 50_000_000)
    client.stream(
        lambda: (
            int(client.status("window")[2]["stream"]) > streams
            and "backwards" in client.status("window")[2]["stream began because of"]
        ),
        "a new stream",
        send=lambda: client.publish(stamp_ns=next(times)),
    )
    client.stream(
        lambda: stamp_ns(bodies[-1]) < present - 500_000_000_000,
        "results of the past",
        send=lambda: client.publish(stamp_ns=next(times)),
    )
    expect_recovery(client, bodies)


@pytest.mark.fault("clock", "all images have one stamp")
def test_repeated_stamps_give_no_results_and_a_warning(client: Client) -> None:
    configure_again(client, image_timeout_s=1.0)
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
    configure_again(client, image_timeout_s=60.0)


@pytest.mark.fault("clock", "images without a stamp")
def test_images_without_a_stamp_are_a_warning(client: Client) -> None:
    client.stream(
        lambda: "no stamp" in client.status("input")[1],
        "a warning",
        send=lambda: client.publish(stamp_ns=0),
    )
    assert client.status("input")[0] == WARN
    expect_recovery(client, client.listen(BodyArray, "bodies"))


@pytest.mark.fault("camera", "images stop")
def test_missing_images_are_an_error_that_names_their_publisher(client: Client) -> None:
    """That it is a warning first: test_health.py."""
    configure_again(client, image_timeout_s=0.2)
    bodies = client.listen(BodyArray, "bodies")
    client.exchange([bodies])
    client.wait(
        lambda: client.status("input")[0] == ERROR and "any more" in client.status("input")[1],
        "an error",
    )
    assert "no image any more" in client.status("input")[1]
    assert "/image is published by listener" in client.status("input")[1]
    assert "stale" not in client.status("latency")[1]  # without images there is nothing to wait for
    configure_again(client, image_timeout_s=60.0)


@pytest.mark.fault("engine", "a step raises an error")
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
