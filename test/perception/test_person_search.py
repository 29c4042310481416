# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Detection passes: when they are due, and that a live camera does not wait for them."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, frame, perfect_detections, region_of

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Perception, Task
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
ALL = frozenset(Task)
WHOLE = (320, 240)
MIN_NETWORK_PX = 40  # of LowResolutionEngine; the people far away are 60 source pixels tall
EVERY_FRAME = {"regions.frame_pass_every": 1, "regions.frame_pass_period_s": 0.0}
TIMEOUT_S = 120.0  # reached only if something hangs


class GatedEngine(FakeEngine):
    """Detection passes block while the gate is closed."""

    def __init__(self, people: list[Person]) -> None:
        super().__init__(K, lambda: people)
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        if self.error:
            raise self.error
        return super().detect(image)


class LowResolutionEngine(FakeEngine):
    """Detects only people who are at least MIN_NETWORK_PX tall in its image."""

    def __init__(self, people: list[Person]) -> None:
        super().__init__(K, lambda: people)
        self.scales: list[float] = []

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        region = region_of(image, K)
        self.scales.append(round(region.scale, 1))
        tall = [each for each in self.scene() if height_px(each) >= MIN_NETWORK_PX * region.scale]
        return perfect_detections(region, K, tall)


def height_px(person: Person) -> float:
    """Height in source pixels."""
    return float(np.ptp(box_of(person, K)[1::2]))


class CameraStream:
    """Frames at 30 Hz as input of a pipeline."""

    def __init__(self, *, live: bool, period_s: float = 1 / 30, **settings: object) -> None:
        self.people = [Person(-0.8, 0.1, 3)]
        self.engine = GatedEngine(self.people)
        config: Config = config_from({"track.seed": 1, "regions.budget_ms": 0, **settings})
        self.pipeline = PerceptionPipeline(self.engine, config, live=live)
        self.window = FrameWindow(config.window)
        self._period_s, self._frames = period_s, 0

    def step(self, *, pause_s: float = 0.0) -> Perception:
        self._frames += 1
        clip = self.window.push(frame(K, self._frames * self._period_s + pause_s))
        assert clip is not None
        return self.pipeline.step(clip, ALL)

    def detection_passes(self, frames: int) -> list[int]:
        """Numbers of the frames with a detection pass, once per pass."""
        passes = []
        for number in range(frames):
            before = self.engine.steps.count(WHOLE)
            self.step()
            passes += [number] * (self.engine.steps.count(WHOLE) - before)
        return passes


@pytest.fixture
def async_stream() -> Iterator[CameraStream]:
    stream = CameraStream(live=True, **EVERY_FRAME)
    stream.step()
    yield stream
    stream.engine.gate.set()


def wait_for_pass() -> None:
    for thread in threading.enumerate():
        if thread.name == "search":
            thread.join(TIMEOUT_S)


def boxes(perception: Perception) -> list[list[float]]:
    return sorted(body.box.tolist() for body in perception.bodies)


@pytest.mark.parametrize(
    ("rate_hz", "frames"), [(10, [0, 5, 10, 15]), (30, [0, 10, 19]), (60, [0, 19])]
)
def test_the_rate_of_detection_passes_does_not_grow_with_the_frame_rate(
    rate_hz: float, frames: list[int]
) -> None:
    stream = CameraStream(live=True, period_s=1 / rate_hz, **{"regions.run_async": False})
    passes = stream.detection_passes(20)
    assert len(passes) == len(frames)
    np.testing.assert_allclose(passes, frames, atol=1)  # 0.3 s is a multiple of some periods


def low_resolution_stream(people: list[Person], *, live: bool, tiles: bool = True) -> CameraStream:
    settings = {"regions.tiles": tiles, "regions.run_async": False}
    stream = CameraStream(live=live, **EVERY_FRAME, **settings)
    stream.engine = LowResolutionEngine(people)  # type: ignore[assignment]
    stream.pipeline = PerceptionPipeline(stream.engine, stream.pipeline.config, live=live)
    return stream


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_small_people_are_detected_in_tiles(live: bool, tiles: bool) -> None:
    near, far = Person(-1.0, 0, 3), [Person(x, 0, 14) for x in (2.3, 3.7, 5.2, 7.0)]
    stream = low_resolution_stream([near, *far], live=live, tiles=tiles)
    for _ in range(13 if live else 1):
        perception = stream.step()
    expected = [near, *far] if tiles else [near]
    np.testing.assert_allclose(
        boxes(perception), sorted(box_of(p, K).tolist() for p in expected), atol=3
    )


def test_for_a_live_camera_every_third_pass_covers_a_tile() -> None:
    stream = low_resolution_stream([], live=True)
    for _ in range(9):
        stream.step()
    assert stream.engine.scales == [2.0, 2.0, 1.2] * 3  # type: ignore[attr-defined]


def test_for_a_recording_the_first_pass_covers_small_tiles_and_later_ones_large_tiles() -> None:
    stream = low_resolution_stream([], live=False)
    for _ in range(3):
        stream.step()
    assert stream.engine.scales == [2.0, *[0.9] * 9, 2.0, 1.2]  # type: ignore[attr-defined]


def test_a_lost_track_requests_a_pass_over_the_whole_image() -> None:
    near, other = Person(-0.4, 0, 3), Person(0.8, 0, 4)
    people = [near, other]
    stream = low_resolution_stream(people, live=True)
    stream.step()
    people.remove(other)
    stream.step()  # the other track is lost now; otherwise a tile would be next
    stream.step()
    assert stream.engine.scales == [2.0, 2.0, 2.0]  # type: ignore[attr-defined]


