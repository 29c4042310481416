# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""predict_to: which topics are of the time of publication, by a clock that the test sets.

No DDS: publishers keep what they are given.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, frame
from hypothesis import given
from hypothesis import strategies as st
from perceived import a_body, a_perception
from rclpy.time import Time
from std_msgs.msg import Header

from thfm_ros.config import config_from
from thfm_ros.contract import Task
from thfm_ros.geometry import quaternion_from_matrix
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.posture.kinematics import axis_rotation
from thfm_ros.ros import result_publishers, target_publisher, transform
from thfm_ros.ros.rep155 import body_topics, publisher
from thfm_ros.ros.result_publishers import ResultPublishers
from thfm_ros.ros.to_msg.headers import header_of
from thfm_ros.ros.topics import FrameResult
from thfm_ros.ros.transform import TargetFrame
from thfm_ros.srv import Follow

pytestmark = pytest.mark.ros

CAMERA = camera(320, 240, focal=250.0)
BODIES = frozenset({Task.BODIES})
SPEED = 1.2  # m/s, to the right
TF2_MSGS = SimpleNamespace(TFMessage=lambda transforms: SimpleNamespace(transforms=transforms))


class Setup:
    """A person who walks, perceived at 10 Hz until `frame_s`, with a node's clock at `now_s`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: dict[str, list[Any]] = {}
        self.frame_s, self.now_s = 5.0, 5.0
        self.x = 0.0
        for module in (result_publishers, target_publisher, publisher, body_topics):
            monkeypatch.setattr(module, "create_publisher", self.create_publisher)
            monkeypatch.setattr(module, "has_subscribers", lambda each: bool(each))
        monkeypatch.setattr(result_publishers, "publish", lambda to, msg: to.publish(msg))
        monkeypatch.setattr(target_publisher, "import_module", lambda _: TF2_MSGS)
        monkeypatch.setattr(publisher, "import_module", self.import_module)
        now = lambda: Time(nanoseconds=round(self.now_s * 1e9))  # noqa: E731
        self.node: Any = SimpleNamespace(get_clock=lambda: SimpleNamespace(now=now))
        engine = FakeEngine(CAMERA, lambda: [Person(self.x, 0.0, 4.0)])
        self.pipeline = PerceptionPipeline(engine, config_from({"track.seed": 1}))
        self.card = engine.card

    def create_publisher(self, node: Any, kind: Any, name: str, qos: Any) -> Any:
        return SimpleNamespace(publish=self.sent.setdefault(name, []).append)

    def import_module(self, name: str) -> Any:
        if name == "tf2_msgs.msg":
            return TF2_MSGS
        kinds = ("IdsList", "NormalizedRegionOfInterest2D", "NormalizedPointOfInterest2D")
        return SimpleNamespace(**{kind: SimpleNamespace for kind in (*kinds, "Skeleton2D")})

    def publish(self, predict_to: str) -> dict[str, Any]:
        """Perceive six frames and publish the last; the newest message of each topic."""
        settings = {"predict_to": predict_to, "track.seed": 1, "follow.found_after_s": 0.05}
        config = config_from(settings)
        publishers = ResultPublishers(self.node, self.card, config)
        assert publishers.target
        publishers.target.request(Follow.Request(mode=Follow.Request.NEAREST), Follow.Response())
        window, tasks = FrameWindow(config.window), frozenset(self.card.tasks)
        for index in range(-5, 1):
            self.x = SPEED * 0.1 * index
            clip = window.push(frame(CAMERA, self.frame_s + 0.1 * index))
            assert clip is not None
            perception = self.pipeline.step(clip, tasks if index >= -1 else BODIES)
            if index >= -1:  # the first time describes REP-155's bodies, which tf needs
                publishers.update_requested(tasks)
                header = header_of(clip.newest)
                result = FrameResult(perception, clip.newest.rgb, header, config)
                paint = self.pipeline.painter(perception)
                publish_maps = publishers.publish(result, self.pipeline.predicted, paint)
                assert publish_maps
                publish_maps()
        return {topic: messages[-1] for topic, messages in self.sent.items() if messages}


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    yield Setup(monkeypatch)


def stamp_s(header: Any) -> float:
    return float(header.stamp.sec + header.stamp.nanosec * 1e-9)


def test_by_default_bodies_are_of_the_image(setup: Setup) -> None:
    setup.now_s = 5.2
    bodies = setup.publish("frame")["~/bodies"]
    assert stamp_s(bodies.header) == pytest.approx(5.0)
    (body,) = bodies.bodies
    assert body.state == body.TRACKED and body.measurement_age == 0


def test_bodies_are_of_the_time_of_publication_and_say_that_they_are_predicted(
    setup: Setup,
) -> None:
    setup.now_s = 5.2
    sent = setup.publish("now")
    (body,) = sent["~/bodies"].bodies
    assert stamp_s(sent["~/bodies"].header) == pytest.approx(5.2)
    assert body.state == body.PREDICTED and body.measurement_age == pytest.approx(0.2)
    assert body.root.x == pytest.approx(setup.x + 0.2 * SPEED, abs=0.06)
    assert sent["~/bodies"].header.frame_id == "camera"


def test_what_derives_from_bodies_is_predicted_and_what_shows_pixels_is_not(setup: Setup) -> None:
    setup.now_s = 5.2
    sent = setup.publish("now")
    (body,) = sent["~/bodies"].bodies
    humans = f"/humans/bodies/{body.id}"
    predicted = {
        "~/markers": sent["~/markers"].markers[0].header,
        "~/target": sent["~/target"].header,
        "/tf": sent["/tf"].transforms[0].header,
        "position": sent[f"{humans}/position"].header,
        "joint_states": sent[f"{humans}/joint_states"].header,
    }
    assert {name: stamp_s(header) for name, header in predicted.items()} == pytest.approx(
        dict.fromkeys(predicted, 5.2)
    )
    of_the_image = ["~/depth/image", "~/instances/image", "~/segmentation/image", "~/overlay"]
    of_the_image += ["~/points", f"{humans}/roi", f"{humans}/skeleton2d", f"{humans}/cropped"]
    for name in of_the_image:
        assert stamp_s(sent[name].header) == pytest.approx(5.0), name
    assert sent["~/target"].pose.position.x == pytest.approx(body.root.x)
    left_px = sent[f"{humans}/roi"].xmin * CAMERA.width
    assert left_px < body.box[0] - 5  # the box of ~/bodies has moved on


@pytest.mark.parametrize(
    ("now_s", "stamp"),
    [(7.5, 5.5), (5.5, 5.5), (4.0, 5.0), (0.0, 5.0)],
    ids=["beyond the limit", "at the limit", "clock behind the camera", "sim time has not begun"],
)
def test_the_stamp_is_the_time_predicted_to(setup: Setup, now_s: float, stamp: float) -> None:
    setup.now_s = now_s
    bodies = setup.publish("now")["~/bodies"]
    assert stamp_s(bodies.header) == pytest.approx(stamp)
    (body,) = bodies.bodies
    assert body.state == (body.TRACKED if stamp == 5.0 else body.PREDICTED)
    assert body.measurement_age == pytest.approx(stamp - 5.0)
    assert body.root.x == pytest.approx(setup.x + (stamp - 5.0) * SPEED, abs=0.1)


class MovingCamera:
    """Replaces tf2_ros: a camera in map that moves and turns (about map's z) at constant speed.

    Its pose is known from ``known_from_s`` on.
    """

    class TransformException(Exception):
        pass

    def __init__(self, speed: float, turn: float, known_from_s: float = 0.0) -> None:
        self.speed, self.turn, self.known_from_s = speed, turn, known_from_s
        self.Buffer = self.TransformListener = lambda *_, **__: self

    def pose(self, at_s: float) -> tuple[np.ndarray, np.ndarray]:
        return axis_rotation((0, 0, 1), self.turn * at_s), np.array([self.speed * at_s, 0, 0])

    def lookup_transform(self, target: str, source: str, when: Any, timeout: Any) -> Any:
        at_s = when.nanoseconds * 1e-9
        if at_s < self.known_from_s:
            raise self.TransformException("extrapolation into the past")
        rotation, (x, y, z) = self.pose(at_s)
        q = dict(zip("xyzw", quaternion_from_matrix(rotation), strict=True))
        vector = SimpleNamespace(x=x, y=y, z=z)
        pose = SimpleNamespace(rotation=SimpleNamespace(**q), translation=vector)
        return SimpleNamespace(transform=pose)


def in_map(
    camera_in_map: MovingCamera, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> tuple[Any, Any, np.ndarray]:
    """A person who rests in map, at 5 s + ``ahead_s``; also the header and where they are."""
    monkeypatch.setattr(transform, "import_module", lambda _: camera_in_map)
    rotation, translation = camera_in_map.pose(5.0)
    true_m = np.array([2.0, 3.0, 0.5])
    in_camera = rotation.T @ (true_m - translation)
    later_r, later_t = camera_in_map.pose(5.0 - 0.075)
    earlier = later_r.T @ (true_m - later_t)
    velocity = ((in_camera - earlier) / 0.075).astype(np.float32)
    x, y, z = in_camera
    body = replace(a_body(at=(x, y, z)), velocity_m_s=velocity)
    perception = replace(a_perception(body), stamp_ns=5 * 10**9)
    moved_m = velocity * min(ahead_s, 0.5)
    later = replace(
        body,
        root_m=body.root_m + moved_m,
        positions_m=body.positions_m + moved_m,
        measurement_age_s=ahead_s,
    )
    predicted = replace(perception, stamp_ns=round((5 + ahead_s) * 1e9), bodies=(later,))
    header = Header(frame_id="camera")
    header.stamp.sec = 5
    result = TargetFrame(None, "map", 0.05).transform(perception, header, predicted)
    assert result is not None
    return result[0].bodies[0], result[1], true_m


@given(speed=st.floats(-1.0, 1.0), turn=st.floats(-0.6, 0.6), ahead_s=st.floats(0.001, 0.5))
def test_a_resting_person_before_a_moving_and_turning_camera_is_predicted_to_rest(
    speed: float, turn: float, ahead_s: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        body, header, true_m = in_map(MovingCamera(speed, turn), patch, ahead_s)
    assert header.frame_id == "map" and stamp_s(header) == pytest.approx(5 + ahead_s)
    # Velocities are those of the last moment, which a turn changes; with the camera the person
    # would move by 3.6 m * turn * ahead_s.
    np.testing.assert_allclose(body.root_m, true_m, atol=0.001 + 0.25 * abs(turn) * ahead_s)
    assert body.measurement_age_s == pytest.approx(ahead_s)


def test_while_the_motion_of_the_camera_is_unknown_bodies_keep_the_time_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body, header, true_m = in_map(MovingCamera(1.0, 0.0, known_from_s=4.95), monkeypatch, 0.2)
    assert stamp_s(header) == 5 and body.measurement_age_s == 0
    np.testing.assert_allclose(body.root_m, true_m, atol=1e-5)
    assert np.isnan(body.velocity_m_s).all()


def test_without_people_there_is_an_empty_list_of_that_time(setup: Setup) -> None:
    setup.pipeline.engine.scene = lambda: []  # type: ignore[attr-defined]
    setup.now_s = 5.2
    bodies = setup.publish("now")["~/bodies"]
    assert not bodies.bodies and stamp_s(bodies.header) == pytest.approx(5.2)
    assert Task.BODIES in setup.card.tasks
