# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from fake_engine import (
    FakeEngine,
    Person,
    box_of,
    camera,
    frame,
    image,
    perfect_detections,
    pixels_of,
    region_of,
)

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task, TrackState
from thfm_ros.engine.base import KNOWN_PERSON
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
ALL = frozenset(Task)
BODIES = frozenset([Task.BODIES])
CROP, TALL, WHOLE = (128, 128), (96, 160), (320, 240)
SQUARE_CROPS = {"regions.tall_aspect": 0.0}


class Scene:
    """A pipeline with a fake engine, and people who can be moved between frames."""

    def __init__(self, *people: Person, **settings: object) -> None:
        self.people = list(people)
        self.config: Config = config_from({"track.seed": 1, **settings})
        self.engine = FakeEngine(K, lambda: self.people)
        self.pipeline = PerceptionPipeline(self.engine, self.config)
        self.window = FrameWindow(self.config.window)
        self.time_s = 0.0

    def step(self, tasks: frozenset[Task] = ALL, *, after_s: float = 0.033) -> Perception:
        self.engine.steps.clear()
        self.engine.states.clear()
        self.time_s += after_s
        clip = self.window.push(frame(K, self.time_s))
        assert clip is not None
        return self.pipeline.step(clip, tasks)

    def run(self, steps: int) -> list[list[tuple[int, int]]]:
        return [list(self.engine.steps) for _ in range(steps) if self.step()]


def ids(perception: Perception) -> list[str]:
    return [body.id for body in perception.bodies]


def test_a_person_is_detected_confirmed_and_tracked() -> None:
    person = Person(-0.3, 0.1, 3)
    scene = Scene(person)
    first, second = scene.step(), scene.step()
    assert [body.state for body in first.bodies] == [TrackState.TENTATIVE]
    (body,) = second.bodies
    assert body.state is TrackState.TRACKED and ids(first) == [body.id]
    np.testing.assert_allclose(body.keypoints[:, :2], pixels_of(person.joints_m(), K), atol=1.5)
    np.testing.assert_allclose(body.positions_m, person.joints_m(), atol=0.03)
    assert second.depth_m is not None
    assert np.nanmedian(second.depth_m) == pytest.approx(3, abs=0.01)
    assert (second.stamp_ns, second.frame_id) == (66_000_000, "camera")
    assert second.intrinsics == K and second.depth_relative is None


def test_a_tracked_person_costs_one_crop_per_frame_and_occasional_detection_passes() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 5})
    costs = scene.run(12)
    assert costs[0][:10] == [WHOLE] * 10  # in the first frame: nine tiles, too
    assert set(costs[0][10:]) == {CROP}
    whole = [number for number, cost in enumerate(costs) if WHOLE in cost]
    assert whole == [0, 5, 10]
    # Who stands gets a tall crop once confirmed.
    assert all([each for each in cost if each != WHOLE] == [TALL] for cost in costs[2:])


def test_without_people_there_is_a_detection_pass_in_every_frame() -> None:
    scene = Scene()
    assert scene.run(4) == [[WHOLE] * 10, [WHOLE], [WHOLE], [WHOLE]]
    perception = scene.step()
    assert perception.bodies == () and perception.mask is not None and not perception.mask.any()


class LargeBoxEngine(FakeEngine):
    """Detection passes give boxes that are half as large again as the people."""

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        found = super().detect(image)
        return found._replace(edges=found.edges + np.float32(np.log(1.5)))


def test_a_badly_placed_first_crop_is_corrected() -> None:
    person = Person(1.0, 0, 4)
    scene = Scene(person)
    scene.engine = LargeBoxEngine(K, lambda: scene.people)
    scene.pipeline = PerceptionPipeline(scene.engine, scene.config)
    first = scene.step()
    (body,) = first.bodies
    np.testing.assert_allclose(body.box, box_of(person, K), atol=4)
    assert scene.engine.steps.count(CROP) == 3  # the second one fits, the third one is exact


def test_a_well_placed_first_crop_is_followed_by_an_exact_one_only() -> None:
    scene = Scene(Person(1.0, 0, 4))
    assert len(scene.step().bodies) == 1
    assert scene.engine.steps.count(CROP) == 2


def test_a_fixed_crop_continues_its_stream_and_a_moved_one_begins_a_new_stream() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 1000}, **SQUARE_CROPS)
    ages = []
    for x in (0, 0, 0, 0.02, 0.6, 0.6):
        scene.people = [Person(x, 0, 3)]
        scene.step(BODIES)
        ages.append(scene.engine.states[-1])
    # the motion to 0.6 is detected in the old crop; the crop of the next frame is moved
    assert ages == [None, 1, 2, 3, 4, KNOWN_PERSON]


