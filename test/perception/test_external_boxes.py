# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Boxes of another detector: what becomes a proposal, and what is refused for which cause."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.contract import Frame
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.external_boxes import (
    MAX_LEAD_S,
    BoxMessage,
    ExternalBox,
    ExternalBoxes,
    Refusal,
    corners_of,
)

IMAGE = np.zeros((480, 640, 3), np.uint8)
PERSON = (("person", 0.9),)
STANDING = ExternalBox(100, 200, 60, 160, 0, PERSON)
SIDES = st.floats(0.5, 500)


def at(stamp_s: float, frame_id: str = "camera") -> Frame:
    return Frame(IMAGE, round(stamp_s * 1e9), frame_id)


def message(
    stamp_s: float, boxes: Iterable[ExternalBox] = (STANDING,), frame_id: str = "camera"
) -> BoxMessage:
    return BoxMessage(round(stamp_s * 1e9), frame_id, tuple(boxes))


def receiver(class_id: str = "person", max_age_s: float = 0.5) -> ExternalBoxes:
    return ExternalBoxes(class_id, max_age_s)


def taken(boxes: Iterable[ExternalBox], class_id: str = "person") -> list[Proposal]:
    external = receiver(class_id)
    external.put(message(10, boxes))
    proposals = external.take(at(10))
    assert proposals is not None
    return proposals


def test_a_box_becomes_a_proposal_with_its_corners_and_its_score() -> None:
    (proposal,) = taken([STANDING])
    np.testing.assert_array_equal(proposal.box, [70, 120, 130, 280])
    assert (proposal.score, proposal.external) == (0.9, True)


@given(st.floats(50, 590), st.floats(50, 430), SIDES, SIDES, st.floats(-7, 7))
def test_the_corners_enclose_the_rotated_box_tightly(
    x: float, y: float, width: float, height: float, angle: float
) -> None:
    corners = corners_of(ExternalBox(x, y, width, height, angle, PERSON))
    assert corners is not None
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = signs * [width, height] @ turn.T + [x, y]
    np.testing.assert_allclose(corners, [*points.min(0), *points.max(0)], atol=1e-6)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
BOXES = st.builds(
    ExternalBox,
    *(NUMBERS | st.floats(-900, 900),) * 5,
    st.lists(
        st.tuples(st.sampled_from(["person", "car", ""]), NUMBERS | st.floats(0, 1)), max_size=3
    ).map(tuple),
)


@given(st.lists(BOXES, max_size=6))
def test_each_box_of_whatever_numbers_is_a_valid_proposal_or_is_counted(
    boxes: list[ExternalBox],
) -> None:
    external = receiver()
    external.put(message(10, boxes))
    proposals = external.take(at(10))
    assert proposals is not None
    for proposal in proposals:
        assert 0 <= proposal.score <= 1
        x0, y0, x1, y1 = proposal.box
        assert 0 <= x0 < x1 <= 640 and 0 <= y0 < y1 <= 480
    use = external.use
    assert use.proposals == len(proposals)
    assert use.proposals + sum(count for _, count in use.refused) == len(boxes)
    assert (use.problem is not None) == (bool(boxes) and not proposals)


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        (STANDING._replace(x=math.nan), Refusal.INVALID),
        (STANDING._replace(angle=math.inf), Refusal.INVALID),
        (STANDING._replace(width=0), Refusal.INVALID),
        (STANDING._replace(height=-5), Refusal.INVALID),
        (STANDING._replace(x=900), Refusal.SIZE),
        (STANDING._replace(x=320, width=1280), Refusal.SIZE),
        (STANDING._replace(hypotheses=()), Refusal.SCORE),
        (STANDING._replace(hypotheses=(("person", math.nan),)), Refusal.SCORE),
        (STANDING._replace(hypotheses=(("person", 87.0),)), Refusal.SCORE),
        (STANDING._replace(hypotheses=(("chair", 0.9),)), Refusal.CLASS),
    ],
)
def test_a_box_that_cannot_be_used_is_refused_with_its_cause_and_advice(
    box: ExternalBox, cause: Refusal
) -> None:
    external = receiver()
    external.put(message(10, [box]))
    assert external.take(at(10)) == []
    use = external.use
    assert use.refused == ((cause, 1),) and use.problem is cause
    assert len(use.advice) > 20


def test_a_box_that_reaches_a_bit_beyond_the_image_is_cut_at_its_edge() -> None:
    (proposal,) = taken([STANDING._replace(y=440)])
    np.testing.assert_array_equal(proposal.box, [70, 360, 130, 480])


def test_the_best_score_of_the_class_counts() -> None:
    several = STANDING._replace(hypotheses=(("dog", 0.95), ("person", 0.3), ("person", 0.4)))
    assert taken([several])[0].score == 0.4
    assert taken([several], class_id="")[0].score == 0.95


def test_the_problem_ends_with_the_first_message_that_can_be_used() -> None:
    external = receiver()
    external.put(message(10, [STANDING._replace(width=-1)]))
    external.take(at(10))
    external.put(message(10.1, []))
    assert external.take(at(10.1)) == [] and external.use.problem is Refusal.INVALID
    external.put(message(10.2))
    assert external.take(at(10.2))
    after = external.use
    assert (after.problem, after.refused) == (None, ((Refusal.INVALID, 1),))


def test_boxes_that_come_before_their_frame_wait_for_it() -> None:
    external = receiver()
    external.put(message(10.1))
    assert external.take(at(10.0)) is None
    assert external.take(at(10.1)) and external.take(at(10.1)) is None


def test_boxes_far_ahead_of_the_newest_frame_are_of_the_future() -> None:
    external = receiver()
    external.put(message(10.01 + MAX_LEAD_S))
    assert external.take(at(10.0)) is None and external.use.problem is Refusal.FUTURE
    assert "1.01 s ahead" in external.use.advice
    assert external.take(at(11.2)) is None  # they are gone


def test_boxes_older_than_the_limit_are_too_old() -> None:
    external = receiver(max_age_s=0.5)
    external.put(message(9.49))
    assert external.take(at(10.0)) is None
    assert external.use.refused == ((Refusal.OLD, 1),) and "0.51 s older" in external.use.advice
    external.put(message(9.5))
    assert external.take(at(10.0))


def test_the_newest_of_several_messages_counts_in_whatever_order_they_come() -> None:
    external = receiver()
    for stamp_s, x in ((9.9, 200), (9.95, 300), (9.8, 100)):
        external.put(message(stamp_s, [STANDING._replace(x=x)]))
    (proposal,) = external.take(at(10.0)) or []
    assert proposal.box[0] == 270 and external.use.overtaken == 2


def test_boxes_of_another_camera_are_refused() -> None:
    external = receiver()
    external.put(message(10, frame_id="rear_camera"))
    assert external.take(at(10)) is None
    assert external.use.problem is Refusal.FRAME_ID
    assert "'rear_camera'" in external.use.advice and "'camera'" in external.use.advice


def test_after_a_jump_of_time_boxes_from_before_are_not_used() -> None:
    external = receiver()
    external.put(message(100))
    assert external.take(at(5)) is None
    external.put(message(5))
    assert external.take(at(100)) is None
    assert dict(external.use.refused) == {Refusal.FUTURE: 1, Refusal.OLD: 1}


def test_boxes_that_no_frame_comes_for_do_not_accumulate() -> None:
    external = receiver()
    for number in range(1000):
        external.put(message(10 + number * 1e-4))
    assert external.take(at(10.2)) and external.use.overtaken == 999
