"""Figures of whole images, from the verdicts on each: finding people, and how well they are
seen. Every figure stands beside a trivial baseline; both are plain numbers by name.
"""

from collections.abc import Sequence

import numpy as np

from thfm_ros.evaluation.baselines import mean, median_pose, put_into
from thfm_ros.evaluation.matching import COCO, ImageMatches, Person, match
from thfm_ros.evaluation.tracking_metrics import over_time
from thfm_ros.geometry import longer_side
from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.oks import Ranked, average_precision, similarity
from thfm_ros.skeleton import FLIP_PAIRS, Joint

Scores = dict[str, float]

SIZES: dict[str, tuple[float, float]] = {
    "under a quarter": (0.0, 0.25),
    "a quarter to a half": (0.25, 0.5),
    "over a half": (0.5, np.inf),
}
"""Bands of the longer side of a person, in heights of the image."""

VIEWS: dict[str, tuple[float, float]] = {
    "front": (0.05, np.inf),
    "side, or half hidden": (-0.05, 0.05),
    "back": (-np.inf, -0.05),
}
"""Bands of `metrics.facing`; who is seen from the side hides a shoulder and a hip."""


def scores_of(images: Sequence[ImageMatches]) -> Scores:
    """All figures; NaN where nothing could be measured."""
    row = {
        "images": float(len(images)),
        "people": float(sum(len(image.counted) for image in images)),
        "empty": float(sum(not image.people for image in images)),
    }
    return row | _finding(images) | _skeletons(images) | _metric(images) | over_time(images)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _finding(images: Sequence[ImageMatches]) -> Scores:
    people = sum(len(image.counted) for image in images)
    hits = sum(len(image.hits) for image in images)
    wrong = sum(len(image.wrong) for image in images)
    empty = [image for image in images if not image.people]
    guess = _mean_box(images)
    guessed = [match(p.people, [guess * p.height]) for p in images]
    guessed_hits = sum(
        sum(image.people[i].counts for i, _ in pairs)
        for image, (pairs, _) in zip(images, guessed, strict=True)
    )
    return {
        # Who was found and need not have been does not make the number wrong.
        "right_number": mean([len(p.hits) + len(p.wrong) == len(p.counted) for p in images]),
        "right_number_one": mean([len(p.counted) == 1 for p in images]),
        "recall": _ratio(hits, people),
        "recall_box": _ratio(guessed_hits, people),
        "precision": _ratio(hits, hits + wrong),
        "precision_box": _ratio(
            guessed_hits, guessed_hits + sum(len(wrong) for _, wrong in guessed)
        ),
        "mask_iou": mean([image.mask_iou for image in images]),
        "mask_iou_box": mean([image.box_iou for image in images]),
        "false_per_empty": mean([float(len(image.found)) for image in empty]),
        "false_per_empty_box": float(bool(empty)) if empty else float("nan"),
    }


def _mean_box(images: Sequence[ImageMatches]) -> np.ndarray:
    """The mean of the true boxes, in heights of the image."""
    boxes = [p.people[i].box / p.height for p in images for i in p.counted]
    return np.mean(boxes, axis=0) if boxes else np.zeros(4)


