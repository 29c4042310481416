# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The median pose: in fractions of the box, symmetric, and only of labelled keypoints."""

import numpy as np
import pytest

from thfm_ros.metrics.baselines import median_pose, pose_in_boxes
from thfm_ros.metrics.score import mean_known, ratio
from thfm_ros.skeleton import FLIP_PAIRS, Joint

K = len(Joint)


def test_people_of_one_symmetric_pose_have_that_median_pose() -> None:
    pose = np.random.default_rng(0).uniform(0, 1, (K, 2))
    pose = (pose + pose[list(FLIP_PAIRS)] * [-1, 1] + [1, 0]) / 2
    boxes = np.array([[0.0, 0, 10, 20], [5, 5, 105, 55], [-3, 2, 4, 9]])
    people = pose_in_boxes(pose, boxes)
    np.testing.assert_allclose(people[1, :, 0], 5 + 100 * pose[:, 0])
    np.testing.assert_allclose(median_pose(people, np.ones((3, K), bool), boxes), pose)


def test_keypoints_that_are_not_labelled_have_no_influence() -> None:
    boxes = np.tile([0.0, 0, 1, 1], (3, 1))
    keypoints = np.zeros((3, K, 2))
    keypoints[:, Joint.NOSE] = [[0.5, 0.2], [0.5, 0.2], [1e6, 1e6]]
    labelled = np.zeros((3, K), bool)
    labelled[:2, Joint.NOSE] = True
    pose = median_pose(keypoints, labelled, boxes)
    assert pose[Joint.NOSE] == pytest.approx([0.5, 0.2])
    assert pose[Joint.LEFT_WRIST] == pytest.approx([0.5, 0.5])


def test_a_mean_without_values_and_a_ratio_of_nothing_are_not_measured() -> None:
    assert mean_known([1.0, np.nan, 3.0]) == 2.0
    assert np.isnan(mean_known([])) and np.isnan(mean_known([np.nan])) and np.isnan(ratio(1, 0))
