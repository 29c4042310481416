# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether two detections show one person."""

from dataclasses import replace

import numpy as np
import pytest
from a_detection import a_detection

from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.same_person import pose_similarity, same_person, same_pose


def upper_half(whole: Detection) -> Detection:
    """The same person, of whom the crop shows the upper half only."""
    assert whole.target is not None
    target, keypoints = whole.target.copy(), whole.body.keypoints.copy()
    target[len(target) // 2 :] = False
    x0, y0, x1, y1 = whole.body.box
    middle = (y0 + y1) / 2
    keypoints[keypoints[:, 1] > middle] = np.nan
    box = np.array([x0, y0, x1, middle], np.float32)
    return replace(whole, body=replace(whole.body, box=box, keypoints=keypoints), target=target)


WHOLE, NEXT_TO_IT = a_detection(0.0), a_detection(0.62)  # shoulder to shoulder
AGAIN = a_detection(0.05)  # another crop, nearly the same pixels


CASES = {
    "upper half": (upper_half(WHOLE), True),
    "another crop": (AGAIN, True),
    "neighbour": (NEXT_TO_IT, False),
}


@pytest.mark.parametrize(("other", "same"), CASES.values(), ids=CASES)
def test_masks_tell_one_person_from_neighbours(other: Detection, same: bool) -> None:
    assert same_person(WHOLE, other) == same_person(other, WHOLE) == same


def test_without_masks_boxes_do() -> None:
    flat, *others = (replace(each, target=None) for each in (WHOLE, AGAIN, NEXT_TO_IT))
    assert [same_person(flat, other) for other in others] == [True, False]


@pytest.mark.parametrize(
    ("other", "same"),
    [*CASES.values(), (a_detection(0.0, 5.0), False)],
    ids=[*CASES, "someone farther behind"],
)
def test_a_part_of_a_body_has_its_pose(other: Detection, same: bool) -> None:
    assert same_pose(WHOLE.body, other.body) == same_pose(other.body, WHOLE.body) == same


def test_few_or_uncertain_joints_say_nothing() -> None:
    assert pose_similarity(WHOLE.body, WHOLE.body) == pytest.approx(1.0)
    few = WHOLE.body.keypoints.copy()
    few[4:, 2] = 0.1
    assert pose_similarity(WHOLE.body, replace(WHOLE.body, keypoints=few)) == 0.0
    unknown = np.full_like(few, np.nan)
    assert pose_similarity(WHOLE.body, replace(WHOLE.body, keypoints=unknown)) == 0.0
