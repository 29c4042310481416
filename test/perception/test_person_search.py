"""Looks at the whole image: when they are due, and that nobody waits for one beside a camera."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, frame, region_of

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Perception, Task
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
ALL = frozenset(Task)
WHOLE = (192, 144)
ALWAYS = {"regions.frame_pass_every": 1, "regions.frame_pass_period_s": 0.0}
PATIENCE_S = 20.0


class Gate(FakeEngine):
    """Looks at the whole image only while the gate is open."""

    def __init__(self, people: list[Person]) -> None:
        super().__init__(K, lambda: people)
        self.open, self.entered = threading.Event(), threading.Event()
        self.open.set()
        self.error: Exception | None = None

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        if cut.shape[1::-1] == WHOLE:
            self.entered.set()
            assert self.open.wait(PATIENCE_S)
            if self.error:
                raise self.error
        return super().step(cut, state, dense=dense)


class ShortSighted(FakeEngine):
    """Sees nobody in the whole image or a part of it who is lower than 24 pixels there."""

    def __init__(self, people: list[Person]) -> None:
        super().__init__(K, lambda: people)
        self.scales: list[float] = []

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        if cut.shape[1::-1] != WHOLE:
            return super().step(cut, state, dense=dense)
        self.scales.append(round(region_of(cut, K).scale, 1))
        everybody, self.scene = self.scene, lambda: []
        tall = [one for one in everybody() if high(one) >= 24 * self.scales[-1]]
        self.scene = lambda: tall
        try:
            return super().step(cut, state, dense=dense)
        finally:
            self.scene = everybody


def high(person: Person) -> float:
    """Source pixels."""
    return float(np.ptp(box_of(person, K)[1::2]))


class Camera:
    """Frames at 30 Hz into a pipeline."""

    def __init__(self, *, live: bool, period_s: float = 1 / 30, **settings: object) -> None:
        self.people = [Person(-0.8, 0.1, 3)]
        self.engine = Gate(self.people)
        config: Config = config_from({"track.seed": 1, **settings})
        self.pipeline = PerceptionPipeline(self.engine, config, live=live)
        self.window = FrameWindow(config.window)
        self._period_s, self._frames = period_s, 0

    def step(self, *, pause_s: float = 0.0) -> Perception:
        self._frames += 1
        clip = self.window.push(frame(K, self._frames * self._period_s + pause_s))
        assert clip is not None
        return self.pipeline.step(clip, ALL)

    def whole_looks(self, frames: int) -> list[int]:
        """Numbers of the frames in which the whole image was looked at."""
        looked = []
        for number in range(frames):
            before = self.engine.steps.count(WHOLE)
            self.step()
            looked += [number] * (self.engine.steps.count(WHOLE) - before)
        return looked


@pytest.fixture
def camera_with_search_beside() -> Iterator[Camera]:
    camera = Camera(live=True, **ALWAYS)
    camera.step()
    yield camera
    camera.engine.open.set()


def until_searched() -> None:
    for thread in threading.enumerate():
        if thread.name == "search":
            thread.join(PATIENCE_S)


def boxes(seen: Perception) -> list[list[float]]:
    return sorted(body.box.tolist() for body in seen.bodies)


@pytest.mark.parametrize(
    ("rate_hz", "looks"), [(10, [0, 5, 10, 15]), (30, [0, 10, 19]), (60, [0, 19])]
)
def test_a_fast_camera_costs_no_more_looks_a_second_than_a_slow_one(
    rate_hz: float, looks: list[int]
) -> None:
    camera = Camera(live=True, period_s=1 / rate_hz, **{"regions.beside": False})
    found = camera.whole_looks(20)
    assert len(found) == len(looks)
    np.testing.assert_allclose(found, looks, atol=1)  # 0.3 s is a multiple of some periods


def short_sighted(people: list[Person], *, live: bool, parts: bool = True) -> Camera:
    camera = Camera(live=live, **ALWAYS, **{"regions.parts": parts, "regions.beside": False})
    camera.engine = ShortSighted(people)  # type: ignore[assignment]
    camera.pipeline = PerceptionPipeline(camera.engine, camera.pipeline.config, live=live)
    return camera


@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_small_people_are_found_by_looks_at_parts(live: bool, parts: bool) -> None:
    near, far = Person(-1.0, 0, 3), [Person(x, 0, 14) for x in (2.3, 3.7, 5.2, 7.0)]
    camera = short_sighted([near, *far], live=live, parts=parts)
    for _ in range(13 if live else 1):
        seen = camera.step()
    wanted = [near, *far] if parts else [near]
    np.testing.assert_allclose(boxes(seen), sorted(box_of(p, K).tolist() for p in wanted), atol=3)


def test_beside_a_camera_parts_take_turns_with_the_whole_image() -> None:
    camera = short_sighted([], live=True)
    for _ in range(9):
        camera.step()
    assert camera.engine.scales == [3.3, 3.3, 2.0] * 3  # type: ignore[attr-defined]


def test_who_got_lost_is_looked_for_in_the_whole_image() -> None:
    near, other = Person(-0.4, 0, 3), Person(0.8, 0, 4)
    people = [near, other]
    camera = short_sighted(people, live=True)
    camera.step()
    people.remove(other)
    camera.step()  # shows that the other one is gone; else a part would be next
    camera.step()
    assert camera.engine.scales == [3.3, 3.3, 3.3]  # type: ignore[attr-defined]


def test_a_recording_is_looked_at_by_its_frames_alone() -> None:
    camera = Camera(live=False, period_s=1 / 60)
    assert camera.whole_looks(12) == [0, 0, 0, 0, 0, 5, 10]  # first the parts as well


def test_nobody_waits_for_a_look_at_the_whole_image(camera_with_search_beside: Camera) -> None:
    camera = camera_with_search_beside
    camera.engine.open.clear()
    for _ in range(5):  # a look that stands in the closed gate would hang here
        (body,) = camera.step().bodies
        np.testing.assert_allclose(body.box, box_of(camera.people[0], K), atol=3)
    assert camera.engine.entered.is_set()


def test_a_newcomer_is_found_by_a_look_beside(camera_with_search_beside: Camera) -> None:
    camera = camera_with_search_beside
    camera.people.append(Person(0.8, 0, 4))
    for _ in range(5):  # a look at a part, which he is too large for, and one at the whole
        seen = camera.step()
        until_searched()
    assert len(seen.bodies) == 2


def test_searching_beside_finds_whom_searching_in_place_finds() -> None:
    """The plain twin: once everybody is found, both say the same."""
    both = [Camera(live=live, **ALWAYS) for live in (True, False)]
    for each in both:
        each.people += [Person(0.9, 0, 4), Person(2.0, 0.2, 6)]
        for _ in range(10):
            seen = each.step()
            until_searched()
        assert len(seen.bodies) == 3
    beside, in_place = (each.step() for each in both)
    np.testing.assert_allclose(boxes(beside), boxes(in_place), atol=1.5)
    assert beside.mask is not None and in_place.mask is not None
    assert np.abs(beside.mask - in_place.mask).mean() < 0.01


def test_looking_at_people_beside_each_other_says_the_same() -> None:
    """The plain twin: one after the other."""
    settings = {"regions.frame_pass_every": 1000}
    crowd = [Person(x, 0, 5) for x in (-1.8, -0.6, 0.6, 1.8)]
    both = [Camera(live=True, **settings, **{"regions.beside": beside}) for beside in (True, False)]
    for each in both:
        each.people[:] = crowd
    for number in range(5):
        beside, in_turn = (each.step() for each in both)
        assert [body.id for body in beside.bodies] == [body.id for body in in_turn.bodies]
        assert len(beside.bodies) == 4 or number == 0
        for ours, theirs in zip(beside.bodies, in_turn.bodies, strict=True):
            np.testing.assert_array_equal(ours.box, theirs.box)
            np.testing.assert_array_equal(ours.positions_m, theirs.positions_m)
        for name in ("depth_m", "mask", "instances"):
            np.testing.assert_array_equal(getattr(beside, name), getattr(in_turn, name))


def test_two_people_are_looked_at_at_the_same_time() -> None:
    camera = Camera(live=True, **{"regions.frame_pass_every": 1000})
    camera.people.append(Person(0.8, 0, 4))
    assert len(camera.step().bodies) == 2
    both = threading.Barrier(2, timeout=PATIENCE_S)
    see = camera.engine.step

    def seen_together(*args: Any, **more: Any) -> Any:
        both.wait()  # breaks, with an error, when the other one does not come meanwhile
        return see(*args, **more)

    vars(camera.engine)["step"] = seen_together
    assert len(camera.step().bodies) == 2


def test_an_error_in_somebody_elses_crop_is_told() -> None:
    camera = Camera(live=True, **{"regions.frame_pass_every": 1000})
    camera.people.append(Person(0.8, 0, 4))
    camera.step()
    see = camera.engine.step

    def failing_beside(*args: Any, **more: Any) -> Any:
        if threading.current_thread().name == "crops":
            raise RuntimeError("out of order")
        return see(*args, **more)

    vars(camera.engine)["step"] = failing_beside
    with pytest.raises(RuntimeError, match="out of order"):
        camera.step()


def test_what_a_look_found_before_the_stream_broke_is_forgotten(
    camera_with_search_beside: Camera,
) -> None:
    camera = camera_with_search_beside
    camera.people.append(Person(0.8, 0, 4))
    camera.engine.open.clear()
    camera.step()
    assert camera.engine.entered.wait(PATIENCE_S)
    camera.people.clear()
    camera.engine.open.set()
    assert camera.step(pause_s=100.0).bodies == ()
    until_searched()
    assert camera.step(pause_s=100.0).bodies == ()


def test_an_error_of_a_look_beside_is_told(camera_with_search_beside: Camera) -> None:
    camera = camera_with_search_beside
    camera.engine.error = RuntimeError("out of order")
    camera.step()
    until_searched()
    with pytest.raises(RuntimeError, match="out of order"):
        camera.step()
    camera.engine.error = None
    assert len(camera.step().bodies) == 1


@pytest.mark.parametrize("why", ["a recording", "the parameter", "the engine"])
def test_the_look_happens_in_its_place_for(why: str) -> None:
    settings = {**ALWAYS, "regions.beside": why != "the parameter"}
    camera = Camera(live=why != "a recording", **settings)
    if why == "the engine":
        camera.engine.concurrent = False
        camera.pipeline = PerceptionPipeline(camera.engine, camera.pipeline.config, live=True)
    threads: set[str] = set()
    see = camera.engine.step

    def seen_by(*args: object, **more: object) -> object:
        threads.add(threading.current_thread().name)
        return see(*args, **more)  # type: ignore[arg-type]

    camera.engine.step = seen_by  # type: ignore[method-assign,assignment]
    parts = [0, 0, 0, 0] if why == "a recording" else []
    assert camera.whole_looks(4) == [*parts, 0, 1, 2, 3]
    assert threads == {threading.current_thread().name}
