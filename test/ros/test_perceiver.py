# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The perceiver in this process: slow steps, engine failures and stamps out of order."""

import array
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, image
from rclpy.publisher import Publisher
from ros_process import TIMEOUT_S, Listener, stamp_ns
from sensor_msgs.msg import Image

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Perception, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.msg import BodyArray
from thfm_ros.perception.frame_maps import FrameMaps
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import result_publishers, shared_data
from thfm_ros.ros.diagnostics import StateLogger
from thfm_ros.ros.health import Health
from thfm_ros.ros.perceiver import Perceiver
from thfm_ros.ros.worker import Worker

pytestmark = pytest.mark.ros

CAMERA = camera(320, 240, focal=250.0)


class StepControl:
    """Lets a test block the pipeline's steps or make them fail, and counts concurrent steps."""

    def __init__(self) -> None:
        self.may_finish, self.started = threading.Event(), threading.Event()
        self.may_finish.set()
        self.fails = False
        self.running = self.max_running = 0


class ControlledPipeline(PerceptionPipeline):
    """A pipeline whose steps a `StepControl` controls."""

    control: StepControl

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        control = self.control
        control.running += 1
        control.max_running = max(control.max_running, control.running)
        control.started.set()
        try:
            control.may_finish.wait(TIMEOUT_S)
            if control.fails:
                raise EngineError("the GPU is gone")
            return super().step(clip, tasks)
        finally:
            control.running -= 1


@pytest.fixture
def control() -> StepControl:
    return StepControl()


@pytest.fixture
def perceiver(
    listener: Listener, control: StepControl, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Perceiver]:
    original_stop = Worker.stop

    def stop(worker: Worker[Clip], timeout_s: float = 0.2) -> bool:
        return original_stop(worker, timeout_s)

    monkeypatch.setattr(Worker, "stop", stop)
    # What happens after a time without images depends on the speed of the machine.
    monkeypatch.setattr(Perceiver, "on_idle", lambda _: None)
    engine = FakeEngine(CAMERA, lambda: [Person(0.0, 0.0, 3.0)])
    pipeline = ControlledPipeline(engine, config_from({"track.seed": 1}))
    pipeline.control = control
    state_logger = StateLogger(lambda level, text: None)
    perceiver = Perceiver(listener.node, pipeline, Health(2.0), state_logger)
    perceiver.start()
    yield perceiver
    control.may_finish.set()
    perceiver.close()


@pytest.fixture
def bodies(listener: Listener, perceiver: Perceiver) -> list[BodyArray]:
    listener.listen(BodyArray, "/listener/bodies")
    received: list[BodyArray] = listener.received["/listener/bodies"]
    active = perceiver.active_tasks
    wait(listener, lambda: bool(perceiver.publishers.update_requested(active)))
    return received


def wait(listener: Listener, until: Callable[[], bool]) -> None:
    assert listener.wait(until)


def an_image(at_s: float) -> Image:
    msg = Image(height=CAMERA.height, width=CAMERA.width, encoding="rgb8", step=3 * CAMERA.width)
    msg.header.frame_id = "camera"
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(round(at_s * 1e9), 10**9)
    msg.data = array.array("B", np.ascontiguousarray(image(CAMERA)).tobytes())
    return msg


def send(perceiver: Perceiver, at_s: float) -> None:
    session = perceiver._session
    assert session is not None
    perceiver.on_image(an_image(at_s), session)


def stamps(bodies: list[BodyArray]) -> list[int]:
    return [message.header.stamp.sec for message in bodies]


def stop_during_a_step(perceiver: Perceiver, control: StepControl) -> None:
    """Stop while the worker is in a step that does not finish; `stop` does not wait for it."""
    control.may_finish.clear()
    send(perceiver, 100)
    assert control.started.wait(TIMEOUT_S)
    perceiver.stop()


