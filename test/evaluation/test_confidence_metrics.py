# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How often bodies and keypoints are right, by their confidence."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from still_frames import LEFT, RIGHT, matched

from thfm_ros.evaluation.confidence_metrics import (
    body_confidences,
    confidence_scores,
    confidence_table,
    keypoint_confidences,
)


def test_precision_counts_what_is_at_least_so_confident() -> None:
    confidence = np.array([0.2, 0.6, 0.75, 0.95, 0.95])
    right = np.array([False, False, True, True, False])
    scores = confidence_scores(confidence, right)
    assert scores.number == 5
    assert scores.precision == {0.5: (4, 0.5), 0.7: (3, pytest.approx(2 / 3)), 0.9: (2, 0.5)}
    assert [each.number for each in scores.bins] == [1, 0, 1, 1, 2]
    assert scores.brier.baseline == pytest.approx(0.4 * 0.6)


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 100))
def test_confidences_that_mean_what_they_say_are_right_as_often(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(share / 2, 1, 4000)
    scores = confidence_scores(confidence, rng.random(4000) < confidence)
    assert scores.brier.value <= scores.brier.baseline + 0.02
    for each in scores.bins:
        if each.number > 300:
            assert each.right == pytest.approx(each.mean_confidence, abs=0.1)


def test_bodies_are_right_where_there_are_people(tmp_path: Path) -> None:
    perfect = body_confidences(matched(tmp_path / "a", [LEFT, RIGHT], [LEFT, RIGHT]))
    assert perfect.number == 6 and perfect.precision[0.5][1] == 1.0
    half = body_confidences(matched(tmp_path / "b", [LEFT], [LEFT, RIGHT]))
    assert half.number == 6 and half.precision[0.5] == (6, 0.5)


def test_keypoints_of_a_perfect_engine_are_right(tmp_path: Path) -> None:
    scores = keypoint_confidences(matched(tmp_path / "frames", [LEFT], [LEFT]))
    assert scores.number > 10 and scores.precision[0.5][1] == 1.0


def test_without_detections_nothing_is_measured(tmp_path: Path) -> None:
    images = matched(tmp_path / "frames", [LEFT], [])
    for scores in (body_confidences(images), keypoint_confidences(images)):
        assert scores.number == 0 and np.isnan(scores.brier.value)
    table = confidence_table({"bodies": body_confidences(images)})
    assert "not measured (0)" in table
