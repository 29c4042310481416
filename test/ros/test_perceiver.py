"""The way of an image through the node, in this process: what is slow, broken or out of order."""

import array
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, image
from ros_process import Listener
from sensor_msgs.msg import Image

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Perception, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.msg import BodyArray
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros.diagnostics import Announcer
from thfm_ros.ros.health import Health
from thfm_ros.ros.perceiver import Perceiver
from thfm_ros.ros.worker import Worker

pytestmark = pytest.mark.ros

CAMERA = camera(320, 240, focal=250.0)


class Gate:
    """An engine that waits at a gate, or fails, and tells how many threads are inside."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.open.set()
        self.broken = False
        self.inside = self.most_inside = 0


class GatedPipeline(PerceptionPipeline):
    """A pipeline behind such a gate."""

    gate: Gate

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        self.gate.inside += 1
        self.gate.most_inside = max(self.gate.most_inside, self.gate.inside)
        self.gate.entered.set()
        try:
            self.gate.open.wait(20)
            if self.gate.broken:
                raise EngineError("the GPU is gone")
            return super().step(clip, tasks)
        finally:
            self.gate.inside -= 1


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def perceiver(
    listener: Listener, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Perceiver]:
    patient = Worker.stop
    monkeypatch.setattr(Worker, "stop", lambda worker, timeout_s=0.2: patient(worker, timeout_s))
    engine = FakeEngine(CAMERA, lambda: [Person(0.0, 0.0, 3.0)])
    pipeline = GatedPipeline(engine, config_from({"track.seed": 1}))
    pipeline.gate = gate
    announcer = Announcer(lambda level, text: None)
    made = Perceiver(listener.node, pipeline, Health(2.0), announcer)
    made.start()
    yield made
    gate.open.set()
    made.close()


@pytest.fixture
def bodies(listener: Listener, perceiver: Perceiver) -> list[BodyArray]:
    listener.listen(BodyArray, "/listener/bodies")
    got: list[BodyArray] = listener.got["/listener/bodies"]
    wait(listener, lambda: bool(perceiver.outputs.wanted(perceiver.active)))
    return got


def wait(listener: Listener, until: Callable[[], bool]) -> None:
    assert listener.wait(until, 10.0)


def an_image(at_s: float) -> Image:
    msg = Image(height=CAMERA.height, width=CAMERA.width, encoding="rgb8", step=3 * CAMERA.width)
    msg.header.frame_id = "camera"
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(round(at_s * 1e9), 10**9)
    msg.data = array.array("B", np.ascontiguousarray(image(CAMERA)).tobytes())
    return msg


def send(perceiver: Perceiver, at_s: float) -> None:
    running = perceiver._running
    assert running is not None
    perceiver.receive(an_image(at_s), running)


def stamps(bodies: list[BodyArray]) -> list[int]:
    return [message.header.stamp.sec for message in bodies]


def leave_a_step_behind(perceiver: Perceiver, gate: Gate) -> None:
    """The worker is in the pipeline, and `stop` gives up waiting for it."""
    gate.open.clear()
    send(perceiver, 100)
    assert gate.entered.wait(5)
    perceiver.stop()


def test_a_step_that_outlasts_its_activity_publishes_nothing(
    listener: Listener, perceiver: Perceiver, gate: Gate, bodies: list[BodyArray]
) -> None:
    leave_a_step_behind(perceiver, gate)
    gate.open.set()
    listener.wait(lambda: False, 0.5)
    assert stamps(bodies) == []
    perceiver.start()
    send(perceiver, 200)
    wait(listener, lambda: stamps(bodies) == [200])


def test_a_step_that_outlasts_its_activity_is_alone_in_the_pipeline(
    listener: Listener, perceiver: Perceiver, gate: Gate, bodies: list[BodyArray]
) -> None:
    leave_a_step_behind(perceiver, gate)
    perceiver.start()
    send(perceiver, 200)
    time.sleep(0.2)
    gate.open.set()
    wait(listener, lambda: stamps(bodies) == [200])
    assert gate.most_inside == 1


def test_people_are_taken_away_once_when_the_engine_fails(
    listener: Listener, perceiver: Perceiver, gate: Gate, bodies: list[BodyArray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cleared: list[float] = []
    monkeypatch.setattr(perceiver.outputs, "clear", lambda: cleared.append(time.monotonic()))
    send(perceiver, 100)
    wait(listener, lambda: len(bodies) == 1)
    gate.broken = True
    for i in range(1, 4):
        gate.entered.clear()
        send(perceiver, 100 + 0.1 * i)
        assert gate.entered.wait(5)
        time.sleep(0.15)
    assert len(cleared) == 1


@pytest.mark.parametrize(
    ("times", "forgotten"),
    [([1.0, 1.1, 1.2], 0), ([1.0, 3.0, 5.0], 0), ([9.0, 1.0, 1.1], 1), ([9.0, 1.0, 0.5], 2)],
    ids=["in order", "with holes", "back once", "back twice"],
)
def test_transforms_are_forgotten_when_time_goes_back_and_only_then(
    perceiver: Perceiver, monkeypatch: pytest.MonkeyPatch, times: list[float], forgotten: int
) -> None:
    count: list[int] = []
    monkeypatch.setattr(perceiver.outputs, "forget_transforms", lambda: count.append(1))
    for at_s in times:
        send(perceiver, at_s)
    assert len(count) == forgotten
