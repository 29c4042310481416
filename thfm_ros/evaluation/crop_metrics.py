"""Held-out crops in parts: by limb, by the size and the attitude of the person, and dense pose.

The network alone, on crops that show the person as the pipeline would cut them.
"""

from dataclasses import fields

import numpy as np
import torch

from thfm_ros.metrics import pose as metrics
from thfm_ros.skeleton import PART_NAMES, Joint
from thfm_ros.training.losses import Batch
from thfm_ros.training.validation import baselines, scores_of

Scores = dict[str, float]
Predicted = dict[str, np.ndarray]

SIZES: dict[str, tuple[float, float]] = {
    "under a half": (0.0, 0.5),
    "a half to three quarters": (0.5, 0.75),
    "over three quarters": (0.75, np.inf),
}
"""Bands of the longer side of the target, in sides of the crop."""

UP = (0.0, -1.0, 0.0)
ATTITUDES: dict[str, tuple[float, float]] = {
    "upright": (0.0, 45.0),
    "leaning or lying": (45.0, 135.0),
    "upside down": (135.0, np.inf),
}
"""Bands of the angle between the trunk, hips to shoulders, and the image's up, degrees."""

PARTS_OF_LIMB: dict[str, tuple[str, ...]] = {
    "head": ("head", "hair"),
    "shoulders": ("torso",),
    "elbows": ("left_upper_arm", "right_upper_arm"),
    "wrists": ("left_lower_arm", "right_lower_arm"),
    "knees": ("left_upper_leg", "right_upper_leg"),
    "ankles": ("left_lower_leg", "right_lower_leg"),
    "feet": ("left_foot", "right_foot"),
}
"""The parts that end in the joints of a limb, for the IoU beside the limb's joints."""


def joined(batches: list[Batch], name: str) -> np.ndarray:
    """A label of all batches."""
    return np.concatenate([getattr(batch, name).numpy() for batch in batches])


def by_limb(predicted: Predicted, batches: list[Batch]) -> Scores:
    """MPJPE, PA-MPJPE and part IoU of each limb, beside the mean pose and "all torso"."""
    here = joined(batches, "presence") > 0
    truth = joined(batches, "positions")[here]
    said = predicted["positions"][here]
    mean_pose = np.broadcast_to(truth.mean(0), truth.shape)
    parts = joined(batches, "parts")
    labels = np.where(predicted["mask"], predicted["parts"], 0).astype(np.uint8)
    iou = metrics.part_iou(labels, parts, len(PART_NAMES))
    torso = np.full(parts.shape, PART_NAMES.index("torso"), np.uint8)
    torso[joined(batches, "instances") == 0] = 0
    trivial = metrics.part_iou(torso, parts, len(PART_NAMES))
    mean_shape = np.broadcast_to(metrics.mean_shape(truth), truth.shape)
    apart = {
        "mpjpe_mm": np.linalg.norm(said - truth, axis=-1),
        "mpjpe_mm_mean_pose": np.linalg.norm(mean_pose - truth, axis=-1),
        "pa_mpjpe_mm": metrics.aligned_errors(said, truth),
        "pa_mpjpe_mm_mean_shape": metrics.aligned_errors(mean_shape, truth),
    }
    row: Scores = {}
    for limb, joints in metrics.LIMBS.items():
        for name, errors in apart.items():
            row[f"{name}_{limb}"] = 1000 * float(errors[:, list(joints)].mean())
    for limb, names in PARTS_OF_LIMB.items():
        numbers = [PART_NAMES.index(name) - 1 for name in names]
        row[f"part_iou_{limb}"] = _mean(iou[numbers])
        row[f"part_iou_torso_{limb}"] = _mean(trivial[numbers])
    return row


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def by_size(predicted: Predicted, batches: list[Batch]) -> Scores:
    """All figures of scoring.py again, for people of each size."""
    return _by_band(predicted, batches, target_sizes(joined(batches, "instances")), SIZES)


def by_attitude(predicted: Predicted, batches: list[Batch]) -> Scores:
    """All figures of scoring.py again, for people who stand, lie, and are upside down."""
    return _by_band(predicted, batches, trunk_angles(joined(batches, "positions")), ATTITUDES)


def trunk_angles(positions: np.ndarray) -> np.ndarray:
    """Angle between the trunk and the image's up, degrees [n]; positions from the hips."""
    trunk = positions[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]].mean(1)
    return metrics.angles_deg(trunk, np.broadcast_to(UP, trunk.shape))


def _by_band(
    predicted: Predicted,
    batches: list[Batch],
    values: np.ndarray,
    bands: dict[str, tuple[float, float]],
) -> Scores:
    row: Scores = {}
    for name, (low, high) in bands.items():
        band = (values >= low) & (values < high)
        row[f"people_{name}"] = float(band.sum())
        if not band.any():
            continue
        some = [_chosen(batches, band)]
        said = {key: each[band] for key, each in predicted.items()}
        scores = scores_of(said, some) | baselines(some)
        row |= {f"{key}_{name}": value for key, value in scores.items()}
    return row


def target_sizes(instances: np.ndarray) -> np.ndarray:
    """The longer side of person number one in sides of the crop, [n]."""
    mine = instances == 1

    def extent(there: np.ndarray) -> np.ndarray:
        length = there.shape[1]
        first, last = there.argmax(1), length - there[:, ::-1].argmax(1)
        found: np.ndarray = np.where(there.any(1), last - first, 0) / length
        return found

    found: np.ndarray = np.maximum(extent(mine.any(2)), extent(mine.any(1)))
    return found


def _chosen(batches: list[Batch], band: np.ndarray) -> Batch:
    """One batch of the chosen rows; clips are of one frame."""
    names = (field.name for field in fields(Batch))
    return Batch(**{name: torch.from_numpy(joined(batches, name)[band]) for name in names})


def dense_pose(predicted: Predicted, batches: list[Batch]) -> Scores:
    """How far off the places on the body's surface are, on the pixels of people.

    The baseline says of every pixel the middle of its true part: no network would know that.
    """
    person = joined(batches, "instances") > 0
    parts = joined(batches, "parts")[person]
    said, truth = predicted["surface"][person], joined(batches, "surface")[person]
    middle = np.zeros_like(truth)
    for part in np.unique(parts):
        middle[parts == part] = truth[parts == part].mean(0)
    found = np.where(predicted["mask"], predicted["parts"], 0)[person]
    return {
        "surface_part_right": float((found == parts).mean()),
        "surface_part_right_torso": float((parts == PART_NAMES.index("torso")).mean()),
        "surface_turn_deg": float(_turn(said, truth).mean()),
        "surface_turn_deg_middle": float(_turn(middle, truth).mean()),
        "surface_along": float(np.abs(said[:, 2] - truth[:, 2]).mean()),
        "surface_along_middle": float(np.abs(middle[:, 2] - truth[:, 2]).mean()),
        "surface_near_middle": float(
            ((_turn(middle, truth) < 45) & (np.abs(middle[:, 2] - truth[:, 2]) < 0.1)).mean()
        ),
    }


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between places round the limb, degrees."""
    round_only = np.array([1, 1, 0])
    return metrics.angles_deg(a * round_only, b * round_only)
