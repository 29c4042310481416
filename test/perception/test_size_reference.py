# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How much larger a body is estimated than in the images before."""

import numpy as np
import pytest
from perceived import a_body

from thfm_ros.perception.size_reference import SizeReference
from thfm_ros.skeleton import Joint

POSITIONS = a_body().positions_m.astype(float)


def test_a_body_that_is_estimated_too_large_is_noticed() -> None:
    reference = SizeReference()
    for _ in range(30):
        assert reference.relative_size(POSITIONS) == pytest.approx(1)
    assert reference.relative_size(POSITIONS * 1.05) == pytest.approx(1.05, abs=0.003)
    assert reference.relative_size(POSITIONS) == pytest.approx(1, abs=0.003)


def test_another_place_and_a_turned_body_are_no_other_size() -> None:
    reference = SizeReference()
    reference.relative_size(POSITIONS)
    turned = POSITIONS[:, [2, 1, 0]] + [5.0, 0, 2.0]
    assert reference.relative_size(turned) == pytest.approx(1)


def test_a_single_wrong_limb_has_no_effect() -> None:
    reference = SizeReference()
    reference.relative_size(POSITIONS)
    wrong = POSITIONS.copy()
    wrong[Joint.LEFT_ANKLE] += [0.5, 0, 0]
    assert reference.relative_size(wrong) == pytest.approx(1)


def test_unknown_joints_are_ignored_and_without_any_the_size_is_1() -> None:
    reference = SizeReference()
    hidden = POSITIONS.copy()
    hidden[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE, Joint.HEAD]] = np.nan
    for positions in (hidden, POSITIONS, hidden):
        assert reference.relative_size(positions) == pytest.approx(1)
    assert reference.relative_size(np.full_like(POSITIONS, np.nan)) == 1
    assert reference.relative_size(POSITIONS[:3]) == 1
