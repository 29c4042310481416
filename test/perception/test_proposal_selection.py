# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which proposals get a crop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.proposal_selection import select_proposals


def proposal(x: float, score: float, width: float = 40, height: float = 100) -> Proposal:
    return Proposal(np.array([x, 0, x + width, height], np.float32), score)


def test_the_likeliest_of_two_boxes_of_one_person_is_kept() -> None:
    weak, strong = proposal(0, 0.3), proposal(6, 0.8)
    assert select_proposals([weak, strong], [], 16) == [strong]


@pytest.mark.parametrize(("x", "kept"), [(0, False), (6, False), (20, True), (60, True)])
def test_neighbours_of_known_people_are_kept_and_the_known_are_not(x: float, kept: bool) -> None:
    known = [proposal(0, 1.0).box]
    assert bool(select_proposals([proposal(x, 0.5)], known, 16)) == kept


def test_a_part_of_a_known_person_is_none() -> None:
    head = Proposal(np.array([10, 0, 30, 20], np.float32), 0.9)
    assert select_proposals([head], [proposal(0, 1.0).box], 16) == []


def test_small_people_are_ignored() -> None:
    assert select_proposals([proposal(0, 0.9, 5, 15)], [], 16) == []
    assert len(select_proposals([proposal(0, 0.9, 5, 16)], [], 16)) == 1


boxes = st.lists(
    st.builds(
        lambda x, y, w, h, score: Proposal(np.array([x, y, x + w, y + h], np.float32), score),
        *[st.integers(0, 200)] * 2,
        *[st.integers(1, 100)] * 2,
        st.floats(0, 1),
    ),
    max_size=8,
)


@given(boxes, boxes)
def test_the_order_of_proposals_does_not_matter_and_scores_fall(
    proposals: list[Proposal], known: list[Proposal]
) -> None:
    occupied = [each.box for each in known]
    selected = select_proposals(proposals, occupied, 16)
    scores = [each.score for each in selected]
    assert scores == sorted(scores, reverse=True)
    if len({each.score for each in proposals}) == len(proposals):
        again = select_proposals(proposals[::-1], occupied, 16)
        assert [each.score for each in again] == scores
