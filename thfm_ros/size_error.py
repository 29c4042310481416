# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The error of a body's size, which one image does not show, and what it does to positions."""

import numpy as np
from jaxtyping import Float, Float64

SIZE_SIGMA = 0.12
"""Relative standard deviation of the size that the network gives to a body, hence of its distance;
of 6 rendered walks (`python scripts/evaluate_walks.py`)."""


def size_covariance(offset_m: Float[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Covariance of a body's position by the error of its size.

    It moves all of the body along the line of sight: one image does not tell a tall person far
    away from a small one nearby.

    Args:
        offset_m: from the camera to the body.
    """
    offset = np.asarray(offset_m, np.float64)
    return SIZE_SIGMA**2 * np.outer(offset, offset)
