# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The size of a tracked person, which does not change from image to image.

The distance of a person follows from their size in the image and the estimated size of their
body. If that is 3 % larger than usual in one image, so is the distance: most of the error of the
distance that changes with the gait is seen in the lengths of the bones.
"""

import numpy as np
from jaxtyping import Float

from thfm_ros.skeleton import Joint

_SEGMENTS = np.array(
    [
        (Joint.LEFT_SHOULDER, Joint.LEFT_HIP),
        (Joint.RIGHT_SHOULDER, Joint.RIGHT_HIP),
        (Joint.LEFT_HIP, Joint.LEFT_KNEE),
        (Joint.RIGHT_HIP, Joint.RIGHT_KNEE),
        (Joint.LEFT_KNEE, Joint.LEFT_ANKLE),
        (Joint.RIGHT_KNEE, Joint.RIGHT_ANKLE),
        (Joint.NECK, Joint.PELVIS),
        (Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW),
        (Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW),
        (Joint.HEAD, Joint.PELVIS),
    ]
)
_MIN_GAIN = 0.02  # weight of a new length in the mean: it forgets after 50 images


class SizeReference:
    """The mean lengths of the long segments of one person's body."""

    def __init__(self) -> None:
        self._mean = np.full(len(_SEGMENTS), np.nan)  # of the logarithm of the length
        self._count = np.zeros(len(_SEGMENTS), int)

    def relative_size(self, positions_m: Float[np.ndarray, "k 3"]) -> float:
        """Size of the body in this image relative to its mean up to now; 1 if it is unknown.

        Args:
            positions_m: joints in the order of skeleton.Joint, metres; NaN if unknown. The
                lengths of the known ones are added to the mean.
        """
        if len(positions_m) != len(Joint):
            return 1.0
        ends = positions_m[_SEGMENTS].astype(np.float64)
        length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        known = np.isfinite(length) & (length > 1e-3)
        if not known.any():
            return 1.0
        logarithm = np.log(length[known])
        self._count[known] += 1
        gain = np.maximum(1 / self._count[known], _MIN_GAIN)
        mean = np.where(self._count[known] == 1, logarithm, self._mean[known])
        self._mean[known] = mean + gain * (logarithm - mean)
        return float(np.exp(np.median(logarithm - self._mean[known])))
