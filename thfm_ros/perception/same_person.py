# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether the detections of two crops show one person."""

import numpy as np
from jaxtyping import Bool

from thfm_ros.contract import Body, PixelMap
from thfm_ros.geometry import area, intersection_over_min_area, iou, to_network, to_source
from thfm_ros.metrics.oks import keypoint_similarity
from thfm_ros.perception.decoding import DENSE_CELL_PX, Detection
from thfm_ros.skeleton import COCO_17

_MIN_SHARED_PIXELS = 0.5
"""Of the smaller mask."""

_MIN_BOX_IOU = 0.6
_MIN_POSE_SIMILARITY = 0.7
"""Object keypoint similarity; that of neighbours who stand shoulder to shoulder is below 0.1."""

_MIN_KEYPOINTS = 5
_MIN_CONFIDENCE = 0.55
"""Fewer keypoints that both detections have, and less certain ones, say nothing."""


def same_person(a: Detection, b: Detection) -> bool:
    """Whether two detections in one image are one person: their masks share most pixels.

    Without dense maps: whether their boxes are nearly equal.
    """
    if a.target is None or b.target is None:
        return iou(a.body.box, b.body.box) > _MIN_BOX_IOU
    if intersection_over_min_area(a.body.box, b.body.box) == 0:
        return False
    if a.target.sum() * a.region.scale**2 > b.target.sum() * b.region.scale**2:
        shared = _share_within(b.target, b.region, a.target, a.region)
    else:
        shared = _share_within(a.target, a.region, b.target, b.region)
    return shared > _MIN_SHARED_PIXELS


def same_pose(a: Body, b: Body) -> bool:
    """Whether the joints of two bodies lie in the same places, as those of a whole body and of its
    upper half do. Two people seem so, too, while one hides the other.
    """
    return pose_similarity(a, b) > _MIN_POSE_SIMILARITY


def pose_similarity(a: Body, b: Body) -> float:
    """Object keypoint similarity of the keypoints that both bodies have; 0 if these are few."""
    first, second = a.keypoints[list(COCO_17)], b.keypoints[list(COCO_17)]
    both = (first[:, 2] > _MIN_CONFIDENCE) & (second[:, 2] > _MIN_CONFIDENCE)
    if both.sum() < _MIN_KEYPOINTS:
        return 0.0
    smaller = min(area(a.box), area(b.box))
    return keypoint_similarity(first[:, :2], second[:, :2], both, smaller)


def _share_within(
    small: Bool[np.ndarray, "h w"],
    small_region: PixelMap,
    large: Bool[np.ndarray, "h2 w2"],
    large_region: PixelMap,
) -> float:
    """The share of the cells of one mask that lie inside another crop's mask."""
    rows, columns = np.nonzero(small)
    centres = (np.stack([columns, rows], 1) + 0.5) * DENSE_CELL_PX
    in_large = to_network(to_source(centres, small_region), large_region) / DENSE_CELL_PX
    x, y = np.floor(in_large).astype(int).T
    height, width = large.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(large[y[inside], x[inside]].sum() / max(len(rows), 1))
