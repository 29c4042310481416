"""Figures of whole pictures, from the verdicts on each: finding people, and how well they are
seen. Every figure stands beside a trivial baseline; both are plain numbers by name.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from thfm_ros.evaluation.oks import Ranked, average_precision, similarity
from thfm_ros.evaluation.people import COCO, Judged, Person, match
from thfm_ros.geometry import longer_side
from thfm_ros.skeleton import TWINS, Joint
from thfm_ros.training import metrics

Scores = dict[str, float]

SIZES: dict[str, tuple[float, float]] = {
    "under a quarter": (0.0, 0.25),
    "a quarter to a half": (0.25, 0.5),
    "over a half": (0.5, np.inf),
}
"""Bands of the longer side of a person, in heights of the picture."""


def scores_of(pictures: Sequence[Judged]) -> Scores:
    """All figures; NaN where nothing could be measured."""
    row = {
        "pictures": float(len(pictures)),
        "people": float(sum(len(picture.counted) for picture in pictures)),
        "empty": float(sum(not picture.people for picture in pictures)),
    }
    return row | _finding(pictures) | _skeletons(pictures) | _metric(pictures) | _names(pictures)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _finding(pictures: Sequence[Judged]) -> Scores:
    people = sum(len(picture.counted) for picture in pictures)
    hits = sum(len(picture.hits) for picture in pictures)
    wrong = sum(len(picture.wrong) for picture in pictures)
    empty = [picture for picture in pictures if not picture.people]
    guess = _mean_box(pictures)
    guessed = [match(p.people, [guess * p.height]) for p in pictures]
    guessed_hits = sum(
        sum(picture.people[i].counts for i, _ in pairs)
        for picture, (pairs, _) in zip(pictures, guessed, strict=True)
    )
    return {
        # Who was found and need not have been does not make the number wrong.
        "right_number": _mean([len(p.hits) + len(p.wrong) == len(p.counted) for p in pictures]),
        "right_number_one": _mean([len(p.counted) == 1 for p in pictures]),
        "recall": _ratio(hits, people),
        "recall_box": _ratio(guessed_hits, people),
        "precision": _ratio(hits, hits + wrong),
        "precision_box": _ratio(
            guessed_hits, guessed_hits + sum(len(wrong) for _, wrong in guessed)
        ),
        "mask_iou": _mean([picture.mask_iou for picture in pictures]),
        "mask_iou_box": _mean([picture.box_iou for picture in pictures]),
        "false_per_empty": _mean([float(len(picture.found)) for picture in empty]),
        "false_per_empty_box": float(bool(empty)) if empty else float("nan"),
    }


def _mean_box(pictures: Sequence[Judged]) -> np.ndarray:
    """The mean of the true boxes, in heights of the picture."""
    boxes = [p.people[i].box / p.height for p in pictures for i in p.counted]
    return np.mean(boxes, axis=0) if boxes else np.zeros(4)


class _Matched:
    """Everybody who counts and has labelled joints, and what was said about them."""

    def __init__(self, pictures: Sequence[Judged]) -> None:
        rows: list[tuple[Person, np.ndarray | None, float]] = []
        for picture in pictures:
            found = dict(picture.hits)
            for i in picture.counted:
                body = picture.found[found[i]].keypoints[:, :2] if i in found else None
                rows.append(
                    (picture.people[i], body, longer_side(picture.people[i].box) / picture.height)
                )
        joints = len(Joint)
        self.people = [person for person, _, _ in rows]
        self.size = np.array([size for _, _, size in rows])
        self.found = np.array([body is not None for _, body, _ in rows], bool)
        self.truth = np.array([p.joints for p in self.people], float).reshape(-1, joints, 2)
        self.labelled = np.array([p.labelled for p in self.people], bool).reshape(-1, joints)
        nowhere = np.full((joints, 2), np.inf)
        said = [nowhere if body is None else body for _, body, _ in rows]
        self.said = np.nan_to_num(np.array(said, float), nan=np.inf, posinf=np.inf).reshape(
            -1, joints, 2
        )

    def errors(self, said: np.ndarray) -> np.ndarray:
        """Distances in box sides, [n k]; infinite where nothing was found."""
        with np.errstate(invalid="ignore"):
            return metrics.normalised_errors(said, self.truth, self.labelled)


def _skeletons(pictures: Sequence[Judged]) -> Scores:
    all_ = _Matched(pictures)
    errors = all_.errors(all_.said)
    mean_pose = mean_pose_in_boxes(all_.people)
    guessed = all_.errors(mean_pose)
    mirrored = all_.errors(all_.said[:, list(TWINS)])
    found = all_.found
    row = {
        "pck10": metrics.pck(errors[found], 0.1),
        "pck10_mean": metrics.pck(guessed[found], 0.1),
        "pck05": metrics.pck(errors[found], 0.05),
        "pck05_mean": metrics.pck(guessed[found], 0.05),
        "pck10_all": metrics.pck(errors, 0.1),
        "pck10_all_mean": metrics.pck(guessed, 0.1),
        "swapped": _mean(metrics.swapped(errors, mirrored)[found]),
        **_swaps(all_),
        **_precision(pictures, mean_pose),
    }
    for limb, joints in metrics.LIMBS.items():
        row[f"pck10_{limb}"] = metrics.pck(errors[found][:, list(joints)], 0.1)
        row[f"pck10_mean_{limb}"] = metrics.pck(guessed[found][:, list(joints)], 0.1)
    for name, (low, high) in SIZES.items():
        band = (all_.size >= low) & (all_.size < high)
        row[f"people_{name}"] = float(band.sum())
        row[f"recall_{name}"] = _mean(found[band])
        row[f"pck10_{name}"] = metrics.pck(errors[found & band], 0.1)
        row[f"pck10_mean_{name}"] = metrics.pck(guessed[found & band], 0.1)
    return row


def _swaps(matched: _Matched) -> Scores:
    """Pairs of joints that fit better when left and right are exchanged.

    The baseline takes everybody to face the camera: the left is on the picture's right.
    """
    found = matched.found
    said, truth = matched.said[found], matched.truth[found]
    labelled = matched.labelled[found]
    exchanged, decidable = metrics.exchanged_pairs(said, truth, labelled)
    facing = truth.copy()
    for left, right in metrics.PAIRS:
        order = truth[:, left, 0] >= truth[:, right, 0]
        facing[:, left] = np.where(order[:, None], truth[:, left], truth[:, right])
        facing[:, right] = np.where(order[:, None], truth[:, right], truth[:, left])
    guessed, _ = metrics.exchanged_pairs(facing, truth, labelled)
    return {
        "swapped_pairs": _ratio(float((exchanged & decidable).sum()), float(decidable.sum())),
        "swapped_pairs_facing": _ratio(float((guessed & decidable).sum()), float(decidable.sum())),
    }


def _precision(pictures: Sequence[Judged], mean_pose: np.ndarray) -> Scores:
    """OKS-AP, and that of the mean pose put into every true box."""
    ranked = [picture.ranked() for picture in pictures]
    guesses = iter(mean_pose)
    guessed = []
    for picture in pictures:
        people = [picture.people[i] for i in picture.counted]
        poses = [next(guesses) for _ in people]
        alike = [
            [similarity(pose[:COCO], p.joints[:COCO], p.labelled[:COCO], p.area) for p in people]
            for pose in poses
        ]
        counts = np.array([bool(p.labelled[:COCO].any()) for p in people], bool)
        shape = (len(people), len(people))
        matrix = np.nan_to_num(np.array(alike, float).reshape(shape))
        keep = np.flatnonzero(counts)
        guessed.append(Ranked(np.ones(len(keep)), matrix[np.ix_(keep, keep)], counts[keep]))
    half = np.array([0.5])
    return {
        "oks_ap": average_precision(ranked),
        "oks_ap_mean": average_precision(guessed),
        "oks_ap50": average_precision(ranked, half),
        "oks_ap50_mean": average_precision(guessed, half),
    }


def mean_pose_in_boxes(people: Sequence[Person]) -> np.ndarray:
    """The mean pose of these very people put into the box of each, [n k 2].

    No baseline that can be had in the field is as strong: it is given every box.
    """
    if not people:
        return np.zeros((0, len(Joint), 2))
    boxes = np.array([person.box for person in people])
    low, side = boxes[:, None, :2], np.maximum(boxes[:, None, 2:] - boxes[:, None, :2], 1e-6)
    labelled = np.array([person.labelled for person in people])
    inside = np.where(labelled[..., None], (np.array([p.joints for p in people]) - low) / side, 0)
    count = labelled.sum(0)[:, None]
    pose = np.where(count > 0, inside.sum(0) / np.maximum(count, 1), 0.5)
    mirrored = pose[list(TWINS)] * [-1, 1] + [1, 0]
    found: np.ndarray = low + (pose + mirrored) / 2 * side
    return found


def _metric(pictures: Sequence[Judged]) -> Scores:
    """Depth of people's pixels, and the distance of the pelvis where it was claimed."""
    reliefs = [relief for picture in pictures for relief in picture.reliefs]
    row = {
        f"depth_{name}": _mean([getattr(relief, name) for relief in reliefs])
        for name in (
            "abs_rel", "rmse_m", "near", "metric_abs_rel", "flat_abs_rel", "flat_rmse_m",
            "flat_near",
        )
    }  # fmt: skip
    roots = [
        (picture.found[j].root_m, truth)
        for picture in pictures
        for i, j in picture.hits
        if (truth := picture.people[i].root_m) is not None
    ]
    said = np.array([root for root, _ in roots], float).reshape(-1, 3)
    truth = np.array([root for _, root in roots], float).reshape(-1, 3)
    here = (np.isfinite(said) & np.isfinite(truth)).all(1) & (truth[:, 2] > 0)
    said, truth = said[here], truth[here]
    usual = np.median(truth[:, 2]) if len(truth) else np.nan
    ahead = truth[:, :1] * 0 + usual  # in the right direction, as far off as usual
    guess = truth * ahead / truth[:, 2:]
    return row | {
        "root_m": _mean(np.linalg.norm(said - truth, axis=1)),
        "root_m_usual": _mean(np.linalg.norm(guess - truth, axis=1)),
        "root_z": _mean(np.abs(said[:, 2] - truth[:, 2]) / truth[:, 2]),
        "root_z_usual": _mean(np.abs(usual - truth[:, 2]) / truth[:, 2]),
    }


def _names(pictures: Sequence[Judged]) -> Scores:
    """Identity switches: found in two frames running, under another name in the second."""

    def by_id(picture: Judged) -> list[object]:
        return [body.id for body in picture.found]

    def by_place(picture: Judged) -> list[object]:
        """Counted from left to right: what needs no tracker."""
        centres = [float(body.box[0] + body.box[2]) for body in picture.found]
        return list(np.argsort(np.argsort(centres)))

    followed, switched = _switches(pictures, by_id)
    return {
        "followed": float(followed),
        "switches": _ratio(switched, followed),
        "switches_by_place": _ratio(_switches(pictures, by_place)[1], followed),
    }


def _switches(
    pictures: Sequence[Judged], names_of: Callable[[Judged], list[object]]
) -> tuple[int, int]:
    followed = switched = 0
    for before, after in pairwise(pictures):
        if before.clip != after.clip:
            continue
        old, new = names_of(before), names_of(after)
        named = {before.people[i].name: old[j] for i, j in before.hits}
        for i, j in after.hits:
            if (name := after.people[i].name) in named:
                followed += 1
                switched += named[name] != new[j]
    return followed, switched