def test_for_a_recording_passes_depend_on_the_number_of_frames_only() -> None:
    stream = CameraStream(live=False, period_s=1 / 60)
    assert stream.detection_passes(12) == [*[0] * 10, 5, 10]  # first all tiles as well


def test_a_live_camera_does_not_wait_for_a_detection_pass(async_stream: CameraStream) -> None:
    stream = async_stream
    stream.engine.gate.clear()
    for _ in range(5):  # would block here if it waited for the pass
        (body,) = stream.step().bodies
        np.testing.assert_allclose(body.box, box_of(stream.people[0], K), atol=3)
    assert stream.engine.entered.wait(TIMEOUT_S)


def test_an_asynchronous_pass_yields_a_new_detection(async_stream: CameraStream) -> None:
    stream = async_stream
    stream.people.append(Person(0.8, 0, 4))
    for _ in range(
        5
    ):  # a pass over a tile, where the person is too large, and one over the whole image
        perception = stream.step()
        wait_for_pass()
    assert len(perception.bodies) == 2


def test_asynchronous_passes_find_the_same_people_as_synchronous_ones() -> None:
    """Once all people are tracked, the results are equal."""
    both = [CameraStream(live=live, **EVERY_FRAME) for live in (True, False)]
    for each in both:
        each.people += [Person(0.9, 0, 4), Person(2.0, 0.2, 6)]
        for _ in range(10):
            perception = each.step()
            wait_for_pass()
        assert len(perception.bodies) == 3
    concurrent, serial = (each.step() for each in both)
    np.testing.assert_allclose(boxes(concurrent), boxes(serial), atol=1.5)
    assert concurrent.mask is not None and serial.mask is not None
    assert np.abs(concurrent.mask - serial.mask).mean() < 0.01


def test_crops_in_two_threads_give_the_same_results_as_in_one() -> None:
    settings = {"regions.frame_pass_every": 1000}
    crowd = [Person(x, 0, 5) for x in (-1.8, -0.6, 0.6, 1.8)]
    both = [
        CameraStream(live=True, **settings, **{"regions.run_async": run_async})
        for run_async in (True, False)
    ]
    for each in both:
        each.people[:] = crowd
    for number in range(5):
        concurrent, serial = (each.step() for each in both)
        assert [body.id for body in concurrent.bodies] == [body.id for body in serial.bodies]
        assert len(concurrent.bodies) == 4 or number == 0
        for one, other in zip(concurrent.bodies, serial.bodies, strict=True):
            np.testing.assert_array_equal(one.box, other.box)
            np.testing.assert_array_equal(one.positions_m, other.positions_m)
        for name in ("depth_m", "mask", "instances"):
            np.testing.assert_array_equal(getattr(concurrent, name), getattr(serial, name))


def test_the_crops_of_two_people_run_concurrently() -> None:
    stream = CameraStream(live=True, **{"regions.frame_pass_every": 1000})
    stream.people.append(Person(0.8, 0, 4))
    assert len(stream.step().bodies) == 2
    barrier = threading.Barrier(2, timeout=TIMEOUT_S)
    step = stream.engine.step

    def step_of_both(*args: Any, **kwargs: Any) -> Any:
        barrier.wait()  # raises unless both threads arrive
        return step(*args, **kwargs)

    vars(stream.engine)["step"] = step_of_both
    assert len(stream.step().bodies) == 2


@pytest.mark.fault("engine", "a crop in the second thread raises an error")
def test_an_error_in_the_second_thread_is_raised() -> None:
    stream = CameraStream(live=True, **{"regions.frame_pass_every": 1000})
    stream.people.append(Person(0.8, 0, 4))
    stream.step()
    step = stream.engine.step

    def failing_step(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name == "crops":
            raise RuntimeError("out of order")
        return step(*args, **kwargs)

    vars(stream.engine)["step"] = failing_step
    with pytest.raises(RuntimeError, match="out of order"):
        stream.step()


def test_proposals_from_before_an_interruption_are_dropped(async_stream: CameraStream) -> None:
    stream = async_stream
    stream.people.append(Person(0.8, 0, 4))
    stream.engine.gate.clear()
    stream.step()
    assert stream.engine.entered.wait(TIMEOUT_S)
    stream.people.clear()
    stream.engine.gate.set()
    assert stream.step(pause_s=100.0).bodies == ()
    wait_for_pass()
    assert stream.step(pause_s=100.0).bodies == ()


@pytest.mark.fault("engine", "a detection pass in its own thread raises an error")
def test_an_error_of_an_asynchronous_pass_is_raised(async_stream: CameraStream) -> None:
    stream = async_stream
    stream.engine.error = RuntimeError("out of order")
    stream.step()
    wait_for_pass()
    with pytest.raises(RuntimeError, match="out of order"):
        stream.step()
    stream.engine.error = None
    assert len(stream.step().bodies) == 1


@pytest.mark.parametrize("reason", ["a recording", "the parameter", "the engine"])
def test_a_detection_pass_is_synchronous_because_of(reason: str) -> None:
    settings = {**EVERY_FRAME, "regions.run_async": reason != "the parameter"}
    stream = CameraStream(live=reason != "a recording", **settings)
    if reason == "the engine":
        stream.engine.concurrent = False
        stream.pipeline = PerceptionPipeline(stream.engine, stream.pipeline.config, live=True)
    threads: set[str] = set()
    step = stream.engine.step

    def recorded_step(*args: object, **kwargs: object) -> object:
        threads.add(threading.current_thread().name)
        return step(*args, **kwargs)  # type: ignore[arg-type]

    stream.engine.step = recorded_step  # type: ignore[method-assign,assignment]
    tiles = [0] * 9 if reason == "a recording" else []
    assert stream.detection_passes(4) == [*tiles, 0, 1, 2, 3]
    assert threads == {threading.current_thread().name}
