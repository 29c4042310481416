# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One metric as a report shows it: the value, and what a trivial baseline reaches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
    """A metric and the same metric of a trivial baseline on the same data.

    NaN stands for "not measured": there was nothing to measure on, or there is no baseline.
    """

    value: float
    baseline: float = float("nan")


def mean_known(values: Sequence[float] | np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


def ratio(part: float, whole: float) -> float:
    """``part / whole``; NaN if ``whole`` is 0."""
    return part / whole if whole else float("nan")
