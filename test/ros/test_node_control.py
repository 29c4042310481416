# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over DDS: lifecycle, services and parameters; refusals have a reason."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from fake_engine import image
from fake_node import CAMERA
from geometry_msgs.msg import PoseStamped
from node_client import Client, fake_node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_process import NodeProcess, stamp_ns
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from thfm_ros.contract import Task
from thfm_ros.msg import Body, BodyArray, LabelMap, TargetInfo
from thfm_ros.srv import Follow, SetTasks

pytestmark = pytest.mark.ros

ERROR = 2
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ALL = sorted(task.value for task in Task)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with fake_node(tmp_path_factory.mktemp("node") / "log") as running:
        yield running


def test_set_tasks_by_name_and_by_prompt(client: Client) -> None:
    depth, parts = client.listen(Image, "depth/image"), client.listen(Image, "parts/image")
    response = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=["depth"]))
    assert response.success and list(response.active) == ["depth"]
    assert list(response.available) == ALL
    before = client.newest_ns
    for _ in range(5):
        client.exchange([depth])
    assert after(parts, before) == []
    prompts = [" PARTS ", "depth"]  # the prompts of the fake card are the names of its tasks
    assert client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=prompts)).success
    client.stream(lambda: after(parts, before), "parts")
    assert client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=ALL)).success


def after(messages: list[Any], time_ns: int) -> list[Any]:
    """The results of images with a later stamp: those of before may still arrive."""
    return [message for message in messages if stamp_ns(message) > time_ns]


@pytest.mark.parametrize("tasks", [["depth", "colour of the eyes"], []])
def test_set_tasks_refuses_the_whole_request_with_a_reason(
    client: Client, tasks: list[str]
) -> None:
    response = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=tasks))
    assert not response.success
    assert "has: bodies, dense_pose" in response.message
    assert list(response.active) == ALL


