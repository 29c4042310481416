# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whole frames through the real pipeline, with an engine that knows the ground truth."""

from pathlib import Path

import numpy as np
import pytest
from still_frames import LEFT, RIGHT, matched

from thfm_ros.evaluation.frame_metrics import frame_scores
from thfm_ros.evaluation.handheld_jitter import jitter_scores
from thfm_ros.evaluation.matching import (
    GroundTruthPerson,
    depth_errors,
    match_boxes,
)
from thfm_ros.evaluation.report_tables import rendered_frame_tables
from thfm_ros.skeleton import Joint


def test_a_perfect_engine_has_perfect_scores(tmp_path: Path) -> None:
    images = matched(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT])
    assert [len(image.true_positives) for image in images] == [2, 2, 2]
    scores = frame_scores(images)
    detection, keypoints, depth = scores.detection, scores.keypoints, scores.depth
    for score in (
        *(detection.correct_count, detection.recall, detection.precision),
        *(keypoints.pck10, keypoints.pck10_all, keypoints.oks_ap50),
    ):
        assert score.value == pytest.approx(1.0)
    assert detection.mask_iou.value > 0.9 and depth.within_125.value == 1.0
    assert depth.root_distance.value < 0.02 and depth.metric_abs_rel.value < 0.02
    assert scores.tracking.steps == 4 and scores.tracking.id_switches.value == 0
    assert keypoints.swapped_pairs.value == 0
    assert detection.correct_count.baseline == 0.0
    text = rendered_frame_tables(scores, jitter_scores([images]))
    assert "| recall of people, IoU >= 0.5 | 1.000 |" in text


def test_missed_people_cost_recall_and_false_positives_cost_precision(tmp_path: Path) -> None:
    missed = frame_scores(matched(tmp_path / "a", [LEFT, RIGHT], [LEFT]))
    detection = missed.detection
    assert (detection.recall.value, detection.precision.value) == (0.5, 1.0)
    assert detection.correct_count.value == 0.0
    assert missed.keypoints.pck10.value == 1.0 and missed.keypoints.pck10_all.value == 0.5
    detection = frame_scores(matched(tmp_path / "b", [LEFT], [LEFT, RIGHT])).detection
    assert (detection.recall.value, detection.precision.value) == (1.0, 0.5)


def test_false_positives_are_counted_on_negative_images(tmp_path: Path) -> None:
    images = matched(tmp_path / "frames", [], [LEFT])
    scores = frame_scores(images)
    assert scores.detection.false_positives.value == 1.0 and scores.negative_images == 3
    assert np.isnan(scores.detection.recall.value) and np.isnan(scores.detection.mask_iou.value)
    assert "not measured" in rendered_frame_tables(scores, jitter_scores([images]))


def person(box: list[float], ignore: bool = False) -> GroundTruthPerson:
    k = len(Joint)
    keypoints, labelled = np.zeros((k, 2)), np.zeros(k, bool)
    return GroundTruthPerson(1, np.array(box, float), 100.0, keypoints, labelled, ignore)


def test_boxes_are_matched_one_to_one_and_ignored_inside_a_crowd() -> None:
    people = [person([0, 0, 10, 20]), person([100, 0, 200, 100], ignore=True)]
    boxes = [[1, 0, 11, 20], [0, 0, 10, 19], [120, 20, 130, 40], [300, 0, 310, 20]]
    pairs, false_positives = match_boxes(people, [np.array(box, float) for box in boxes])
    assert pairs == ((0, 1),)
    assert false_positives == (0, 3)  # a second box on the same person is one, too


def test_depth_that_is_off_by_one_factor_is_right_once_aligned() -> None:
    depth = np.linspace(2, 3, 100)
    errors = depth_errors(1.3 * depth, depth, metric=True)
    assert errors is not None
    assert errors.abs_rel.value == pytest.approx(0, abs=1e-9) and errors.within_125.value == 1.0
    assert errors.metric_abs_rel.value == pytest.approx(0.3)
    # A flat person at 2.5: mean |2.5 - z| / z over 2..3.
    expected = float((np.abs(2.5 - depth) / depth).mean())
    assert errors.abs_rel.baseline == pytest.approx(expected)
    assert depth_errors(depth[:20], depth[:20], metric=True) is None
