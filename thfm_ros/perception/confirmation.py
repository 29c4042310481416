# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How probable it is that a proposal is a person, given what its crop shows."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from thfm_ros.perception.decoding import Detection, Proposal

LEAST = 0.02
"""Probabilities are limited to LEAST and 1 - LEAST, so that none decides alone."""


class Evidence(NamedTuple):
    """What speaks for a person, each from 0 to 1."""

    centre: float  # score of the proposal: of the detection read-out, or of a neighbour's mask
    presence: float  # of the target, in the crop
    keypoints: float  # mean confidence, see decoding.mean_keypoint_confidence
    mask: float  # mean probability of "any person" inside the target's mask; 0.5: not computed


WEIGHTS = Evidence(centre=1.64, presence=0.62, keypoints=0.72, mask=0.40)
"""Of the evidence's log-odds. Fitted by `python -m thfm_ros.evaluation.confirmation_fit`."""

BIAS = -2.03


def evidence_for(proposal: Proposal, detection: Detection) -> Evidence:
    """Evidence for the person of ``proposal``, whose crop shows ``detection``."""
    mask = 0.5
    if detection.mask is not None and detection.target is not None:
        mask = float(detection.mask[detection.target].mean())
    return Evidence(proposal.score, detection.presence, detection.keypoint_confidence, mask)


def log_odds(evidence: Evidence) -> Float[np.ndarray, "4"]:
    """ln(p / (1 - p)) of each evidence."""
    p = np.clip(np.array(evidence), LEAST, 1 - LEAST)
    return np.asarray(np.log(p / (1 - p)))


def person_probability(evidence: Evidence) -> float:
    """The probability that there is a person, who is in the box of the crop's detection."""
    return 1 / (1 + math.exp(-float(log_odds(evidence) @ np.array(WEIGHTS)) - BIAS))