@pytest.mark.fault("engine", "a step ends after the node was deactivated")
def test_a_step_that_ends_after_stop_publishes_nothing(
    listener: Listener, perceiver: Perceiver, control: StepControl, bodies: list[BodyArray]
) -> None:
    stop_during_a_step(perceiver, control)
    control.may_finish.set()
    perceiver.start()
    send(perceiver, 200)
    wait(listener, lambda: bool(bodies))
    assert stamps(bodies) == [200]


def test_a_step_that_ends_after_stop_does_not_overlap_with_the_next(
    listener: Listener, perceiver: Perceiver, control: StepControl, bodies: list[BodyArray]
) -> None:
    stop_during_a_step(perceiver, control)
    perceiver.start()
    send(perceiver, 200)
    listener.spin_for(0.2)
    control.may_finish.set()
    wait(listener, lambda: stamps(bodies) == [200])
    assert control.max_running == 1


def test_under_overload_the_next_result_is_of_the_newest_image_and_drops_are_counted(
    listener: Listener, perceiver: Perceiver, control: StepControl, bodies: list[BodyArray]
) -> None:
    control.may_finish.clear()
    send(perceiver, 100)
    assert control.started.wait(TIMEOUT_S)
    for number in range(1, 51):
        send(perceiver, 100 + 0.1 * number)
    control.may_finish.set()
    wait(listener, lambda: len(bodies) == 2)
    assert [stamp_ns(message) for message in bodies] == [100_000_000_000, 105_000_000_000]
    assert perceiver._health.drops == {"overtaken by a newer image": 49}


