# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Boxes as another detector gives them."""

import numpy as np

from thfm_ros.perception.external_boxes import ExternalBox


def as_box(corners: np.ndarray, score: float = 0.9) -> ExternalBox:
    """An upright box of a person from x_min, y_min, x_max, y_max."""
    (x, y), (width, height) = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    return ExternalBox(x, y, width, height, 0, (("person", score),))
