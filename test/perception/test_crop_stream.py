# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Crops of one person: the target is the person whose box is expected."""

from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, frame, pixels_of

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, PixelMap
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.crop_region import region_around
from thfm_ros.perception.crop_stream import (
    CropDetection,
    CropDetector,
    CropInputs,
    CropStream,
)
from thfm_ros.perception.decoding import Detection, ExpectedPerson, Proposal
from thfm_ros.perception.stage_timer import StageTimer

K = camera()
FRONT, BEHIND, ASIDE = Person(-0.1, 0, 4.0), Person(0.3, 0, 4.6), Person(1.1, 0.1, 5.0)
REGION = PixelMap(2.5, 160.0, 75.0, 128, 128)  # shows all three


class RecordingEngine(FakeEngine):
    """Records the target boxes of its crops."""

    def __init__(self, *people: Person) -> None:
        super().__init__(K, lambda: list(people))
        self.boxes: list[np.ndarray | None] = []

    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> tuple[RawOutputs, object]:
        self.boxes.append(target_box)
        return super().step(crop, state, dense=dense, target_box=target_box)


def detect(
    engine: FakeEngine, expected: Person, *, dense: bool = True, config: Config | None = None
) -> Detection | None:
    clip = Clip(tuple(frame(K, 0.03 * number) for number in range(4)), 1)
    inputs = CropInputs(clip, dense, StageTimer(("crop", "network", "decode")))
    detector = CropDetector(engine, config or Config())
    return detector.detect(inputs, CropStream(REGION), ExpectedPerson(box_of(expected, K)))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("expected", [FRONT, BEHIND], ids=["in front", "behind"])
def test_of_two_overlapping_people_the_expected_one_is_the_target(
    expected: Person, dense: bool
) -> None:
    found = detect(RecordingEngine(FRONT, BEHIND), expected, dense=dense)
    assert found is not None
    keypoints = pixels_of(expected.joints_m(), K)
    np.testing.assert_allclose(found.body.keypoints[:, :2], keypoints, atol=1.5)
    np.testing.assert_allclose(found.body.root_m, expected.root_m, atol=0.05)


def test_the_target_cells_are_the_visible_ones_of_the_expected_person() -> None:
    engine = RecordingEngine(FRONT, BEHIND)
    front, behind = (detect(engine, expected) for expected in (FRONT, BEHIND))
    assert front is not None and behind is not None
    assert front.target is not None and behind.target is not None and front.mask is not None
    assert not (front.target & behind.target).any()
    np.testing.assert_array_equal(front.target | behind.target, front.mask > 0.5)
    visible = box_of(BEHIND, K)
    visible[0] = box_of(FRONT, K)[2]
    cell = 2 * REGION.scale
    np.testing.assert_allclose(front.body.box, box_of(FRONT, K), atol=1.1 * cell)
    np.testing.assert_allclose(behind.body.box, visible, atol=1.1 * cell)


def proposed(engine: RecordingEngine, proposal: Proposal) -> CropDetection | None:
    inputs = CropInputs(Clip((frame(K, 0.0),), 1), True, StageTimer(("crop", "network", "decode")))
    return CropDetector(engine, Config()).detect_proposal(inputs, proposal)


def test_the_last_crop_of_a_proposal_lies_exactly_around_the_person() -> None:
    box = box_of(FRONT, K).astype(np.float32)
    rough = box + 0.06 * (box[3] - box[1]) * np.array([1, -1, 1, 1], np.float32)
    engine = RecordingEngine(FRONT)
    found = proposed(engine, Proposal(rough, 0.9))
    assert found is not None and len(engine.boxes) > 1
    exact = region_around(found.detection.extent, (128, 128), Config().regions)
    assert found.stream.region == found.detection.region
    assert abs(found.stream.region.offset_x - exact.offset_x) <= 2 * exact.scale
    assert abs(found.stream.region.offset_y - exact.offset_y) <= 2 * exact.scale
    assert found.stream.region.scale == pytest.approx(exact.scale, rel=0.06)


def test_a_proposal_that_is_placed_exactly_needs_one_crop() -> None:
    engine = RecordingEngine(FRONT)
    assert proposed(engine, Proposal(box_of(FRONT, K).astype(np.float32), 0.9)) is not None
    assert len(engine.boxes) == 1


def test_a_proposal_whose_crop_shows_hardly_a_person_gets_no_further_crop() -> None:
    class Doubtful(RecordingEngine):
        def step(self, *args: Any, **options: Any) -> tuple[RawOutputs, object]:
            raw, state = super().step(*args, **options)
            body = raw.body._replace(presence=-6.0)
            return raw._replace(body=body), state

    box = box_of(FRONT, K).astype(np.float32)
    rough = box + 0.06 * (box[3] - box[1])
    engine = Doubtful(FRONT)
    assert proposed(engine, Proposal(rough, 0.01)) is not None
    assert len(engine.boxes) == 1


@pytest.mark.parametrize("expected", [FRONT, ASIDE], ids=["in front", "aside"])
def test_neighbours_are_the_other_people(expected: Person) -> None:
    people = [FRONT, ASIDE]
    found = detect(RecordingEngine(*people), expected)
    assert found is not None
    others = [box_of(each, K) for each in people if each is not expected]
    boxes = [each.box for each in found.neighbours]
    np.testing.assert_allclose(boxes, others, atol=2.2 * REGION.scale)
    assert all(each.score > 0.9 for each in found.neighbours)


def test_a_person_alone_has_no_neighbours() -> None:
    found = detect(RecordingEngine(ASIDE), ASIDE)
    assert found is not None and found.neighbours == ()


def test_a_crop_that_shows_another_person_is_no_detection() -> None:
    assert detect(RecordingEngine(FRONT), ASIDE) is None


def test_the_target_box_is_in_shares_of_the_crop() -> None:
    engine = RecordingEngine(FRONT)
    detect(engine, FRONT)
    (box,) = engine.boxes
    assert box is not None and box.dtype == np.float32
    side = 2.5 * 128
    left, top, right, bottom = box_of(FRONT, K)
    expected = [(left - 160) / side, (top - 75) / side, (right - 160) / side, (bottom - 75) / side]
    np.testing.assert_allclose(box, expected, rtol=1e-5)


def test_earlier_frames_of_a_new_stream_have_no_target_box() -> None:
    engine = RecordingEngine(FRONT)
    detect(engine, FRONT, config=config_from({"regions.rewarm": True}))
    assert [box is None for box in engine.boxes] == [True, True, True, False]