def test_a_disabled_node_publishes_nothing_until_it_is_enabled(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.exchange([bodies])
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    client.wait(lambda: "disabled" in client.status("input")[1], "diagnostics")
    before = client.newest_ns
    for _ in range(10):
        client.publish()
        client.listener.spin_for(0.05)
    assert after(bodies, before) == []
    assert client.call(SetBool, "enable", SetBool.Request(data=True)).success
    client.wait_for_subscription()
    client.exchange([bodies])


def test_reset_drops_all_tracks(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.stream(lambda: bodies and len(bodies[-1].bodies) == 2, "two bodies")
    before = {body.id for body in bodies[-1].bodies}
    assert client.call(Trigger, "reset", Trigger.Request()).success
    reset_ns = client.newest_ns
    client.stream(lambda: any(len(each.bodies) == 2 for each in after(bodies, reset_ns)), "bodies")
    assert not before & {body.id for each in after(bodies, reset_ns) for body in each.bodies}


def test_the_nearest_person_is_followed_and_then_lost(
    client: Client,
) -> None:
    poses, infos = client.listen(PoseStamped, "target"), client.listen(TargetInfo, "target_info")
    bodies = client.listen(BodyArray, "bodies")
    refused = client.call(Follow, "follow", Follow.Request(mode=Follow.Request.ID, id="nobod"))
    assert not refused.success and "no person 'nobod'" in refused.message
    nearest = Follow.Request(mode=Follow.Request.NEAREST)
    assert client.call(Follow, "follow", nearest).success
    client.stream(lambda: poses and infos[-1].state == TargetInfo.FOLLOWING, "a target")
    stamp = client.exchange([poses, infos, bodies])
    (pose,), (info,), (people,) = (
        [each for each in messages if stamp_ns(each) == stamp]
        for messages in (poses, infos, bodies)
    )
    chosen = min(people.bodies, key=lambda body: body.root.z)
    assert info.id == chosen.id and pose.pose.position == chosen.root
    assert pose.header == people.header and info.orientation_known
    assert info.distance == pytest.approx(chosen.root.z, rel=0.1)

    def publish_no_person() -> int:
        rgb = image(CAMERA)
        rgb[..., :2] = 245 + rgb[..., :2] // 25  # the corner of the scene, enlarged
        return client.publish(rgb)

    client.stream(lambda: infos[-1].state == TargetInfo.LOST, "a loss", send=publish_no_person)
    lost_ns, count = stamp_ns(infos[-1]), len(poses)
    client.exchange([infos, bodies], send=publish_no_person)
    assert all(body.state == Body.LOST for body in bodies[-1].bodies)
    assert infos[-1].id == chosen.id and math.isnan(infos[-1].distance)
    assert [each for each in poses[count:] if stamp_ns(each) >= lost_ns] == []
    assert client.call(Follow, "follow", Follow.Request(mode=Follow.Request.NONE)).success


def test_no_id_is_used_again_after_the_node_was_configured_anew(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")

    def seen_from(stamp_ns: int) -> set[str]:
        client.stream(lambda: any(len(m.bodies) == 2 for m in after(bodies, stamp_ns)), "bodies")
        return {body.id for message in after(bodies, stamp_ns) for body in message.bodies}

    assert client.set_parameter("track.seed", 1)[0]  # otherwise ids differ by chance
    before = seen_from(client.newest_ns)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert client.change_state(transition)
    client.wait_for_subscription()
    assert not before & seen_from(client.newest_ns)
    assert client.set_parameter("track.seed", -1)[0]


def test_ids_are_new_after_a_time_without_subscribers(client: Client) -> None:
    bodies: list[BodyArray] = []
    subscription = client.node.create_subscription(BodyArray, "/thfm/bodies", bodies.append, 10)
    client.stream(lambda: bodies and len(bodies[-1].bodies) == 2, "two bodies")
    before = {body.id for body in bodies[-1].bodies}
    client.node.destroy_subscription(subscription)
    client.stream(lambda: client.status("latency")[2].get("estimated tasks") == "none", "idle")
    first_ns = client.newest_ns
    # Images continue for longer than track.lost_for_s; the node may miss some of them.
    times = iter(range(first_ns, 2 * first_ns, 50_000_000))
    while client.newest_ns < first_ns + 2_000_000_000:
        client.publish(stamp_ns=next(times))
        client.listener.spin(0.01)
    later = client.listen(BodyArray, "bodies")
    client.stream(
        lambda: later and len(later[-1].bodies) == 2,
        "two bodies again",
        send=lambda: client.publish(stamp_ns=next(times)),
    )
    assert not before & {body.id for message in later for body in message.bodies}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("window.length", 0, "range"),
        ("window.length", 5.5, "type"),
        ("window.max_gap_s", -1.0, "range"),
        ("window.max_gap_s", "soon", "must be of type float"),
        ("track.smoothing", "kalman", "choose from none, one_euro"),
        ("engine.kind", "torch", "is read when the node is configured"),
        ("tasks", "depth", "type"),
        ("autostart", False, "read-only"),
    ],
)
def test_an_invalid_parameter_is_refused_with_a_reason(
    client: Client, name: str, value: object, reason: str
) -> None:
    accepted, text = client.set_parameter(name, value)
    assert not accepted
    assert reason.lower() in text.lower()


def test_a_float_parameter_accepts_an_integer(client: Client) -> None:
    assert client.set_parameter("window.max_gap_s", 1) == (True, "")
    assert client.set_parameter("window.max_gap_s", 0.5) == (True, "")


def test_a_threshold_takes_effect_at_once_and_the_label_map_is_published_again(
    client: Client,
) -> None:
    labels = client.listen(LabelMap, "segmentation/labels", LATCHED)
    client.wait(lambda: labels, "labels")
    assert client.set_parameter("decode.mask_threshold", 0.7)[0]
    client.wait(lambda: labels[-1].threshold == pytest.approx(0.7), "the new threshold")
    assert client.set_parameter("decode.mask_threshold", 0.5)[0]


def test_parameters_that_were_refused_can_be_set_between_cleanup_and_configure(
    client: Client,
) -> None:
    for transition, state in (
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
    ):
        assert client.change_state(transition)
        assert client.state() == state
    assert not client.call(Trigger, "reset", Trigger.Request()).success
    response = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=["depth"]))
    assert not response.success and "unconfigured" in response.message
    assert client.set_parameter("depth_encoding", "16UC1") == (True, "")
    assert client.set_parameter("diagnostics_period_s", 0.1) == (True, "")
    assert client.set_parameter("humans_namespace", "/robot-1/humans")[0]
    assert not client.change_state("configure")
    client.wait(lambda: "humans_namespace" in client.status("engine")[1], "the reason")
    assert client.set_parameter("humans_namespace", "/humans")[0]
    assert client.change_state("configure")
    assert client.change_state("activate")
    client.wait_for_subscription()
    depth = client.listen(Image, "depth/image")
    client.stream(lambda: depth, "depth in millimetres")
    assert depth[-1].encoding == "16UC1"
    diagnostics = client.listener.received["/diagnostics"]
    diagnostics.clear()
    period_s = 0.15  # below the former one, which a busy machine can only lengthen
    client.wait(
        lambda: any(
            stamp_ns(two) - stamp_ns(one) < period_s * 1e9 for one, two in pairwise(diagnostics)
        ),
        "a shorter period of diagnostics",
    )
    for transition in ("deactivate", "cleanup"):
        assert client.change_state(transition)
    assert client.set_parameter("depth_encoding", "32FC1") == (True, "")
    assert client.set_parameter("diagnostics_period_s", 0.2) == (True, "")
    for transition in ("configure", "activate"):
        assert client.change_state(transition)
