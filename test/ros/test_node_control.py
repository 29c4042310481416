"""Over real DDS: lifecycle, services and parameters; what cannot be is refused with a reason."""

import time
from collections.abc import Iterator

import pytest
from node_client import Client, fake_node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_process import Listener, NodeProcess
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from thfm_ros.contract import Task
from thfm_ros.msg import BodyArray, LabelMap
from thfm_ros.srv import SetTasks

pytestmark = pytest.mark.ros

ERROR = 2
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ALL = sorted(task.value for task in Task)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with fake_node(tmp_path_factory.mktemp("node") / "log") as running:
        yield running


@pytest.fixture
def client(listener: Listener, process: NodeProcess) -> Client:
    made = Client(listener, process)
    made.wait_for_subscription()
    return made


def test_set_tasks_by_name_and_by_prompt(client: Client) -> None:
    depth, parts = client.listen(Image, "depth/image"), client.listen(Image, "parts/image")
    answer = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=["depth"]))
    assert answer.success and list(answer.active) == ["depth"]
    assert list(answer.available) == ALL
    client.stream(lambda: len(depth) > 3, "depth")
    count = len(parts)
    client.stream(lambda: len(depth) > 8, "more depth")
    assert len(parts) == count
    prompts = [" PARTS ", "depth"]  # the fake card's prompts are its tasks' names
    assert client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=prompts)).success
    client.stream(lambda: len(parts) > count, "parts")
    assert client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=ALL)).success


@pytest.mark.parametrize("tasks", [["depth", "colour of the eyes"], []])
def test_set_tasks_refuses_all_or_nothing_with_a_reason(client: Client, tasks: list[str]) -> None:
    answer = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=tasks))
    assert not answer.success
    assert "it can: bodies, dense_pose" in answer.message or "can: bodies" in answer.message
    assert list(answer.active) == ALL


def test_disabled_is_silent_and_enabled_again_it_goes_on(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.stream(lambda: len(bodies) > 2, "bodies")
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    client.wait(lambda: "switched off" in client.status("input")[1], "told")
    count = len(bodies)
    for _ in range(10):
        client.publish()
        client.listener.wait(lambda: False, 0.05)
    assert len(bodies) == count
    assert client.call(SetBool, "enable", SetBool.Request(data=True)).success
    client.wait_for_subscription()
    client.stream(lambda: len(bodies) > count + 2, "bodies again")


def test_reset_forgets_everybody(client: Client) -> None:
    bodies = client.listen(BodyArray, "bodies")
    client.stream(lambda: bodies and len(bodies[-1].bodies) == 2, "two bodies")
    before = {body.id for body in bodies[-1].bodies}
    assert client.call(Trigger, "reset", Trigger.Request()).success
    count = len(bodies)
    client.stream(lambda: len(bodies) > count + 5 and len(bodies[-1].bodies) == 2, "two others")
    assert not before & {body.id for body in bodies[-1].bodies}


def test_who_comes_while_nobody_listens_is_somebody_else(client: Client) -> None:
    bodies: list[BodyArray] = []
    listening = client.node.create_subscription(BodyArray, "/thfm/bodies", bodies.append, 10)
    client.stream(lambda: bodies and len(bodies[-1].bodies) == 2, "two bodies")
    before = {body.id for body in bodies[-1].bodies}
    client.node.destroy_subscription(listening)
    end = time.monotonic() + 2.0  # longer than track.lost_for_s; the images go on
    client.stream(lambda: time.monotonic() > end, "images without a listener")
    bodies.clear()
    client.listener.listen(BodyArray, "/thfm/bodies")
    again = client.listener.got["/thfm/bodies"]
    client.stream(lambda: again and len(again[-1].bodies) == 2, "two bodies again")
    assert not before & {body.id for message in again for body in message.bodies}


@pytest.mark.parametrize(
    ("name", "value", "said"),
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
def test_a_parameter_that_cannot_be_is_refused_with_a_reason(
    client: Client, name: str, value: object, said: str
) -> None:
    accepted, reason = client.set_parameter(name, value)
    assert not accepted
    assert said.lower() in reason.lower()


def test_a_whole_number_is_good_enough_for_seconds(client: Client) -> None:
    assert client.set_parameter("window.max_gap_s", 1) == (True, "")
    assert client.set_parameter("window.max_gap_s", 0.5) == (True, "")


def test_a_threshold_takes_effect_at_once_and_the_label_map_is_sent_again(client: Client) -> None:
    labels = client.listen(LabelMap, "segmentation/labels", LATCHED)
    client.wait(lambda: labels, "labels")
    assert client.set_parameter("decode.mask_threshold", 0.7)[0]
    client.wait(lambda: labels[-1].threshold == pytest.approx(0.7), "the new threshold")
    assert client.set_parameter("decode.mask_threshold", 0.5)[0]


def test_the_lifecycle_goes_round_and_what_was_refused_can_be_set_in_between(
    client: Client,
) -> None:
    for transition, state in (
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
    ):
        assert client.change_state(transition)
        assert client.state() == state
    assert not client.call(Trigger, "reset", Trigger.Request()).success
    answer = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=["depth"]))
    assert not answer.success and "unconfigured" in answer.message
    assert client.set_parameter("depth_encoding", "16UC1") == (True, "")
    assert client.set_parameter("diagnostics_period_s", 0.1) == (True, "")
    assert client.set_parameter("humans_namespace", "/robot-1/humans")[0]
    assert not client.change_state("configure")
    client.wait(lambda: "humans_namespace" in client.status("engine")[1], "why not")
    assert client.set_parameter("humans_namespace", "/humans")[0]
    assert client.change_state("configure")
    assert client.change_state("activate")
    client.wait_for_subscription()
    depth = client.listen(Image, "depth/image")
    client.stream(lambda: depth, "depth in millimetres")
    assert depth[-1].encoding == "16UC1"
    before = len(client.listener.got["/diagnostics"])
    client.listener.wait(lambda: False, 1.0)
    assert len(client.listener.got["/diagnostics"]) - before >= 7  # 4 or 5 at the period before
