# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The probability that a proposal is a person."""

import numpy as np
import pytest
from a_detection import a_detection
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception.confirmation import Evidence, evidence_for, log_odds, person_probability
from thfm_ros.perception.decoding import Proposal

probabilities = st.floats(0.0, 1.0)


@given(st.builds(Evidence, probabilities, probabilities, probabilities, probabilities))
def test_it_is_a_probability_that_grows_with_each_evidence(evidence: Evidence) -> None:
    before = person_probability(evidence)
    assert 0 < before < 1
    for name in Evidence._fields:
        assert person_probability(evidence._replace(**{name: 1.0})) >= before
        assert person_probability(evidence._replace(**{name: 0.0})) <= before


def test_no_evidence_alone_is_certain_or_decides() -> None:
    assert np.isfinite(log_odds(Evidence(0.0, 1.0, 0.5, 1.0))).all()
    for name in Evidence._fields:
        one = Evidence(*[0.01] * 4)._replace(**{name: 1.0})
        all_but_one = Evidence(*[0.99] * 4)._replace(**{name: 0.0})
        assert person_probability(one) < 0.5 < person_probability(Evidence(*[0.99] * 4))
        assert person_probability(all_but_one) < person_probability(Evidence(*[0.99] * 4))


def test_the_evidence_is_that_of_the_crop_and_the_proposal() -> None:
    found = a_detection(dense=True)
    evidence = evidence_for(Proposal(found.body.box, 0.4), found)
    assert evidence.centre == 0.4
    assert evidence.presence == found.presence
    assert evidence.keypoints == found.keypoint_confidence
    assert found.mask is not None and found.target is not None
    assert evidence.mask == pytest.approx(found.mask[found.target].mean())
    product = found.presence * found.keypoint_confidence
    assert found.body.score == pytest.approx(product**0.5)


def test_without_maps_the_mask_says_nothing() -> None:
    found = a_detection(dense=False)
    evidence = evidence_for(Proposal(found.body.box, 0.4), found)
    assert log_odds(evidence)[Evidence._fields.index("mask")] == 0
