# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS, in another process: images are published, every topic is received."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_node import CAMERA, HEIGHT, PEOPLE, WIDTH
from geometry_msgs.msg import PointStamped
from node_client import Client, fake_node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_process import NodeProcess, stamp_ns
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.msg import BodyArray, LabelMap, SkeletonInfo
from thfm_ros.skeleton import JOINT_NAMES, PART_NAMES, Joint

pytestmark = pytest.mark.ros

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
IMAGES = {  # topic: encoding, bytes per pixel
    "depth/image": ("32FC1", 4),
    "depth_relative/image": ("32FC1", 4),
    "segmentation/image": ("mono8", 1),
    "parts/image": ("mono8", 1),
    "instances/image": ("16UC1", 2),
    "normals/image": ("32FC3", 12),
    "normals/color": ("rgb8", 3),
    "dense_pose/image": ("32FC3", 12),
    "dense_pose/color": ("rgb8", 3),
    "overlay": ("rgb8", 3),
}
OTHERS = {
    "depth/camera_info": CameraInfo,
    "points": PointCloud2,
    "bodies": BodyArray,
    "markers": MarkerArray,
}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with fake_node(tmp_path_factory.mktemp("node") / "log") as running:
        yield running


def listen_to_all(client: Client) -> dict[str, list[Any]]:
    kinds = {**dict.fromkeys(IMAGES, Image), **OTHERS}
    return {topic: client.listen(kind, topic) for topic, kind in kinds.items()}


def pixels(msg: Image) -> np.ndarray:
    kind = {"mono8": "u1", "rgb8": "u1", "16UC1": "u2", "32FC1": "f4", "32FC3": "f4"}[msg.encoding]
    return np.frombuffer(msg.data, kind).reshape(msg.height, msg.width, -1)


def test_every_topic_has_the_stamp_and_frame_of_its_image(client: Client) -> None:
    received = listen_to_all(client)
    sent: list[int] = []
    unused = {"depth_relative/image"}  # only without a calibration

    def all_received() -> bool:
        return all(len(received[topic]) >= 3 for topic in received.keys() - unused)

    client.stream(all_received, "all topics", send=lambda: sent.append(client.publish()))
    assert received["depth_relative/image"] == []
    for topic in received.keys() - unused:
        msg = received[topic][-1]
        assert stamp_ns(msg) in sent, topic
        if topic != "markers":
            assert msg.header.frame_id == "camera", topic
        if topic in IMAGES:
            encoding, pixel = IMAGES[topic]
            assert (msg.width, msg.height, msg.encoding) == (WIDTH, HEIGHT, encoding), topic
            assert msg.step == WIDTH * pixel and len(msg.data) == HEIGHT * msg.step, topic
    cloud = received["points"][-1]
    assert (cloud.width, cloud.height, cloud.point_step) == (WIDTH, HEIGHT, 16)
    assert list(received["depth/camera_info"][-1].k)[:3:2] == [CAMERA.fx, CAMERA.cx - 0.5]


def test_all_topics_agree_on_the_people_of_the_scene(client: Client) -> None:
    received = listen_to_all(client)

    def both_tracked() -> bool:
        return bool(received["bodies"]) and [b.state for b in received["bodies"][-1].bodies] == [
            1,
            1,
        ]

    client.stream(both_tracked, "two tracked bodies")
    topics = [topic for topic in (*IMAGES, "bodies", "markers") if topic != "depth_relative/image"]
    stamp = 0
    while not stamp or not both_tracked():
        stamp = client.exchange([received[topic] for topic in topics])
    of_image: dict[str, Any] = {
        topic: next(each for each in reversed(received[topic]) if stamp_ns(each) == stamp)
        for topic in topics
    }
    message = of_image["bodies"]
    assert message.metric
    bodies = message.bodies
    roots = sorted([body.root.x, body.root.y, body.root.z] for body in bodies)
    ground_truth = sorted(person.root_m.tolist() for person in PEOPLE)
    np.testing.assert_allclose(roots, ground_truth, atol=0.25)
    assert all(len(body.id) == 5 and body.id.islower() for body in bodies)
    assert len(bodies[0].joints) == len(JOINT_NAMES)
    labels, instances = pixels(of_image["segmentation/image"]), pixels(of_image["instances/image"])
    assert set(np.unique(labels)) == {0, 1}
    assert set(np.unique(instances)) == {0, 1, 65535}
    for index, body in enumerate(bodies):
        x, y = body.joints[Joint.SPINE_UPPER].x, body.joints[Joint.SPINE_UPPER].y
        assert instances[int(y), int(x), 0] == index
        depth = pixels(of_image["depth/image"])[int(y), int(x), 0]
        assert depth == pytest.approx(body.root.z, abs=0.3)
    assert np.isnan(pixels(of_image["normals/image"])[0, 0]).all()
    drawn = {m.ns for m in of_image["markers"].markers if m.action == Marker.ADD}
    assert drawn == {f"body_{body.id}" for body in bodies}


