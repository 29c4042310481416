"""Figures as the field defines them: pure functions on numpy arrays.

Each returns per-sample values or counts, NaN where the truth says nothing, so that a caller can
average over people, limbs or sizes.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from thfm_ros.skeleton import FLIP_PAIRS, Joint

LIMBS: dict[str, tuple[Joint, ...]] = {
    "head": tuple(Joint(j) for j in range(5)),
    "shoulders": (Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER),
    "elbows": (Joint.LEFT_ELBOW, Joint.RIGHT_ELBOW),
    "wrists": (Joint.LEFT_WRIST, Joint.RIGHT_WRIST),
    "hips": (Joint.LEFT_HIP, Joint.RIGHT_HIP),
    "knees": (Joint.LEFT_KNEE, Joint.RIGHT_KNEE),
    "ankles": (Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE),
    "feet": tuple(Joint(j) for j in range(17, 23)),
}

PAIRS: tuple[tuple[Joint, Joint], ...] = tuple(
    (joint, Joint(joint + 1)) for joint in Joint if 5 <= joint < 17 and joint % 2
)
"""Left and right of what has sides, the face left out: from afar its sides cannot be told."""

_ROUNDS = 10

_APART = 0.1
"""Of the box side: a pair whose joints are nearer to each other cannot be exchanged visibly."""


def iou(predicted: Bool[np.ndarray, "n h w"], truth: Bool[np.ndarray, "n h w"]) -> np.ndarray:
    """Intersection over union per image; NaN where both are empty."""
    both = (predicted & truth).sum((1, 2))
    either = (predicted | truth).sum((1, 2)).astype(float)
    found: np.ndarray = both / np.where(either > 0, either, np.nan)
    return found


def part_iou(
    predicted: UInt8[np.ndarray, "n h w"], truth: UInt8[np.ndarray, "n h w"], parts: int
) -> np.ndarray:
    """IoU of each part over the whole set, background left out, [parts - 1]."""
    found = []
    for part in range(1, parts):
        p, t = predicted == part, truth == part
        either = float((p | t).sum())
        found.append((p & t).sum() / either if either else np.nan)
    return np.array(found)


def box_sides(peaks: Float[np.ndarray, "n k 2"], labelled: Bool[np.ndarray, "n k"]) -> np.ndarray:
    """Longer side of the box of the labelled joints, in the unit of ``peaks``, [n]."""
    low = np.where(labelled[..., None], peaks, np.inf).min(1)
    high = np.where(labelled[..., None], peaks, -np.inf).max(1)
    found: np.ndarray = (high - low).max(1)
    return found


def normalised_errors(
    predicted: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
) -> np.ndarray:
    """Distance in longer sides of the person's box, [n k]; NaN where a joint is not labelled
    or fewer than four COCO joints are."""
    enough = labelled[:, :17].sum(1) >= 4
    distance = np.linalg.norm(predicted - truth, axis=-1)
    distance = distance / np.maximum(box_sides(truth, labelled), 1e-6)[:, None]
    return np.where(labelled & enough[:, None], distance, np.nan)


def pck(errors: np.ndarray, threshold: float) -> float:
    """Share of the labelled joints nearer than ``threshold`` box sides."""
    known = errors[~np.isnan(errors)]
    return float((known < threshold).mean()) if known.size else float("nan")


def swapped(errors: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Whether the mirrored skeleton fits better by three joints or more, [n]; both as
    `normalised_errors` gives them."""
    found: np.ndarray = np.nansum(mirrored < 0.1, 1) > np.nansum(errors < 0.1, 1) + 2
    return found


def facing(
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
    pairs: tuple[tuple[Joint, Joint], ...] = (PAIRS[0], PAIRS[3]),  # shoulders, hips
) -> np.ndarray:
    """How far the left of these pairs lies to the right of its right, in box sides, [n].

    More than 0 for who faces the camera, less for who turns their back; NaN where no pair is
    labelled.
    """
    left, right = np.array(pairs).T
    known = labelled[:, left] & labelled[:, right]
    apart = np.where(known, truth[:, left, 0] - truth[:, right, 0], 0).sum(1)
    count = known.sum(1)
    mean = apart / np.maximum(count, 1) / np.maximum(box_sides(truth, labelled), 1e-6)
    return np.where(count > 0, mean, np.nan)


