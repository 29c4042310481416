# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Baselines that need no network: the median pose, scaled into a bounding box."""

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.skeleton import FLIP_PAIRS


def median_pose(
    keypoints: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
    boxes: Float[np.ndarray, "n 4"],
) -> Float[np.ndarray, "k 2"]:
    """The median pose of these people, made symmetric, as fractions of the bounding box.

    The median is taken over the evaluated people themselves, so that no other fixed pose fits
    them much better: the baseline is as strong as it can be. A mean would be weaker, since a few
    people who are upside down pull its head down.

    Args:
        keypoints: any unit; only the labelled ones are used.
        labelled: which keypoints have ground truth.
        boxes: x_min, y_min, x_max, y_max in the unit of ``keypoints``.

    Returns:
        Keypoints in 0..1 of the box's width and height; 0.5 where no keypoint is labelled.
    """
    pose = np.full((keypoints.shape[1], 2), 0.5)
    low, side = boxes[:, None, :2], np.maximum(boxes[:, None, 2:] - boxes[:, None, :2], 1e-6)
    relative = (keypoints - low) / side
    for joint in np.flatnonzero(labelled.any(0)):
        pose[joint] = np.median(relative[labelled[:, joint], joint], axis=0)
    mirrored = pose[list(FLIP_PAIRS)] * [-1, 1] + [1, 0]
    return np.asarray((pose + mirrored) / 2)


def pose_in_boxes(
    pose: Float[np.ndarray, "k 2"], boxes: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, "n k 2"]:
    """A pose of `median_pose` scaled into each box (x_min, y_min, x_max, y_max)."""
    return np.asarray(boxes[:, None, :2] + pose * (boxes[:, None, 2:] - boxes[:, None, :2]))
