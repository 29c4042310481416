# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One body from the detections of one person.

One image does not tell a tall person far away from a small one nearby, but several do: first the
person's size is corrected, so that the cameras' positions agree best. Then the pelvis is fused by
covariance intersection, and the joints relative to it, each skeleton scaled to the fused distance.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Body, TrackState
from thfm_ros.fusion.covariance_intersection import intersect, with_least_sigma
from thfm_ros.fusion.detections import Detection
from thfm_ros.geometry import pack_covariance

MIN_JOINT_SIGMA_M = 0.02
"""Least standard deviation per axis of a joint relative to the pelvis."""
MAX_RESCALING = 2.0
"""Sizes are corrected by this factor, or its inverse, at most."""

_STATE_ORDER = (TrackState.TRACKED, TrackState.TENTATIVE, TrackState.PREDICTED, TrackState.LOST)


def fused_body(detections: Sequence[Detection], body_id: str, size_sigma: float) -> Body:
    """The person as one body in the world, with this id.

    Predicted detections count only if no camera has measured the person. The state is the best of
    all cameras. There is no image, so the box is zero and the keypoints have only a confidence,
    the largest of all cameras.

    Args:
        detections: of one person, at least one, all predicted to one time.
        body_id: of the result.
        size_sigma: relative standard deviation of the person's size.
    """
    measured = [each for each in detections if each.is_measured]
    used = with_common_size(measured or list(detections), size_sigma)
    means, covariances = intersect(
        np.stack([np.stack([each.root_m, each.velocity_m_s]) for each in used]),
        np.stack([np.stack([each.root_covariance, each.velocity_covariance]) for each in used]),
    )
    (root, velocity), (root_covariance, velocity_covariance) = means, covariances
    joints, joint_covariances = _joints(used, root, root_covariance)
    scores = np.max([each.joint_scores for each in used], axis=0)
    keypoints = np.full((len(scores), 3), np.nan)
    keypoints[:, 2] = scores
    return Body(
        id=body_id,
        state=min((each.state for each in detections), key=_STATE_ORDER.index),
        score=max(each.score for each in used),
        box=np.zeros(4, np.float32),
        keypoints=keypoints.astype(np.float32),
        positions_m=joints.astype(np.float32),
        covariances_m2=pack_covariance(joint_covariances),
        root_m=root.astype(np.float32),
        root_covariance_m2=pack_covariance(root_covariance),
        velocity_m_s=velocity.astype(np.float32),
        velocity_covariance=pack_covariance(velocity_covariance),
    )


def with_common_size(detections: Sequence[Detection], size_sigma: float) -> list[Detection]:
    """The detections after the person's size was corrected by one factor for all cameras.

    The factor u moves each position to centre + u (position - centre). It is the weighted least
    squares solution of all pairs' distances, with the prior that u is 1 with ``size_sigma``; what
    remains of that uncertainty is added to the covariances.
    """
    information, weighted = size_sigma**-2, size_sigma**-2
    for a, b in combinations(detections, 2):
        # distance(u) = away + (u - 1) rays
        rays = a.offset_m - b.offset_m
        solved = np.linalg.solve(a.root_covariance + b.root_covariance, rays)
        information += float(rays @ solved)
        weighted += float((rays - (a.root_m - b.root_m)) @ solved)
    u = float(np.clip(weighted / information, 1 / MAX_RESCALING, MAX_RESCALING))
    return [_resized(each, u, 1 / information) for each in detections]


def _resized(detection: Detection, u: float, variance: float) -> Detection:
    offset = detection.offset_m
    if not offset.any():  # the camera's position is not known
        return detection
    of_the_size = variance * np.outer(offset, offset)
    centre = detection.root_m - offset
    return replace(
        detection,
        offset_m=u * offset,
        root_m=centre + u * offset,
        joints_m=centre + u * (detection.joints_m - centre),
        root_covariance=detection.root_covariance + of_the_size,
        joint_covariances=detection.joint_covariances + of_the_size,
    )


def _joints(
    detections: Sequence[Detection],
    root_m: Float64[np.ndarray, "3"],
    root_covariance: Float64[np.ndarray, "3 3"],
) -> tuple[Float64[np.ndarray, "k 3"], Float64[np.ndarray, "k 3 3"]]:
    relative, covariances = [], []
    for each in detections:
        scale = _scale(each, root_m)
        relative.append((each.joints_m - each.root_m) * scale)
        covariances.append(
            with_least_sigma(each.joint_covariances - each.root_covariance, MIN_JOINT_SIGMA_M)
            * scale**2
        )
    joints, joint_covariances = intersect(np.stack(relative), np.stack(covariances))
    return joints + root_m, joint_covariances + root_covariance


def _scale(detection: Detection, root_m: Float64[np.ndarray, "3"]) -> float:
    """How much farther than it seemed to be the person is from this camera."""
    seemed = float(np.linalg.norm(detection.offset_m))
    if seemed == 0.0:  # the camera's position is not known
        return 1.0
    scale = float(np.linalg.norm(root_m - (detection.root_m - detection.offset_m))) / seemed
    return float(np.clip(scale, 1 / MAX_RESCALING, MAX_RESCALING))