def as_if_facing(
    truth: Float[np.ndarray, "n k 2"], labelled: Bool[np.ndarray, "n k"]
) -> np.ndarray:
    """The same skeletons with their sides named as if everybody faced the camera, [n k 2].

    Of who hides shoulders and hips, the other joints tell.
    """
    trunk = facing(truth, labelled)
    away = np.where(np.isnan(trunk), facing(truth, labelled, PAIRS), trunk) < 0
    return np.where(away[:, None, None], truth[:, list(FLIP_PAIRS)], truth)


def exchanged_pairs(
    predicted: Float[np.ndarray, "n k 2"],
    truth: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
) -> tuple[np.ndarray, np.ndarray]:
    """Which of PAIRS fit better exchanged, and of which that can be said, bool [n p] each."""
    left, right = np.array(PAIRS).T
    side = np.maximum(box_sides(truth, labelled), 1e-6)[:, None]

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.linalg.norm(a - b, axis=-1)
        return found

    with np.errstate(invalid="ignore"):
        here = np.isfinite(predicted[:, left]).all(-1) & np.isfinite(predicted[:, right]).all(-1)
        known = labelled[:, left] & labelled[:, right] & here
        decidable = known & (apart(truth[:, left], truth[:, right]) > _APART * side)
        straight = apart(predicted[:, left], truth[:, left])
        straight = straight + apart(predicted[:, right], truth[:, right])
        crossed = apart(predicted[:, left], truth[:, right])
        crossed = crossed + apart(predicted[:, right], truth[:, left])
        return decidable & (crossed < straight), decidable


def procrustes(predicted: Float[np.ndarray, "k 3"], truth: Float[np.ndarray, "k 3"]) -> np.ndarray:
    """Distances per joint after the best similarity transform, in the unit of the input, [k]."""
    return np.asarray(np.linalg.norm(laid_on(predicted, truth) - truth, axis=1))


def aligned_errors(
    predicted: Float[np.ndarray, "n k 3"], truth: Float[np.ndarray, "n k 3"]
) -> np.ndarray:
    """`procrustes` of each pair of skeletons, [n k]."""
    return np.array([procrustes(p, t) for p, t in zip(predicted, truth, strict=True)])


def stray(error: Float[np.ndarray, "t k 2"]) -> float:
    """How far joints stray about their own mean error, root mean square over joints.

    A constant error is no jitter; drift and lag are. A few frames know their own mean: n - 1, else
    it would look smaller than it is.
    """
    return float(np.sqrt(error.var(axis=0, ddof=1).sum(-1).mean()))


def laid_on(predicted: Float[np.ndarray, "k 3"], truth: Float[np.ndarray, "k 3"]) -> np.ndarray:
    """A skeleton after the similarity transform that fits it best to another, no reflection."""
    a, b = predicted - predicted.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    flip = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    turn = (u * flip) @ vt
    scale = (s * flip).sum() / max((a**2).sum(), 1e-12)
    return np.asarray(scale * a @ turn + truth.mean(0))


def mean_shape(skeletons: Float[np.ndarray, "n k 3"]) -> Float[np.ndarray, "k 3"]:
    """The skeleton that fits all of these best after a similarity transform each.

    The plain mean of people who look every way, and some of whom stand on their hands, is a thin
    stick that no transform mends (generalised Procrustes analysis; Gower 1975).
    """
    shape = skeletons[0]
    for _ in range(_ROUNDS):
        size = np.linalg.norm(shape - shape.mean(0))
        laid = np.array([laid_on(each, shape) for each in skeletons])
        shape = laid.mean(0)
        shape = shape * (size / max(np.linalg.norm(shape - shape.mean(0)), 1e-12))
    return np.asarray(shape)


def angles_deg(predicted: Float[np.ndarray, "n 3"], truth: Float[np.ndarray, "n 3"]) -> np.ndarray:
    """Angle between vectors of any length, degrees, [n]."""
    lengths = np.linalg.norm(predicted, axis=1) * np.linalg.norm(truth, axis=1)
    cosine = (predicted * truth).sum(1) / np.maximum(lengths, 1e-9)
    found: np.ndarray = np.degrees(np.arccos(cosine.clip(-1, 1)))
    return found


def relief_rmse(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the relief's error on one person, its median removed, metres."""
    error = (predicted - np.median(predicted)) - (truth - np.median(truth))
    return float(np.sqrt((error**2).mean()))
