from collections.abc import Sequence

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, frame, image, pixels_of

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task, TrackState
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
ALL = frozenset(Task)
BODIES = frozenset([Task.BODIES])
CROP, WHOLE = (128, 128), (192, 144)


class Stage:
    """A pipeline over a fake engine, and people who can be moved between frames."""

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


def ids(seen: Perception) -> list[str]:
    return [body.id for body in seen.bodies]


def test_somebody_is_found_confirmed_and_followed() -> None:
    person = Person(-0.3, 0.1, 3)
    stage = Stage(person)
    first, second = stage.step(), stage.step()
    assert [body.state for body in first.bodies] == [TrackState.TENTATIVE]
    (body,) = second.bodies
    assert body.state is TrackState.TRACKED and ids(first) == [body.id]
    np.testing.assert_allclose(body.keypoints[:, :2], pixels_of(person.joints_m(), K), atol=1.5)
    np.testing.assert_allclose(body.positions_m, person.joints_m(), atol=0.03)
    assert second.depth_m is not None
    assert np.nanmedian(second.depth_m) == pytest.approx(3, abs=0.01)
    assert (second.stamp_ns, second.frame_id) == (66_000_000, "camera")
    assert second.intrinsics == K and second.depth_relative is None


def test_with_one_person_a_frame_costs_one_crop_and_a_whole_look_now_and_then() -> None:
    stage = Stage(Person(0, 0, 3), **{"regions.frame_pass_every": 5})
    costs = stage.run(12)
    assert costs[0][:5] == [WHOLE] * 5 and set(costs[0][5:]) == {CROP}  # the first: parts too
    whole = [number for number, cost in enumerate(costs) if WHOLE in cost]
    assert whole == [0, 5, 10]
    assert all(cost.count(CROP) == 1 for cost in costs[2:])


def test_an_empty_room_is_looked_at_as_a_whole_in_every_frame_and_has_nobody() -> None:
    stage = Stage()
    assert stage.run(4) == [[WHOLE] * 5, [WHOLE], [WHOLE], [WHOLE]]
    seen = stage.step()
    assert seen.bodies == () and seen.mask is not None and not seen.mask.any()


def test_a_first_look_that_was_badly_placed_is_repeated_in_the_right_place() -> None:
    # 12 m away the frame pass sees 80 pixels as 24 cells: its box is rough
    stage = Stage(Person(1.0, 0, 12))
    first = stage.step()
    (body,) = first.bodies
    np.testing.assert_allclose(body.box, box_of(Person(1.0, 0, 12), K), atol=3)
    assert 1 <= stage.engine.steps.count(CROP) <= 2


