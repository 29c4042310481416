# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What limits the velocity: the analysis on walks whose errors are known."""

import numpy as np
import pytest

from thfm_ros.evaluation.walk_filters import (
    MeasuredWalk,
    band_table,
    best_linear_errors,
    density_table,
    filter_report,
    starting_and_stopping,
    velocity_errors,
)

FPS, FRAMES = 30.0, 75


def a_walk(seed: int, sigma_m: float = 0.0, hertz: float = 0.0) -> MeasuredWalk:
    """1.2 m/s across the view; the distance is wrong by noise or by an oscillation."""
    rng, times = np.random.default_rng(seed), np.arange(FRAMES) / FPS
    true = np.stack([1.2 * times - 1.5, 0 * times, 4 + 0 * times], axis=1)
    ray = true / np.linalg.norm(true, axis=1, keepdims=True)
    error = sigma_m * (np.sin(2 * np.pi * hertz * times + seed) if hertz else rng.normal(size=75))
    covariance = np.array([np.eye(3) * 1e-4 + (sigma_m**2 + 1e-6) * np.outer(r, r) for r in ray])
    return MeasuredWalk(true, true + error[:, None] * ray, covariance, FPS)


def cells(table: str, row: str) -> list[float]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [float(each) for cell in line.split("|")[2:-1] for each in cell.split(",")]


def test_without_errors_of_positions_there_is_none_of_the_velocity() -> None:
    assert np.abs(velocity_errors(a_walk(1), 0.15, 0.15)).max() < 0.1
    assert np.abs(best_linear_errors([a_walk(each) for each in range(4)], 0.15)).max() < 0.01


def test_an_oscillation_is_shown_at_its_frequency_along_the_line_of_sight() -> None:
    table = band_table([a_walk(each, 0.05, 2.0) for each in range(3)])
    along, across, vertical, as_velocity, *_ = cells(table, "1 to 2.5")
    assert along == pytest.approx(0.05 / np.sqrt(2), rel=0.1) and across == vertical == 0
    assert as_velocity == pytest.approx(along * 2 * np.pi * 2, rel=0.1)
    assert cells(table, "5 to 15")[0] < 0.005


def test_a_smaller_density_is_better_for_steady_people_and_worse_for_those_who_change() -> None:
    table = density_table([a_walk(each, 0.08) for each in range(3)])
    less, more = cells(table, "0.05"), cells(table, "0.6")
    assert less[0] < more[0] and less[2] > more[2]


def test_the_errors_of_a_walk_are_kept_when_its_person_starts_and_stops() -> None:
    walk = a_walk(1, 0.05)
    changing = starting_and_stopping(walk, 1)
    np.testing.assert_allclose(changing.root_m - changing.true_m, walk.root_m - walk.true_m)
    speeds = np.linalg.norm(changing.true_velocity(0.0)[1:-1], axis=1)
    assert speeds[:25].max() < 1e-9 and speeds.max() == pytest.approx(1.2, abs=1e-6)
    assert speeds[-1] < 1e-9


def test_the_report_has_all_tables() -> None:
    text = filter_report([a_walk(each, 0.05) for each in range(3)])
    assert text.count("|---|") >= 2 and "best for the other walks" in text
