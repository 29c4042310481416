# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Target cues of training samples: whom they point at, and with what errors."""

import numpy as np
import pytest

from thfm_ros.training import target_cues
from thfm_ros.training.target_cues import NO_CUE, CueChoice, cue_input, draw_cue, mask_box

TARGET = np.array([0.1, 0.5, 0.25, 0.9])


def two_people() -> np.ndarray:
    """Target and another person in a map of 40 x 40 cells."""
    instances = np.zeros((40, 40), np.uint8)
    instances[20:36, 4:10] = 1
    instances[20:36, 30:36] = 3
    return instances


def drawn(count: int = 4000) -> list[CueChoice]:
    rng = np.random.default_rng(0)
    return [draw_cue(rng, two_people()) for _ in range(count)]


def test_shares_of_choices_are_as_stated() -> None:
    choices = drawn()
    given = [each for each in choices if each.given]
    assert len(given) / len(choices) == pytest.approx(1 - target_cues.NO_CUE_SHARE, abs=0.03)
    of_others = np.mean([each.target == 3 for each in given])
    without = np.mean([each.target == 0 for each in given])
    assert of_others == pytest.approx(target_cues.RETARGET_SHARE, abs=0.03)
    assert without == pytest.approx(target_cues.EMPTY_CUE_SHARE, abs=0.02)
    assert {each.target for each in choices} == {0, 1, 3}


def test_people_with_few_visible_cells_do_not_become_targets() -> None:
    instances = two_people()
    instances[instances == 3] = 0
    instances[20:26, 30:36] = 3  # 36 cells
    rng = np.random.default_rng(0)
    assert {draw_cue(rng, instances).target for _ in range(500)} == {0, 1}


def test_a_cue_for_no_person_points_at_a_place_without_people() -> None:
    for choice in drawn():
        if choice.target == 0:
            x0, y0, x1, y1 = (choice.box * 40).astype(int)
            assert (two_people()[y0:y1, x0:x1] > 0).mean() < 0.1
            np.testing.assert_allclose(cue_input(choice, two_people())[:4], choice.box, atol=1e-6)


def test_boxes_have_errors_of_a_few_percent_and_some_are_late() -> None:
    errors = np.array([np.abs(each.error).max() for each in drawn()])
    assert 0.03 < np.median(errors) < 0.12
    assert 0.01 < (errors > 0.25).mean() < 0.1


def test_the_input_is_the_box_of_the_target_with_the_error_in_its_sides() -> None:
    exact = CueChoice(True, 1, np.zeros(4), np.zeros(4))
    np.testing.assert_allclose(cue_input(exact, two_people()), [*TARGET, 1], atol=1e-6)
    late = exact._replace(error=np.array([0.1, 0.0, 0.1, -0.25]))
    expected = TARGET + np.array([0.015, 0, 0.015, -0.1])
    np.testing.assert_allclose(cue_input(late, two_people()), [*expected, 1], atol=1e-6)


def test_without_a_visible_target_there_is_no_cue() -> None:
    choice = CueChoice(True, 1, np.zeros(4), np.zeros(4))
    assert cue_input(choice, np.zeros((40, 40), np.uint8)) is NO_CUE
    assert cue_input(choice._replace(given=False), two_people()) is NO_CUE
    assert mask_box(np.zeros((4, 4), bool)) is None
