# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline with the boxes of another detector, beside the own one or instead of it."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from external_box import as_box
from fake_engine import FakeEngine, Person, box_of, camera, frame

import thfm_ros
from thfm_ros.config import config_from
from thfm_ros.config_option import ConfigError
from thfm_ros.contract import Frame, Perception, Task, TrackState
from thfm_ros.geometry import iou
from thfm_ros.loading import load_pipeline
from thfm_ros.media.video import Video
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception.external_boxes import BoxMessage, ExternalBox
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
BODIES = frozenset([Task.BODIES])
PACKAGE = Path(thfm_ros.__file__).parent
WHOLE = (320, 240)


class BlindEngine(FakeEngine):
    """Its detection passes find no one."""

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        found = super().detect(image)
        return found._replace(centres=np.full_like(found.centres, -8))


class Scene:
    """A pipeline whose own detector is blind, and another one."""

    def __init__(self, *people: Person, mode: str = "replace", live: bool = False) -> None:
        self.people = list(people)
        self.engine = BlindEngine(K, lambda: self.people)
        settings = {"track.seed": 1, "detections": "/boxes", "detections_mode": mode}
        config = config_from(settings)
        self.pipeline = PerceptionPipeline(self.engine, config, live=live)
        self.window = FrameWindow(config.window)
        self.time_s = 1.0

    def detect(self, *boxes: ExternalBox, age_s: float = 0.0) -> None:
        assert self.pipeline.external_boxes is not None
        stamp_ns = round((self.time_s + 0.033 - age_s) * 1e9)
        self.pipeline.external_boxes.put(BoxMessage(stamp_ns, "camera", boxes))

    def step(self) -> Perception:
        self.time_s += 0.033
        clip = self.window.push(frame(K, self.time_s))
        assert clip is not None
        return self.pipeline.step(clip, BODIES)


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_a_person_whom_only_another_detector_sees_is_tracked(mode: str) -> None:
    scene = Scene(Person(0.5, 0, 3), mode=mode)
    assert scene.step().bodies == ()
    scene.detect(as_box(box_of(scene.people[0], K)), age_s=0.033)
    scene.step()
    (body,) = scene.step().bodies
    assert body.state is TrackState.TRACKED
    np.testing.assert_allclose(body.box, box_of(scene.people[0], K), atol=8)
    boxes = scene.pipeline.external_boxes
    assert boxes is not None and (boxes.use.confirmed, boxes.use.rejected) == (1, 0)


@pytest.mark.parametrize(("mode", "passes"), [("replace", 0), ("add", 1)])
def test_own_detection_passes_run_beside_another_detector_but_not_where_it_replaces_them(
    mode: str, passes: int
) -> None:
    scene = Scene(mode=mode)
    scene.step()
    assert (WHOLE in scene.engine.steps) == bool(passes)


def test_a_box_without_a_person_is_rejected_by_its_crop_and_counted() -> None:
    scene = Scene(Person(1.5, 0, 4))
    for _ in range(3):
        scene.detect(as_box(np.array([40.0, 100, 100, 300])))
        assert scene.step().bodies == ()
    boxes = scene.pipeline.external_boxes
    assert boxes is not None
    # Proposals at a place that was just rejected get no crop.
    assert (boxes.use.proposals, boxes.use.rejected, boxes.use.confirmed) == (3, 1, 0)


def test_boxes_of_tracked_people_begin_no_second_track() -> None:
    scene = Scene(Person(0, 0, 3))
    ids = set()
    for _ in range(6):
        scene.detect(as_box(box_of(scene.people[0], K) + 5))
        ids |= {body.id for body in scene.step().bodies}
    assert len(ids) == 1


def test_boxes_that_the_time_budget_put_off_are_not_lost_with_the_next_message() -> None:
    scene = Scene(*(Person(x, 0, 6) for x in (-2, 0, 2)))
    scene.pipeline = PerceptionPipeline(
        scene.engine,
        config_from(
            {"detections": "/boxes", "detections_mode": "replace", "regions.budget_ms": 0.001}
        ),
        live=True,
    )
    scene.detect(*(as_box(box_of(person, K)) for person in scene.people))
    for _ in range(12):
        perception = scene.step()
        scene.detect()
    assert len(perception.bodies) == 3


def test_boxes_reach_the_pipeline_after_a_change_of_parameters() -> None:
    scene = Scene(Person(0, 0, 3))
    before = scene.pipeline.external_boxes
    scene.pipeline = scene.pipeline.with_config(scene.pipeline.config)
    assert before is not None and scene.pipeline.external_boxes is before


def test_offline_commands_refuse_a_topic_of_boxes() -> None:
    with pytest.raises(ConfigError, match="only the node can receive"):
        load_pipeline(config_from({"detections": "/boxes"}))


def test_the_boxes_alone_give_tracked_people_on_the_street_clip() -> None:
    if not (PACKAGE / "weights" / "nano.safetensors").is_file():
        pytest.skip("thfm_ros/weights contains no checkpoint")
    by_hand = [np.array([557.0, 234, 591, 343]), np.array([285.0, 195, 330, 265])]
    settings = {"detections": "/boxes", "detections_mode": "replace"}
    pipeline = load_pipeline(config_from(settings), live=True)
    window = FrameWindow(pipeline.config.window)
    images = list(itertools.islice(Video(PACKAGE / "clips" / "street.mp4"), 4))[1:]
    results: list[Perception] = []
    for number, each in enumerate(images):
        if number == 1:
            assert pipeline.external_boxes is not None
            boxes = tuple(as_box(corners) for corners in by_hand)
            pipeline.external_boxes.put(BoxMessage(each.stamp_ns, "camera", boxes))
        clip = window.push(Frame(each.rgb, each.stamp_ns, "camera"))
        assert clip is not None
        results.append(pipeline.step(clip, BODIES))
    assert results[0].bodies == ()  # the own detector is off
    tracked = [body.box for body in results[-1].bodies if body.state is TrackState.TRACKED]
    assert len(tracked) == 2
    assert all(max(iou(box, each) for each in tracked) > 0.6 for box in by_hand)
