# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Two networks on one stream: bodies by nano, metric maps of the scene by another."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, frame

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.loading import Pipeline
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.scene_pair import RETRY_S, ScenePair

K = camera(320, 240, 250.0)
CARD = ModelCard(
    name="big",
    family="genception",
    tasks=(Task.DEPTH, Task.NORMALS, Task.SEGMENTATION),
    prompts={},
    joint_names=(),
    part_names=(),
)
SCENE = frozenset(CARD.tasks)
PEOPLE = [Person(-0.8, 0.1, 3), Person(0.7, 0.0, 4)]
UNIT_M = 2.5
WALL_M = 8.0


class BigNetwork:
    """A scene network: the true depth in another unit, a mask of everything."""

    description, fallback_reason, card = "a big engine", None, CARD
    last_timings_ms: dict[str, float] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.config = config_from({"window.length": 9})
        self.engine = self
        self.stamps: list[int] = []
        self.tasks: list[frozenset[Task]] = []
        self.resets = 0
        self.before: Callable[[], None] = lambda: None
        self.depth = np.full((K.height, K.width), WALL_M, np.float32)

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        self.stamps.append(clip.newest.stamp_ns)
        self.tasks.append(tasks)
        self.before()
        assert tasks <= SCENE
        height, width = clip.newest.rgb.shape[:2]
        return Perception(
            clip.newest.stamp_ns, "camera", width, height, clip.newest.intrinsics, (),
            mask=np.ones((height, width), np.float32) if Task.SEGMENTATION in tasks else None,
            depth_relative=self.depth / UNIT_M if Task.DEPTH in tasks else None,
            normals=np.ones((height, width, 3), np.float32) if Task.NORMALS in tasks else None,
        )  # fmt: skip

    def reset(self) -> None:
        self.resets += 1

    def with_config(self, config: Config) -> "BigNetwork":
        return self


class Stream:
    """A pair on a camera that sees two people before a wall."""

    def __init__(self, *, live: bool, calibrated: bool = True) -> None:
        self.config = config_from({"track.seed": 1})
        bodies = PerceptionPipeline(FakeEngine(K, lambda: PEOPLE), self.config)
        self.alone = PerceptionPipeline(FakeEngine(K, lambda: PEOPLE), self.config)
        self.big, self.time_s = BigNetwork(), 100.0
        self.pair = ScenePair(bodies, self.big, live=live, clock=lambda: self.time_s)
        self.received: list[tuple[Perception, Frame]] = []
        self.pair.on_scene = lambda perception, frame: self.received.append((perception, frame))
        self.window, self.at_s, self.calibrated = (
            FrameWindow(self.pair.config.window),
            0.0,
            calibrated,
        )

    def clip(self) -> Clip:
        self.at_s += 0.033
        clip = self.window.push(frame(K, self.at_s, calibrated=self.calibrated))
        assert clip is not None
        return clip

    def step(self, tasks: frozenset[Task]) -> Perception:
        clip = self.clip()
        found = self.pair.step(clip, tasks)
        nano = self.alone.step(clip, frozenset(Task))
        assert [body.id for body in found.bodies] == [body.id for body in nano.bodies]
        if nano.depth_m is not None:
            on_people = np.isfinite(nano.depth_m)
            self.big.depth[on_people] = nano.depth_m[on_people]
        self.nano = nano
        return found


ALL = frozenset(Task)


def test_offline_a_result_has_bodies_and_metric_maps_of_the_scene() -> None:
    stream = Stream(live=False)
    for _ in range(4):
        found = stream.step(ALL)
    assert len(found.bodies) == 2 and found.parts is not None
    assert found.depth_m is not None and found.depth_relative is None
    assert found.depth_m[5, 5] == pytest.approx(WALL_M, rel=0.01), "metric beyond people, too"
    assert found.instances is not None and set(np.unique(found.instances)) == {0, 1, 65535}
    assert found.normals is not None and found.mask is not None and (found.mask == 1).all()
    assert stream.pair.last_timings_ms.keys() >= {"scene", "total"}


def test_a_pair_is_a_pipeline_with_the_longer_window() -> None:
    stream = Stream(live=True)
    pipeline: Pipeline = stream.pair
    assert pipeline.config.window.length == 9
    assert pipeline.engine.card.name == "fake + big"
    assert frozenset(pipeline.engine.card.tasks) == ALL
    assert "a big engine" in pipeline.engine.description
    assert pipeline.engine.fallback_reason is None


def test_without_calibration_or_people_depth_stays_relative() -> None:
    uncalibrated = Stream(live=False, calibrated=False)
    found = [uncalibrated.step(ALL) for _ in range(3)][-1]
    assert found.depth_m is None and found.depth_relative is not None
    empty = Stream(live=False)
    empty.pair.bodies = PerceptionPipeline(FakeEngine(K, list), empty.config)
    found = empty.pair.step(empty.clip(), ALL)
    assert found.bodies == () and found.depth_m is None and found.depth_relative is not None