@pytest.mark.parametrize(("hits", "begins"), [(2, KNOWN_PERSON), (9, None)])
def test_only_a_confirmed_person_whose_crop_moves_begins_a_stream_of_a_known_person(
    hits: int, begins: object
) -> None:
    """The first step of such a stream may run in int8; that of a proposal decides."""
    settings = {"regions.frame_pass_every": 1000, "track.hits_to_confirm": hits, **SQUARE_CROPS}
    scene = Scene(Person(0, 0, 3), **settings)
    for x in (0, 0, 0, 0.45, 0.45):
        scene.people = [Person(x, 0, 3)]
        scene.step(BODIES)
    assert scene.engine.states == [begins]


def test_whether_there_is_a_person_is_decided_in_square_crops() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    scene.step()
    assert set(scene.engine.steps) == {CROP, WHOLE} and scene.engine.states[-1] is None


def test_who_stands_gets_a_tall_crop_and_who_sits_down_a_square_one() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    sizes, states = [], []
    for height in (1.7,) * 4 + (1.2, 0.9, 0.7, 0.7):
        scene.people = [Person(0, 0, 3, height_m=height)]
        scene.step()
        sizes.append(scene.engine.steps[-1])
        states.append(scene.engine.states[-1])
    assert sizes[:4] == [CROP, CROP, TALL, TALL] and sizes[-1] == CROP
    for (earlier, later), state in zip(itertools.pairwise(sizes), states[1:], strict=True):
        if earlier != later:  # another shape begins a new stream
            assert state is KNOWN_PERSON
    body = scene.step().bodies[0]
    np.testing.assert_allclose(body.root_m, [0, 0, 3], atol=0.05)


def test_rewarming_runs_a_new_crop_on_the_earlier_frames() -> None:
    settings = {"regions.rewarm": True, "regions.frame_pass_every": 1000, **SQUARE_CROPS}
    scene = Scene(Person(0, 0, 3), **settings)
    for _ in range(5):
        scene.step(BODIES)
    scene.people = [Person(0.45, 0, 3)]
    scene.step(BODIES)
    scene.step(BODIES)
    assert scene.engine.steps == [CROP] * 4  # three earlier frames of the window, then this one
    assert scene.engine.states == [KNOWN_PERSON, 1, 2, 3]


def test_people_keep_their_ids_while_they_move() -> None:
    scene = Scene(Person(-1.0, 0, 4), Person(1.0, 0, 4))
    names = set(ids(scene.step()))
    assert len(names) == 2
    for i in range(40):
        scene.people = [Person(-1.0 + 0.02 * i, 0, 4), Person(1.0, 0, 4 - 0.03 * i)]
        perception = scene.step()
        assert set(ids(perception)) == names
        assert all(body.state is not TrackState.LOST for body in perception.bodies)
    by_place = sorted(perception.bodies, key=lambda body: float(body.box[0]))
    np.testing.assert_allclose(by_place[0].root_m, scene.people[0].root_m, atol=0.05)
    np.testing.assert_allclose(by_place[1].root_m, scene.people[1].root_m, atol=0.05)


def test_a_person_who_leaves_is_lost_searched_for_and_then_deleted() -> None:
    scene = Scene(Person(0, 0, 3), **{"track.lost_for_s": 0.1, "regions.frame_pass_every": 1000})
    (name,) = ids(scene.step()) and ids(scene.step())
    scene.people = []
    lost = scene.step()
    assert [(body.id, body.state) for body in lost.bodies] == [(name, TrackState.LOST)]
    assert lost.instances is not None and (lost.instances == 65535).all()
    assert lost.depth_m is not None and np.isnan(lost.depth_m).all()
    scene.step()
    assert scene.engine.steps == [WHOLE]
    scene.step()
    assert scene.step().bodies == ()


def test_a_person_who_returns_in_time_keeps_the_id() -> None:
    person = Person(0, 0, 3)
    scene = Scene(person)
    scene.step()
    (name,) = ids(scene.step())
    scene.people = []
    scene.step()
    scene.people = [person]
    (back,) = scene.step().bodies
    assert back.id == name and back.state is TrackState.TRACKED


