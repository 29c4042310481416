# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Mask, keypoint and pose metrics as pure functions on numpy arrays.

Most return one value per sample or keypoint, NaN where there is no ground truth, so that a caller
can average over people, joint groups or sizes. ``n`` counts people, ``k`` keypoints of
skeleton.Joint.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from thfm_ros.skeleton import FLIP_PAIRS, Joint

JOINT_GROUPS: dict[str, tuple[Joint, ...]] = {
    "head": tuple(Joint(j) for j in range(5)),
    "shoulders": (Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER),
    "elbows": (Joint.LEFT_ELBOW, Joint.RIGHT_ELBOW),
    "wrists": (Joint.LEFT_WRIST, Joint.RIGHT_WRIST),
    "hips": (Joint.LEFT_HIP, Joint.RIGHT_HIP),
    "knees": (Joint.LEFT_KNEE, Joint.RIGHT_KNEE),
    "ankles": (Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE),
    "feet": tuple(Joint(j) for j in range(17, 23)),
}
"""The keypoints that reports show together."""

LIMB_PAIRS: tuple[tuple[Joint, Joint], ...] = tuple(
    (joint, Joint(joint + 1)) for joint in Joint if 5 <= joint < 17 and joint % 2
)
"""Left and right keypoint of each pair, without the face: from afar its sides look the same."""

_TRUNK_PAIRS = (LIMB_PAIRS[0], LIMB_PAIRS[3])
"""Shoulders and hips."""

_PROCRUSTES_ROUNDS = 10
"""Iterations of the generalised Procrustes analysis."""

_MIN_PAIR_DISTANCE = 0.1
"""In box sides: the two keypoints of a closer pair cannot be told apart as left and right."""


def iou(predicted: Bool[np.ndarray, "n h w"], truth: Bool[np.ndarray, "n h w"]) -> np.ndarray:
    """Intersection over union per image, [n]; NaN where both are empty."""
    intersection = (predicted & truth).sum((1, 2))
    union = (predicted | truth).sum((1, 2)).astype(float)
    found: np.ndarray = intersection / np.where(union > 0, union, np.nan)
    return found


def part_iou(
    predicted: UInt8[np.ndarray, "n h w"], truth: UInt8[np.ndarray, "n h w"], parts: int
) -> np.ndarray:
    """IoU of each body part over all images together, without the background, [parts - 1]."""
    found = []
    for part in range(1, parts):
        p, t = predicted == part, truth == part
        union = float((p | t).sum())
        found.append((p & t).sum() / union if union else np.nan)
    return np.array(found)


def keypoint_box_sides(
    keypoints: Float[np.ndarray, "n k 2"], labelled: Bool[np.ndarray, "n k"]
) -> np.ndarray:
    """Longer side of the bounding box of the labelled keypoints, in their unit, [n]."""
    low = np.where(labelled[..., None], keypoints, np.inf).min(1)
    high = np.where(labelled[..., None], keypoints, -np.inf).max(1)
    found: np.ndarray = (high - low).max(1)
    return found


def normalised_errors(
    predicted: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
) -> np.ndarray:
    """Keypoint errors in longer sides of the person's keypoint box, [n k].

    NaN where a keypoint is not labelled, and for people with fewer than four labelled COCO
    keypoints.
    """
    enough = labelled[:, :17].sum(1) >= 4
    distance = np.linalg.norm(predicted - truth, axis=-1)
    distance = distance / np.maximum(keypoint_box_sides(truth, labelled), 1e-6)[:, None]
    return np.where(labelled & enough[:, None], distance, np.nan)


def pck(errors: np.ndarray, threshold: float) -> float:
    """Percentage of correct keypoints, as a fraction: errors below ``threshold`` box sides."""
    known = errors[~np.isnan(errors)]
    return float((known < threshold).mean()) if known.size else float("nan")


def swapped_people(errors: np.ndarray, flipped_errors: np.ndarray) -> np.ndarray:
    """Whether the prediction with left and right swapped fits better by three keypoints, [n].

    Args:
        errors: `normalised_errors` of the prediction, [n k].
        flipped_errors: those of the prediction after `skeleton.FLIP_PAIRS`, [n k].
    """
    found: np.ndarray = np.nansum(flipped_errors < 0.1, 1) > np.nansum(errors < 0.1, 1) + 2
    return found


def frontal_offset(
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
    pairs: tuple[tuple[Joint, Joint], ...] = _TRUNK_PAIRS,
) -> np.ndarray:
    """Mean horizontal offset from the right to the left keypoint of ``pairs``, box sides, [n].

    Positive for people who face the camera, negative for people seen from behind, near 0 from
    the side; NaN where no pair is labelled.
    """
    left, right = np.array(pairs).T
    known = labelled[:, left] & labelled[:, right]
    offset = np.where(known, truth[:, left, 0] - truth[:, right, 0], 0).sum(1)
    count = known.sum(1)
    side = np.maximum(keypoint_box_sides(truth, labelled), 1e-6)
    mean = offset / np.maximum(count, 1) / side
    return np.where(count > 0, mean, np.nan)