def test_live_results_do_not_wait_and_maps_keep_their_own_stamps() -> None:
    stream, go_on = Stream(live=True), threading.Event()
    stream.step(ALL)
    stream.pair.wait()
    stream.received.clear()
    stream.big.stamps.clear()
    stream.big.before = lambda: assert_waited(go_on)
    results = [stream.step(ALL) for _ in range(5)]  # the big network is busy with the first
    assert stream.received == [] and len(stream.big.stamps) == 1
    assert all(each.depth_m is None and each.mask is None for each in results)
    assert all(each.parts is not None and len(each.bodies) == 2 for each in results[1:])
    go_on.set()
    stream.pair.wait()
    ((perception, of_frame),) = stream.received
    assert perception.stamp_ns == of_frame.stamp_ns == results[0].stamp_ns
    assert perception.depth_m is not None and perception.parts is None
    assert perception.bodies == (), "bodies were published at the camera's rate"


def assert_waited(event: threading.Event) -> None:
    assert event.wait(60)


@pytest.mark.fault("engine", "the scene network runs out of GPU memory while the node runs")
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory\nmore"), MemoryError()])
def test_an_error_of_the_scene_network_is_reported_and_bodies_go_on(error: Exception) -> None:
    stream = Stream(live=True)
    for _ in range(2):
        stream.step(ALL)
        stream.pair.wait()

    def fail() -> None:
        raise error

    stream.received.clear()
    stream.big.before = fail
    for _ in range(3):
        assert len(stream.step(ALL).bodies) == 2
        stream.pair.wait()
    reason = stream.pair.engine.fallback_reason
    assert reason and "no maps of the scene" in reason and "more" not in reason
    calls = len(stream.big.stamps)
    assert stream.received == [] and calls == 3, "it is not tried again at once"
    stream.big.before, stream.time_s = lambda: None, stream.time_s + RETRY_S + 0.1
    stream.step(ALL)
    stream.pair.wait()
    assert stream.pair.engine.fallback_reason is None and len(stream.received) == 1
    assert stream.big.resets >= 2, "after an error its stream begins anew"


def test_an_error_of_the_scene_network_ends_an_offline_run() -> None:
    stream = Stream(live=False)

    def fail() -> None:
        raise PerceptionError("no memory")

    stream.big.before = fail
    with pytest.raises(PerceptionError, match="no memory"):
        stream.pair.step(stream.clip(), ALL)


def test_a_scene_network_that_cannot_be_loaded_leaves_nano_alone() -> None:
    stream = Stream(live=True)
    problem = "it cannot be loaded (CUDA out of memory)"
    pair = ScenePair(stream.pair.bodies, None, live=True, problem=problem)
    found = [pair.step(stream.clip(), ALL) for _ in range(3)][-1]
    assert found.depth_m is not None and len(found.bodies) == 2, "nano's own maps"
    assert pair.engine.fallback_reason and problem in pair.engine.fallback_reason
    assert pair.with_config(stream.config).engine.problem == problem


def test_only_what_is_requested_is_computed() -> None:
    stream = Stream(live=False)
    stream.step(frozenset({Task.BODIES}))
    assert stream.big.tasks == []
    stream.step(frozenset({Task.BODIES, Task.NORMALS}))
    found = stream.step(frozenset({Task.INSTANCES}))
    assert stream.big.tasks == [{Task.NORMALS}, {Task.SEGMENTATION}]
    assert found.mask is None and found.depth_m is None and found.instances is not None


def test_reset_and_another_configuration_begin_a_new_stream_in_both() -> None:
    stream = Stream(live=False)
    stream.step(ALL)
    resets = stream.big.resets
    stream.pair.reset()
    stream.pair.step(stream.clip(), ALL)
    assert stream.big.resets == resets + 1
    other = stream.pair.with_config(config_from({"track.seed": 1, "decode.min_score": 0.7}))
    assert other.on_scene is stream.pair.on_scene
    other.step(stream.clip(), ALL)
    assert other.config.decode.min_score == 0.7 and other.config.window.length == 9


def test_another_configuration_does_not_wait_for_the_scene_network() -> None:
    stream, go_on = Stream(live=True), threading.Event()
    stream.big.before = lambda: assert_waited(go_on)
    stream.step(ALL)
    other = stream.pair.with_config(stream.config)
    other.step(stream.clip(), ALL)
    assert len(stream.big.stamps) == 1, "one thread at a time runs the scene network"
    go_on.set()
    other.wait()
    other.step(stream.clip(), ALL)
    other.wait()
    assert len(stream.big.stamps) == 2