def test_late_subscribers_receive_the_latched_messages(client: Client) -> None:
    skeleton = client.listen(SkeletonInfo, "skeleton_info", LATCHED)
    people = client.listen(LabelMap, "segmentation/labels", LATCHED)
    parts = client.listen(LabelMap, "parts/labels", LATCHED)
    client.wait(lambda: skeleton and people and parts, "latched messages")
    assert tuple(skeleton[0].joint_names) == JOINT_NAMES
    assert tuple(people[0].names) == ("background", "person")
    assert tuple(parts[0].names) == PART_NAMES


def test_only_tasks_with_subscribers_are_estimated(
    client: Client,
) -> None:
    client.stream(lambda: float(client.status("input")[2].get("rate (Hz)", 0)) > 0, "images")
    client.stream(
        lambda: client.status("latency")[2].get("estimated tasks") == "none", "no task estimated"
    )
    before = client.status("latency")[2]["results"]
    diagnostics = client.listener.received["/diagnostics"]
    count = len(diagnostics)
    client.stream(lambda: len(diagnostics) > count + 3, "more diagnostics")
    assert client.status("latency")[2]["results"] == before
    client.listen(Image, "parts/image")
    client.stream(
        lambda: client.status("latency")[2].get("estimated tasks") == "parts", "parts estimated"
    )


def test_rep155_topics_describe_a_body(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.stream(
        lambda: bodies and bodies[-1].bodies and bodies[-1].bodies[0].state == 1, "a body"
    )
    body_id = bodies[-1].bodies[0].id
    root = f"/humans/bodies/{body_id}"
    joints = client.listen(JointState, f"{root}/joint_states")
    position = client.listen(PointStamped, f"{root}/position")
    text = client.listen(String, f"{root}/urdf", LATCHED)
    client.stream(lambda: joints and position and text, "REP-155")
    assert f'<robot name="human_{body_id}">' in text[-1].data
    assert all(name.endswith(f"_{body_id}") for name in joints[-1].name)
    assert f"l_elbow_{body_id}" in joints[-1].name
    assert np.isfinite(list(joints[-1].position)).all()
    stamps = {stamp_ns(message) for message in bodies}
    assert stamp_ns(position[-1]) in stamps | {stamp_ns(bodies[-1])}
    assert position[-1].point.z == pytest.approx(PEOPLE[0].z, abs=1.2)


@pytest.mark.fault("camera", "the size of the images changes")
def test_another_image_size_begins_a_new_stream(client: Client) -> None:
    overlay = client.listen(Image, "overlay")
    client.stream(lambda: len(overlay) > 2, "overlays")
    epoch = client.status("window")[2].get("stream")
    half = np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8) + 9
    client.stream(
        lambda: overlay[-1].width == WIDTH // 2,
        "overlays of the new size",
        send=lambda: client.publish(half),
    )
    client.stream(
        lambda: client.status("window")[2].get("stream") != epoch,
        "a new stream",
        send=lambda: client.publish(half),
    )
    assert overlay[-1].height == HEIGHT // 2


def test_deactivating_stops_publishing_and_deletes_the_markers(client: Client) -> None:
    overlay, markers = client.listen(Image, "overlay"), client.listen(MarkerArray, "markers")
    client.stream(lambda: overlay and markers and markers[-1].markers, "markers")
    assert client.change_state("deactivate")
    client.wait(lambda: markers and markers[-1].markers[0].action == Marker.DELETEALL, "DELETEALL")
    assert client.state() == "inactive"
    before = client.newest_ns
    for _ in range(10):
        client.publish()
        client.listener.spin_for(0.05)
    assert all(stamp_ns(message) <= before for message in overlay)
    assert client.change_state("activate")
    client.wait_for_subscription()
    client.exchange([overlay])
