# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Scores of people who come back: what counts as correct, false and refused."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.reidentification import (
    CORRECT,
    FALSE,
    REFUSED,
    AppearanceReader,
    Site,
    assigned_ids,
    counted,
    fitted_sigmas,
    idf1_and_switches,
    read_sites,
    report,
)
from thfm_ros.perception.appearance import REGIONS, VALUES

CLOTHES = (0, 1, 2, 0)


def a_site(noise: float = 1.0, seed: int = 5) -> Site:
    """Three outfits far apart; the first is worn by two people. The third is never detected."""
    rng = np.random.default_rng(seed)
    outfits = np.array([20.0, 60, 100])[list(CLOTHES)]
    values = np.tile(outfits[:, None, None, None], (1, 3, 2, len(REGIONS) * VALUES))
    values = values + rng.normal(0, noise, values.shape)
    values[2, 1:] = np.nan
    return Site(values.astype(np.float32), CLOTHES)


def test_outcomes_are_counted_by_condition_and_people_not_detected_are_left_out() -> None:
    counts = {key[0]: each for key, each in counted([a_site()]).items() if "view" in key[1]}
    first, second, third, fourth = counts.values()
    assert first == {CORRECT: 2} and second == {REFUSED: 2}
    assert third == {REFUSED: 2}  # of the two in identical clothes
    assert fourth == {FALSE: 2}  # clothes cannot tell


def test_the_present_tracker_gives_each_visit_another_id() -> None:
    site = a_site()
    assert idf1_and_switches(assigned_ids(site, [0, 1], knows_again=False)) == (1 / 3, 4)
    assert idf1_and_switches(assigned_ids(site, [0, 1], knows_again=True)) == (1.0, 0)


@pytest.mark.parametrize(
    ("visits", "idf1", "switches"),
    [
        ([(0, "a"), (1, "b"), (0, "a"), (1, "b")], 1.0, 0),
        ([(0, "a"), (1, "b"), (0, "b"), (1, "a")], 0.5, 2),
        ([(0, "a"), (1, "a"), (0, "a"), (1, "a")], 0.5, 0),
    ],
)
def test_idf1_and_switches_of_known_sequences(
    visits: list[tuple[int, str]], idf1: float, switches: int
) -> None:
    assert idf1_and_switches(visits) == (idf1, switches)


def test_the_deviations_are_those_of_the_people() -> None:
    same, different = fitted_sigmas([a_site(noise=2.0, seed=seed) for seed in range(30)])
    np.testing.assert_allclose(same, 2.0 * np.sqrt(2), rtol=0.15)
    assert (different > 30).all()


def test_the_report_has_both_trackers() -> None:
    text = report([a_site()])
    assert text.count("| remembers |") == text.count("| never |") == 2


def test_a_folder_without_visits_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=r"thfm_ros\.synth\.visits"):
        list(read_sites(tmp_path, 0, 99, cast(AppearanceReader, None)))