def test_a_crop_that_stays_keeps_its_stream_and_one_that_moves_begins_a_new_one() -> None:
    stage = Stage(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    ages = []
    for x in (0, 0, 0, 0.02, 0.6, 0.6):
        stage.people = [Person(x, 0, 3)]
        stage.step(BODIES)
        ages.append(stage.engine.states[-1])
    # the move to 0.6 is seen in the old crop first; the one after looks elsewhere
    assert ages == [None, 1, 2, 3, 4, None]


def test_rewarming_shows_a_new_crop_the_frames_before() -> None:
    settings = {"regions.rewarm": True, "regions.frame_pass_every": 1000}
    stage = Stage(Person(0, 0, 3), **settings)
    for _ in range(5):
        stage.step(BODIES)
    stage.people = [Person(0.6, 0, 3)]
    stage.step(BODIES)
    stage.step(BODIES)
    assert stage.engine.steps == [CROP] * 4  # three earlier frames of the window, then this one
    assert stage.engine.states == [None, 1, 2, 3]


def test_people_keep_their_ids_while_they_move() -> None:
    stage = Stage(Person(-1.0, 0, 4), Person(1.0, 0, 4))
    names = set(ids(stage.step()))
    assert len(names) == 2
    for i in range(40):
        stage.people = [Person(-1.0 + 0.02 * i, 0, 4), Person(1.0, 0, 4 - 0.03 * i)]
        seen = stage.step()
        assert set(ids(seen)) == names
        assert all(body.state is not TrackState.LOST for body in seen.bodies)
    by_place = sorted(seen.bodies, key=lambda body: float(body.box[0]))
    np.testing.assert_allclose(by_place[0].root_m, stage.people[0].root_m, atol=0.05)
    np.testing.assert_allclose(by_place[1].root_m, stage.people[1].root_m, atol=0.05)


def test_somebody_who_leaves_is_lost_searched_for_and_then_forgotten() -> None:
    stage = Stage(Person(0, 0, 3), **{"track.lost_for_s": 0.1, "regions.frame_pass_every": 1000})
    (name,) = ids(stage.step()) and ids(stage.step())
    stage.people = []
    lost = stage.step()
    assert [(body.id, body.state) for body in lost.bodies] == [(name, TrackState.LOST)]
    assert lost.instances is not None and (lost.instances == 65535).all()
    assert lost.depth_m is not None and np.isnan(lost.depth_m).all()
    stage.step()
    assert stage.engine.steps == [WHOLE]
    stage.step()
    assert stage.step().bodies == ()


def test_somebody_who_comes_back_in_time_is_the_same_person() -> None:
    person = Person(0, 0, 3)
    stage = Stage(person)
    stage.step()
    (name,) = ids(stage.step())
    stage.people = []
    stage.step()
    stage.people = [person]
    (back,) = stage.step().bodies
    assert back.id == name and back.state is TrackState.TRACKED


def test_instances_point_at_the_bodies_that_are_seen() -> None:
    stage = Stage(Person(-1.2, 0, 4), Person(1.2, 0, 4))
    stage.step()
    stage.step()
    stage.people = stage.people[1:]
    seen = stage.step()
    assert [body.state for body in seen.bodies] == [TrackState.TRACKED, TrackState.LOST]
    assert seen.instances is not None
    x0, y0, x1, y1 = (int(edge) for edge in seen.bodies[0].box)
    assert seen.instances[(y0 + y1) // 2, (x0 + x1) // 2] == 0
    assert set(np.unique(seen.instances)) == {0, 65535}


def test_a_candidate_whose_crop_shows_nobody_is_dropped_and_left_alone_for_a_second() -> None:
    person = Person(0, 0, 3)
    stage = Stage(person)
    stage.pipeline.config = config_from({"decode.min_score": 1.0}, stage.config)
    costs = stage.run(20)
    assert all(CROP not in cost for cost in costs[1:])
    for _ in range(15):
        seen = stage.step()
        assert seen.bodies == ()
        if CROP in stage.engine.steps:
            break
    else:
        pytest.fail("the place was never looked at again")


class ShortSighted(FakeEngine):
    """Sees one person in the whole frame, and everybody in crops."""

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        everybody = self.scene
        if cut.shape[1::-1] == WHOLE:
            self.scene = lambda: everybody()[:1]
        try:
            return super().step(cut, state, dense=dense)
        finally:
            self.scene = everybody


def test_somebody_whom_only_the_crop_of_a_neighbour_shows_is_found_too() -> None:
    stage = Stage(Person(0, 0, 4), Person(0.7, 0, 4), **{"regions.frame_pass_every": 2})
    stage.engine = ShortSighted(K, lambda: stage.people)
    stage.pipeline = PerceptionPipeline(stage.engine, stage.config)
    assert len(stage.step().bodies) == 1
    for _ in range(5):
        seen = stage.step()
    boxes = sorted(body.box.tolist() for body in seen.bodies)
    truth = [box_of(person, K) for person in stage.people]
    np.testing.assert_allclose(boxes, truth, atol=6)


def test_no_more_crops_than_allowed() -> None:
    crowd = [Person(-2 + 0.8 * i, 0, 5) for i in range(6)]
    stage = Stage(*crowd, **{"regions.max_people": 3})
    for _ in range(12):
        seen = stage.step()
        assert len(seen.bodies) <= 3
    assert stage.engine.steps == [CROP] * 3  # full: no use in looking for more


def test_only_what_is_asked_for_is_computed() -> None:
    stage = Stage(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    stage.step(BODIES)
    seen = stage.step(BODIES)
    assert len(seen.bodies) == 1
    for name in ("mask", "depth_m", "normals", "parts", "dense_pose", "instances"):
        assert getattr(seen, name) is None
    depth_only = stage.step(frozenset([Task.DEPTH]))
    assert depth_only.depth_m is not None and depth_only.mask is None


def test_asking_for_less_or_more_does_not_disturb_the_stream() -> None:
    stage = Stage(Person(0, 0, 3), **{"regions.frame_pass_every": 1000})
    stage.step(ALL)
    for tasks in (BODIES, ALL, BODIES, ALL):
        (body,) = stage.step(tasks).bodies
        assert body.state is TrackState.TRACKED
        assert None not in stage.engine.states


def test_a_broken_stream_forgets_everybody() -> None:
    stage = Stage(Person(0, 0, 3))
    stage.step()
    (name,) = ids(stage.step())
    again = stage.step(after_s=5.0)
    assert [body.state for body in again.bodies] == [TrackState.TENTATIVE]
    assert ids(again) != [name]
    assert stage.engine.states[0] is None


def test_another_configuration_gives_nobody_an_old_id() -> None:
    stage = Stage(Person(0, 0, 3))
    names = set(ids(stage.step()))
    for lost_for_s in (2.0, 3.0):
        config = config_from({"track.seed": 1, "track.lost_for_s": lost_for_s})
        stage.pipeline = stage.pipeline.with_config(config)
        (name,) = ids(stage.step())
        assert name not in names
        names.add(name)


def test_without_calibration_depth_is_relative_and_bodies_are_flat() -> None:
    stage = Stage(Person(0, 0, 3))
    seen = stage.pipeline.step(Clip((frame(K, 0.1, calibrated=False),), 1), ALL)
    (body,) = seen.bodies
    assert np.isnan(body.positions_m).all() and np.isfinite(body.keypoints).all()
    assert seen.depth_m is None and seen.depth_relative is not None
    assert np.nanmedian(seen.depth_relative) == pytest.approx(1, abs=0.02)


def test_a_task_that_the_checkpoint_does_not_have_is_refused_by_name() -> None:
    stage = Stage()
    stage.engine.card = stage.engine.card.__class__(
        name="few",
        family="nano",
        tasks=(Task.DEPTH,),
        prompts={},
        joint_names=(),
        part_names=(),
    )
    with pytest.raises(PerceptionError, match="few cannot estimate bodies; it can: depth"):
        stage.step(frozenset([Task.DEPTH, Task.BODIES]))


def test_a_calibration_of_another_size_is_refused() -> None:
    stage = Stage()
    small = Frame(image(K)[::2, ::2], 1, "camera", K)
    with pytest.raises(PerceptionError, match="640x480, the image has 320x240"):
        stage.pipeline.step(Clip((small,), 1), ALL)


def test_an_engine_that_fails_once_is_asked_again_with_new_streams() -> None:
    stage = Stage(Person(0, 0, 3))
    stage.step()
    working, stage.engine.scene = stage.engine.scene, _broken
    with pytest.raises(RuntimeError, match="out of memory"):
        stage.step()
    stage.engine.scene = working
    seen = stage.step()
    assert len(seen.bodies) == 1 and stage.engine.states[0] is None


def _broken() -> list[Person]:
    raise RuntimeError("out of memory")


def test_the_cost_of_every_stage_is_told() -> None:
    stage = Stage(Person(0, 0, 3))
    stage.step()
    stage.step()
    cost = stage.pipeline.last_timings_ms
    assert set(cost) == {"cut", "network", "decode", "track", "paint", "total"}
    assert all(value > 0 for value in cost.values())
    parts = sum(value for name, value in cost.items() if name != "total")
    assert parts <= cost["total"]


@pytest.mark.parametrize("size", [(176, 144), (1280, 720), (500, 375)])
def test_any_image_size_will_do(size: tuple[int, int]) -> None:
    k = camera(*size, focal=0.8 * size[0])
    person = Person(0.1, 0, 4)
    engine = FakeEngine(k, lambda: [person])
    pipeline = PerceptionPipeline(engine, Config())
    window = FrameWindow(pipeline.config.window)
    clips: Sequence[Clip | None] = [window.push(frame(k, 0.1 * i)) for i in range(3)]
    for clip in clips:
        assert clip is not None
        seen = pipeline.step(clip, ALL)
    (body,) = seen.bodies
    assert seen.mask is not None and seen.mask.shape == size[::-1]
    np.testing.assert_allclose(body.root_m, person.root_m, atol=0.08)
