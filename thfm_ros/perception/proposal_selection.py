# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which proposals are worth a crop: people who are large enough, and have none yet."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float32

from thfm_ros.geometry import intersection_over_min_area, iou, longer_side
from thfm_ros.perception.decoding import Proposal

_SAME_IOU = 0.5
_SAME_OVERLAP = 0.85
"""Of the smaller area. People who embrace or stand behind each other overlap less."""


def select_proposals(
    proposals: Iterable[Proposal], known: Sequence[Float32[np.ndarray, "4"]], min_side_px: float
) -> list[Proposal]:
    """The proposals of further people, the likeliest first.

    Args:
        proposals: of a detection pass and of the crops of tracked people, in any order.
        known: boxes of tracked people and of rejected proposals, source pixels.
        min_side_px: people with a shorter longer side are ignored, source pixels.
    """
    occupied = list(known)
    selected: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda each: -each.score):
        is_large = longer_side(proposal.box) >= min_side_px
        if is_large and not _is_known(proposal.box, occupied):
            selected.append(proposal)
            occupied.append(proposal.box)
    return selected


def _is_known(box: Float32[np.ndarray, "4"], known: Sequence[Float32[np.ndarray, "4"]]) -> bool:
    """Whether the rough box of a proposal is probably the person of one of the known boxes."""
    return any(
        iou(box, each) > _SAME_IOU or intersection_over_min_area(box, each) > _SAME_OVERLAP
        for each in known
    )