def test_instances_are_indices_of_detected_bodies() -> None:
    scene = Scene(Person(-1.2, 0, 4), Person(1.2, 0, 4))
    scene.step()
    scene.step()
    scene.people = scene.people[1:]
    perception = scene.step()
    assert [body.state for body in perception.bodies] == [TrackState.TRACKED, TrackState.LOST]
    assert perception.instances is not None
    x0, y0, x1, y1 = (int(edge) for edge in perception.bodies[0].box)
    assert perception.instances[(y0 + y1) // 2, (x0 + x1) // 2] == 0
    assert set(np.unique(perception.instances)) == {0, 65535}


def test_a_rejected_proposal_is_ignored_for_a_second() -> None:
    person = Person(0, 0, 3)
    scene = Scene(person)
    scene.pipeline.config = config_from({"decode.min_score": 1.0}, scene.config)
    costs = scene.run(20)
    assert all(CROP not in cost for cost in costs[1:])
    for _ in range(15):
        perception = scene.step()
        assert perception.bodies == ()
        if CROP in scene.engine.steps:
            break
    else:
        pytest.fail("there was no crop at this place again")


class OneProposalEngine(FakeEngine):
    """Detects only the first person in detection passes, and all people in crops."""

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        return perfect_detections(region_of(image, self.k), self.k, self.scene()[:1])


def test_a_person_visible_only_in_the_crop_of_a_neighbour_is_detected() -> None:
    scene = Scene(Person(0, 0, 4), Person(0.7, 0, 4), **{"regions.frame_pass_every": 2})
    scene.engine = OneProposalEngine(K, lambda: scene.people)
    scene.pipeline = PerceptionPipeline(scene.engine, scene.config)
    assert len(scene.step().bodies) == 1
    for _ in range(5):
        perception = scene.step()
    boxes = sorted(body.box.tolist() for body in perception.bodies)
    truth = [box_of(person, K) for person in scene.people]
    np.testing.assert_allclose(boxes, truth, atol=6)


@pytest.mark.parametrize(("min_px", "count"), [(60.0, 1), (120.0, 0)])
def test_proposals_of_small_people_are_ignored(min_px: float, count: int) -> None:
    scene = Scene(Person(0, 0, 10), **{"regions.min_person_px": min_px})  # 80 pixels tall
    assert len(scene.step().bodies) == count
    assert (CROP in scene.engine.steps) == bool(count)


def test_there_are_at_most_max_people_crops() -> None:
    crowd = [Person(-2 + 0.8 * i, 0, 5) for i in range(6)]
    scene = Scene(*crowd, **{"regions.max_people": 3})
    for _ in range(12):
        perception = scene.step()
        assert len(perception.bodies) <= 3
    assert scene.engine.steps == [TALL] * 3  # at capacity: no detection pass


def test_people_left_out_by_max_people_are_counted() -> None:
    scene = Scene(*[Person(-2 + 0.8 * i, 0, 5) for i in range(6)], **{"regions.max_people": 4})
    assert [scene.step().left_out for _ in range(6)] == [2] * 6
    scene.people[4:] = []
    assert scene.step(after_s=0.1).left_out == 2  # the count of the newest detection pass
    perceptions = [scene.step(after_s=0.25) for _ in range(10)]
    assert perceptions[-1].left_out == 0 and len(perceptions[-1].bodies) == 4
    scene.people.append(Person(1.2, 0, 5))
    assert [scene.step(after_s=0.25).left_out for _ in range(10)][-1] == 1
    del scene.people[0]  # now there is a place for everyone
    assert [scene.step(after_s=0.25).left_out for _ in range(10)][-1] == 0


@pytest.mark.parametrize("live", [False, True])
def test_at_capacity_a_detection_pass_every_other_second_counts_the_people(live: bool) -> None:
    settings = {"regions.max_people": 1, "regions.run_async": False}
    scene = Scene(Person(-1, 0, 4), Person(1, 0, 4), **settings)
    scene.pipeline = PerceptionPipeline(scene.engine, scene.config, live=live)
    scene.step()
    passes = 0
    for _ in range(40):  # ten seconds
        scene.step(after_s=0.25)
        passes += scene.engine.steps.count(WHOLE)
    assert 4 <= passes <= 6


def test_without_a_limit_reached_no_person_is_left_out() -> None:
    scene = Scene(Person(-1, 0, 4), Person(1, 0, 4))
    assert {scene.step().left_out for _ in range(20)} == {0}


def test_only_requested_maps_are_computed() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    scene.step(BODIES)
    perception = scene.step(BODIES)
    assert len(perception.bodies) == 1
    for name in ("mask", "depth_m", "normals", "parts", "dense_pose", "instances"):
        assert getattr(perception, name) is None
    depth_only = scene.step(frozenset([Task.DEPTH]))
    assert depth_only.depth_m is not None and depth_only.mask is None


def test_changing_the_tasks_does_not_interrupt_the_streams() -> None:
    scene = Scene(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    scene.step(ALL)
    for tasks in (BODIES, ALL, BODIES, ALL):
        (body,) = scene.step(tasks).bodies
        assert body.state is TrackState.TRACKED
        assert None not in scene.engine.states


def test_an_interrupted_stream_drops_all_tracks() -> None:
    scene = Scene(Person(0, 0, 3))
    scene.step()
    (name,) = ids(scene.step())
    again = scene.step(after_s=5.0)
    assert [body.state for body in again.bodies] == [TrackState.TENTATIVE]
    assert ids(again) != [name]
    assert scene.engine.states[0] is None


def test_another_configuration_reuses_no_id() -> None:
    scene = Scene(Person(0, 0, 3))
    used = set(ids(scene.step()))
    for lost_for_s in (2.0, 3.0):
        config = config_from({"track.seed": 1, "track.lost_for_s": lost_for_s})
        scene.pipeline = scene.pipeline.with_config(config)
        (name,) = ids(scene.step())
        assert name not in used
        used.add(name)


def test_without_calibration_depth_is_relative_and_3d_positions_are_unknown() -> None:
    scene = Scene(Person(0, 0, 3))
    perception = scene.pipeline.step(Clip((frame(K, 0.1, calibrated=False),), 1), ALL)
    (body,) = perception.bodies
    assert np.isnan(body.positions_m).all() and np.isfinite(body.keypoints).all()
    assert perception.depth_m is None and perception.depth_relative is not None
    assert np.nanmedian(perception.depth_relative) == pytest.approx(1, abs=0.02)


def test_a_task_that_the_checkpoint_does_not_have_is_refused() -> None:
    scene = Scene()
    scene.engine.card = scene.engine.card.__class__(
        name="few",
        family="nano",
        tasks=(Task.DEPTH,),
        prompts={},
        joint_names=(),
        part_names=(),
    )
    with pytest.raises(PerceptionError, match="few cannot estimate bodies; it can: depth"):
        scene.step(frozenset([Task.DEPTH, Task.BODIES]))


def test_a_calibration_of_another_size_is_refused() -> None:
    scene = Scene()
    small = Frame(image(K)[::2, ::2], 1, "camera", K)
    with pytest.raises(PerceptionError, match="640x480, the image has 320x240"):
        scene.pipeline.step(Clip((small,), 1), ALL)


@pytest.mark.fault("engine", "a step raises an error in the middle of a stream")
def test_after_an_engine_failure_streams_begin_anew() -> None:
    scene = Scene(Person(0, 0, 3))
    scene.step()
    working_scene, scene.engine.scene = scene.engine.scene, _failing
    with pytest.raises(RuntimeError, match="out of memory"):
        scene.step()
    scene.engine.scene = working_scene
    perception = scene.step()
    assert len(perception.bodies) == 1 and scene.engine.states[0] is None


def _failing() -> list[Person]:
    raise RuntimeError("out of memory")


def test_the_time_of_every_stage_is_measured() -> None:
    scene = Scene(Person(0, 0, 3))
    scene.step()
    scene.step()
    timings = scene.pipeline.last_timings_ms
    assert set(timings) == {"crop", "network", "decode", "track", "paint", "total"}
    assert all(value > 0 for value in timings.values())
    stages = sum(value for name, value in timings.items() if name != "total")
    assert stages <= timings["total"]


@pytest.mark.parametrize("size", [(176, 144), (1280, 720), (500, 375)])
def test_any_image_size_is_supported(size: tuple[int, int]) -> None:
    k = camera(*size, focal=0.8 * size[0])
    person = Person(0.1, 0, 4)
    engine = FakeEngine(k, lambda: [person])
    pipeline = PerceptionPipeline(engine, Config())
    window = FrameWindow(pipeline.config.window)
    clips: Sequence[Clip | None] = [window.push(frame(k, 0.1 * i)) for i in range(3)]
    for clip in clips:
        assert clip is not None
        perception = pipeline.step(clip, ALL)
    (body,) = perception.bodies
    assert perception.mask is not None and perception.mask.shape == size[::-1]
    np.testing.assert_allclose(body.root_m, person.root_m, atol=0.08)


@pytest.mark.parametrize(("live", "shape"), [(True, (240, 320)), (False, (480, 640))])
def test_only_the_maps_of_a_live_camera_are_scaled(live: bool, shape: tuple[int, int]) -> None:
    scene = Scene(Person(0, 0, 3), output_scale=0.5)
    scene.pipeline = PerceptionPipeline(scene.engine, scene.config, live=live)
    perception = scene.step()
    assert perception.depth_m is not None and perception.depth_m.shape == shape
    assert perception.bodies[0].box[3] > 240  # boxes are in pixels of the image
    assert (perception.width, perception.height) == (640, 480)