class _Matched:
    """Everybody who counts and has labelled joints, and what was said about them."""

    def __init__(self, images: Sequence[ImageMatches]) -> None:
        rows: list[tuple[Person, np.ndarray | None, float]] = []
        for image in images:
            found = dict(image.hits)
            for i in image.counted:
                body = image.found[found[i]].keypoints[:, :2] if i in found else None
                rows.append(
                    (image.people[i], body, longer_side(image.people[i].box) / image.height)
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


def _skeletons(images: Sequence[ImageMatches]) -> Scores:
    all_ = _Matched(images)
    errors = all_.errors(all_.said)
    boxes = np.array([person.box for person in all_.people], float).reshape(-1, 4)
    poses = put_into(boxes, median_pose(all_.people))
    guessed = all_.errors(poses)
    mirrored = all_.errors(all_.said[:, list(FLIP_PAIRS)])
    found = all_.found
    row = {
        "pck10": metrics.pck(errors[found], 0.1),
        "pck10_mean": metrics.pck(guessed[found], 0.1),
        "pck05": metrics.pck(errors[found], 0.05),
        "pck05_mean": metrics.pck(guessed[found], 0.05),
        "pck10_all": metrics.pck(errors, 0.1),
        "pck10_all_mean": metrics.pck(guessed, 0.1),
        "swapped": mean(metrics.swapped(errors, mirrored)[found]),
        **_swaps(all_),
        **_precision(images, poses),
    }
    for limb, joints in metrics.LIMBS.items():
        row[f"pck10_{limb}"] = metrics.pck(errors[found][:, list(joints)], 0.1)
        row[f"pck10_mean_{limb}"] = metrics.pck(guessed[found][:, list(joints)], 0.1)
    for name, (low, high) in SIZES.items():
        band = (all_.size >= low) & (all_.size < high)
        row[f"people_{name}"] = float(band.sum())
        row[f"recall_{name}"] = mean(found[band])
        row[f"pck10_{name}"] = metrics.pck(errors[found & band], 0.1)
        row[f"pck10_mean_{name}"] = metrics.pck(guessed[found & band], 0.1)
    return row


def _swaps(matched: _Matched) -> Scores:
    """Pairs of joints that fit better when left and right are exchanged, by view too.

    The baseline takes everybody to face the camera.
    """
    found = matched.found
    said, truth = matched.said[found], matched.truth[found]
    labelled = matched.labelled[found]
    exchanged, decidable = metrics.exchanged_pairs(said, truth, labelled)
    facing = metrics.as_if_facing(truth, labelled)
    guessed, _ = metrics.exchanged_pairs(facing, truth, labelled)
    straight = metrics.normalised_errors(facing, truth, labelled)
    crossed = metrics.normalised_errors(facing[:, list(FLIP_PAIRS)], truth, labelled)
    errors = metrics.normalised_errors(said, truth, labelled)
    turned = np.nan_to_num(metrics.facing(truth, labelled))

    def share(swaps: np.ndarray, of: np.ndarray) -> float:
        known = decidable[of]
        return _ratio(float((swaps[of] & known).sum()), float(known.sum()))

    everybody = np.ones(len(truth), bool)
    row = {
        "swapped_pairs": share(exchanged, everybody),
        "swapped_pairs_facing": share(guessed, everybody),
        "swapped_facing": mean(metrics.swapped(straight, crossed)),
    }
    for name, (low, high) in VIEWS.items():
        view = (turned >= low) & (turned < high)
        row[f"people_{name}"] = float(view.sum())
        row[f"swapped_pairs_{name}"] = share(exchanged, view)
        row[f"swapped_pairs_facing_{name}"] = share(guessed, view)
        row[f"pck10_{name}"] = metrics.pck(errors[view], 0.1)
    return row


def _precision(images: Sequence[ImageMatches], trivial: np.ndarray) -> Scores:
    """OKS-AP, and that of the mean pose put into every true box."""
    ranked = [image.ranked() for image in images]
    guesses = iter(trivial)
    guessed = []
    for image in images:
        people = [image.people[i] for i in image.counted]
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


def _metric(images: Sequence[ImageMatches]) -> Scores:
    """Depth of people's pixels, and the distance of the pelvis where it was claimed."""
    reliefs = [relief for image in images for relief in image.reliefs]
    row = {
        f"depth_{name}": mean([getattr(relief, name) for relief in reliefs])
        for name in (
            "abs_rel", "rmse_m", "near", "metric_abs_rel", "guess_abs_rel", "flat_abs_rel",
            "flat_rmse_m", "flat_near",
        )
    }  # fmt: skip
    roots = [
        (image.found[j].root_m, truth, person.far_m(image.found[j].box.astype(float)))
        for image in images
        for i, j in image.hits
        if (truth := (person := image.people[i]).root_m) is not None
    ]
    said = np.array([root for root, _, _ in roots], float).reshape(-1, 3)
    truth = np.array([root for _, root, _ in roots], float).reshape(-1, 3)
    guess_z = np.array([far_m for _, _, far_m in roots], float)
    here = (np.isfinite(said) & np.isfinite(truth)).all(1) & (truth[:, 2] > 0)
    said, truth, guess_z = said[here], truth[here], guess_z[here]
    guess = truth * (guess_z / truth[:, 2])[:, None]  # in the right direction
    return row | {
        "root_m": mean(np.linalg.norm(said - truth, axis=1)),
        "root_m_guess": mean(np.linalg.norm(guess - truth, axis=1)),
        "root_z": mean(np.abs(said[:, 2] - truth[:, 2]) / truth[:, 2]),
        "root_z_guess": mean(np.abs(guess_z - truth[:, 2]) / truth[:, 2]),
    }