def sides_as_if_frontal(
    truth: Float[np.ndarray, "n k 2"], labelled: Bool[np.ndarray, "n k"]
) -> np.ndarray:
    """The true keypoints with left and right named as if all people faced the camera, [n k 2].

    The baseline of left-right swaps. Where shoulders and hips are hidden, the other pairs decide.
    """
    trunk = frontal_offset(truth, labelled)
    offset = np.where(np.isnan(trunk), frontal_offset(truth, labelled, LIMB_PAIRS), trunk)
    from_behind = offset < 0
    return np.where(from_behind[:, None, None], truth[:, list(FLIP_PAIRS)], truth)


def swapped_pairs(
    predicted: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
) -> tuple[np.ndarray, np.ndarray]:
    """Which of LIMB_PAIRS fit better with left and right swapped.

    Returns:
        ``swapped`` and ``decidable``, bool [n p] each. A pair is decidable if both keypoints are
        labelled, predicted, and far enough from each other in the image.
    """
    left, right = np.array(LIMB_PAIRS).T
    side = np.maximum(keypoint_box_sides(truth, labelled), 1e-6)[:, None]

    def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.linalg.norm(a - b, axis=-1)
        return found

    with np.errstate(invalid="ignore"):
        here = np.isfinite(predicted[:, left]).all(-1) & np.isfinite(predicted[:, right]).all(-1)
        known = labelled[:, left] & labelled[:, right] & here
        decidable = known & (distance(truth[:, left], truth[:, right]) > _MIN_PAIR_DISTANCE * side)
        straight = distance(predicted[:, left], truth[:, left])
        straight = straight + distance(predicted[:, right], truth[:, right])
        crossed = distance(predicted[:, left], truth[:, right])
        crossed = crossed + distance(predicted[:, right], truth[:, left])
        return decidable & (crossed < straight), decidable


def procrustes(predicted: Float[np.ndarray, "k 3"], truth: Float[np.ndarray, "k 3"]) -> np.ndarray:
    """Keypoint errors after the best similarity transform, in the unit of the input, [k]."""
    return np.asarray(np.linalg.norm(similarity_aligned(predicted, truth) - truth, axis=1))


def procrustes_errors(
    predicted: Float[np.ndarray, "n k 3"], truth: Float[np.ndarray, "n k 3"]
) -> np.ndarray:
    """`procrustes` of each pair of skeletons, [n k]."""
    return np.array([procrustes(p, t) for p, t in zip(predicted, truth, strict=True)])


def jitter(error: Float[np.ndarray, "t k 2"]) -> float:
    """Standard deviation of keypoint errors over time, root mean square over the keypoints.

    A constant error is no jitter; drift and lag are. The mean error is estimated from the same
    few frames, hence n - 1: otherwise the jitter would be underestimated.
    """
    return float(np.sqrt(error.var(axis=0, ddof=1).sum(-1).mean()))


def similarity_aligned(
    predicted: Float[np.ndarray, "k 3"], truth: Float[np.ndarray, "k 3"]
) -> np.ndarray:
    """``predicted`` after the similarity transform that fits ``truth`` best, [k 3].

    Rotation, uniform scale and translation; no reflection.
    """
    a, b = predicted - predicted.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    turn = (u * flip) @ vt
    scale = (s * flip).sum() / max((a**2).sum(), 1e-12)
    return np.asarray(scale * a @ turn + truth.mean(0))


def mean_shape(skeletons: Float[np.ndarray, "n k 3"]) -> Float[np.ndarray, "k 3"]:
    """The skeleton that fits all of these best after a similarity transform each.

    Generalised Procrustes analysis (Gower 1975). The plain mean of people with different body
    orientations collapses to a thin line that no transform can repair.
    """
    shape = skeletons[0]
    for _ in range(_PROCRUSTES_ROUNDS):
        size = np.linalg.norm(shape - shape.mean(0))
        aligned = np.array([similarity_aligned(each, shape) for each in skeletons])
        shape = aligned.mean(0)
        shape = shape * (size / max(np.linalg.norm(shape - shape.mean(0)), 1e-12))
    return np.asarray(shape)


def angles_deg(predicted: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Angle between vectors of any length, degrees, [n]."""
    lengths = np.linalg.norm(predicted, axis=1) * np.linalg.norm(truth, axis=1)
    cosine = (predicted * truth).sum(1) / np.maximum(lengths, 1e-9)
    found: np.ndarray = np.degrees(np.arccos(cosine.clip(-1, 1)))
    return found


def relative_depth_rmse(
    predicted: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]
) -> float:
    """RMSE of the depths of one person's pixels after removing the median of each, metres."""
    error = (predicted - np.median(predicted)) - (truth - np.median(truth))
    return float(np.sqrt((error**2).mean()))