@pytest.mark.fault("engine", "a step raises an error while people are published")
def test_published_people_are_removed_once_when_the_engine_fails(
    listener: Listener, perceiver: Perceiver, control: StepControl, bodies: list[BodyArray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cleared: list[int] = []
    monkeypatch.setattr(perceiver.publishers, "clear", lambda: cleared.append(1))
    send(perceiver, 100)
    wait(listener, lambda: len(bodies) == 1)
    control.fails = True
    for failures in range(1, 4):
        send(perceiver, 100 + 0.1 * failures)
        wait(listener, lambda: perceiver._health.drops.get("engine failure") == failures)  # noqa: B023
    assert len(cleared) == 1


class MapControl:
    """Lets a test block the publication of maps or make it fail."""

    def __init__(self) -> None:
        self.may_finish, self.started = threading.Event(), threading.Event()
        self.may_finish.set()
        self.fails = False
        self.published: list[int] = []  # stamps of masks, seconds

    def publish(self, publisher: Publisher, message: Any) -> None:
        if isinstance(message, Image):
            self.started.set()
            self.may_finish.wait(TIMEOUT_S)
            if self.fails:
                raise RuntimeError("no memory for this message")
            self.published.append(message.header.stamp.sec)
        shared_data.publish(publisher, message)


@pytest.fixture
def maps(
    listener: Listener, perceiver: Perceiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MapControl]:
    control = MapControl()
    monkeypatch.setattr(result_publishers, "publish", control.publish)
    listener.listen(Image, "/listener/segmentation/image")
    active = perceiver.active_tasks
    wait(listener, lambda: Task.SEGMENTATION in perceiver.publishers.update_requested(active))
    yield control
    control.may_finish.set()


def test_bodies_do_not_wait_for_maps_that_are_still_being_published(
    listener: Listener, perceiver: Perceiver, bodies: list[BodyArray], maps: MapControl
) -> None:
    maps.may_finish.clear()
    send(perceiver, 100)
    assert maps.started.wait(TIMEOUT_S)
    send(perceiver, 101)
    wait(listener, lambda: stamps(bodies) == [100, 101])
    assert maps.published == []
    maps.may_finish.set()
    wait(listener, lambda: maps.published == [100, 101])


def test_bodies_are_published_before_the_maps_of_their_image_are_painted(
    listener: Listener, perceiver: Perceiver, bodies: list[BodyArray], maps: MapControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    may_paint, original = threading.Event(), FrameMaps.paint

    def paint(*arguments: Any) -> dict[str, Any]:
        may_paint.wait(TIMEOUT_S)
        return original(*arguments)

    monkeypatch.setattr(FrameMaps, "paint", paint)
    send(perceiver, 100)
    wait(listener, lambda: stamps(bodies) == [100])
    assert maps.published == []
    may_paint.set()
    wait(listener, lambda: maps.published == [100])


def test_an_error_of_publishing_maps_is_reported_and_bodies_go_on(
    listener: Listener, perceiver: Perceiver, bodies: list[BodyArray], maps: MapControl
) -> None:
    maps.fails = True
    for number in (100, 101):
        send(perceiver, number)
        wait(listener, lambda: len(bodies) == number - 99)  # noqa: B023
    wait(listener, lambda: perceiver._health.drops.get("engine failure") == 2)
    maps.fails = False
    send(perceiver, 102)
    wait(listener, lambda: maps.published == [102])


def test_stopping_waits_for_maps_that_are_being_published(
    listener: Listener, perceiver: Perceiver, bodies: list[BodyArray], maps: MapControl
) -> None:
    maps.may_finish.clear()
    send(perceiver, 100)
    assert maps.started.wait(TIMEOUT_S)
    threading.Timer(0.1, maps.may_finish.set).start()
    perceiver.stop()
    assert maps.published == [100], "the publisher may be destroyed now"


@pytest.mark.parametrize(
    ("times", "expected"),
    [([1.0, 1.1, 1.2], 0), ([1.0, 3.0, 5.0], 0), ([9.0, 1.0, 1.1], 1), ([9.0, 1.0, 0.5], 2)],
    ids=["in order", "with gaps", "back once", "back twice"],
)
def test_transforms_are_cleared_only_when_time_goes_backwards(
    perceiver: Perceiver, monkeypatch: pytest.MonkeyPatch, times: list[float], expected: int
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(perceiver.publishers, "clear_transforms", lambda: calls.append(1))
    for at_s in times:
        send(perceiver, at_s)
    assert len(calls) == expected


def test_what_is_wanted_is_known_before_the_first_image(
    perceiver: Perceiver, bodies: list[BodyArray]
) -> None:
    assert perceiver.snapshot("active", True).requested == ("bodies",)
    assert perceiver.snapshot("active", False).requested == ()
    assert perceiver.snapshot("inactive", True).requested == ()


def test_people_are_removed_by_the_nodes_clock_and_not_within_the_longest_gap_of_a_stream(
    perceiver: Perceiver,
) -> None:
    now_s = [100.0]
    perceiver._health = Health(2.0, node_clock=lambda: now_s[0])
    assert not perceiver.is_idle(), "while simulated time is paused"
    now_s[0] += 1.1
    assert perceiver.is_idle()
    perceiver.apply(config_from({"window.max_gap_s": 3.0}))
    assert not perceiver.is_idle()
    now_s[0] += 2.0
    assert perceiver.is_idle()
    perceiver._health.image_received(0.0, "320x240 rgb8")
    assert perceiver.is_idle(), "the image was not usable"
    perceiver._health.image_accepted(began_stream=False)
    assert not perceiver.is_idle()


def test_people_left_out_are_published_and_reported_until_images_stop(
    listener: Listener, perceiver: Perceiver, bodies: list[BodyArray]
) -> None:
    crowd = [Person(0.4 * number - 0.6, 0.0, 4.0) for number in range(4)]
    vars(perceiver._pipeline.engine)["scene"] = lambda: crowd
    perceiver.apply(config_from({"regions.max_people": 2}))
    send(perceiver, 100)
    wait(listener, lambda: bool(bodies))
    assert bodies[-1].left_out == 2
    wait(listener, lambda: perceiver.snapshot("active", True).left_out == 2)
    assert perceiver.snapshot("active", True).max_people == 2
    perceiver.stop()
    assert perceiver.snapshot("active", True).left_out == 0
