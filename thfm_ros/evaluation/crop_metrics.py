# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Crop metrics for groups of people: by their size in the crop and by their body orientation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.crops import CropLabels, CropPredictions, CropScores, crop_scores
from thfm_ros.skeleton import Joint

SIZES: dict[str, tuple[float, float]] = {
    "under a half": (0.0, 0.5),
    "a half to three quarters": (0.5, 0.75),
    "over three quarters": (0.75, np.inf),
}
"""Ranges of the longer side of the target, in sides of the crop."""

UP = (0.0, -1.0, 0.0)
BODY_ORIENTATIONS: dict[str, tuple[float, float]] = {
    "upright": (0.0, 45.0),
    "leaning or lying": (45.0, 135.0),
    "upside down": (135.0, np.inf),
}
"""Ranges of the angle between the trunk, hips to shoulders, and the image's up, degrees."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Metrics of one group of people."""

    people: int
    scores: CropScores | None  # None without people


def scores_by_size(predicted: CropPredictions, truth: CropLabels) -> dict[str, GroupScores]:
    """All crop metrics for each of SIZES."""
    return _by_range(predicted, truth, target_sizes(truth.instances), SIZES)


def scores_by_body_orientation(
    predicted: CropPredictions, truth: CropLabels
) -> dict[str, GroupScores]:
    """All crop metrics for each of BODY_ORIENTATIONS."""
    return _by_range(predicted, truth, trunk_angles(truth.positions_m), BODY_ORIENTATIONS)


def _by_range(
    predicted: CropPredictions,
    truth: CropLabels,
    values: np.ndarray,
    ranges: dict[str, tuple[float, float]],
) -> dict[str, GroupScores]:
    found = {}
    for name, (low, high) in ranges.items():
        chosen = (values >= low) & (values < high)
        scores = None
        if chosen.any():
            scores = crop_scores(
                CropPredictions(*(array[chosen] for array in predicted)),
                CropLabels(*(array[chosen] for array in truth)),
            )
        found[name] = GroupScores(int(chosen.sum()), scores)
    return found


def trunk_angles(positions_m: Float[np.ndarray, "n k 3"]) -> np.ndarray:
    """Angle between the trunk and the image's up, degrees, [n]; positions relative to the hips."""
    trunk = positions_m[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]].mean(1)
    return metrics.angles_deg(trunk, np.broadcast_to(UP, trunk.shape))


def target_sizes(instances: UInt8[np.ndarray, "n h w"]) -> np.ndarray:
    """Longer side of the box of the target (instance 1), in sides of the crop, [n]."""
    target = instances == 1

    def extent(there: np.ndarray) -> np.ndarray:
        length = there.shape[1]
        first, last = there.argmax(1), length - there[:, ::-1].argmax(1)
        found: np.ndarray = np.where(there.any(1), last - first, 0) / length
        return found

    found: np.ndarray = np.maximum(extent(target.any(2)), extent(target.any(1)))
    return found
