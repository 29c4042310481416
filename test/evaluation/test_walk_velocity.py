# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Errors of velocities on walks whose estimates are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from perceived import a_body

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.evaluation.walk_velocity import (
    Walk,
    coverage,
    measured_walks,
    prediction_table,
    share_along_the_view,
    velocity_table,
    walk_of,
)

FPS, SPEED = 30.0, 1.2
SECONDS = np.arange(90) / FPS
TRUE_M = np.stack([SPEED * SECONDS, 0 * SECONDS, 4 + 0 * SECONDS], axis=1)


def a_walk(velocity: float = SPEED, scale: float = 1.0, spread: float = 0.01) -> Walk:
    """A person who walks at SPEED, estimated ``scale`` times as far away as they are."""
    packed = np.array([spread, 0, 0, spread, 0, spread], np.float32)
    bodies: list[Body | None] = [
        replace(
            a_body(),
            root_m=(scale * at).astype(np.float32),
            velocity_m_s=np.array([scale * velocity, 0, 0], np.float32),
            velocity_covariance=packed,
        )
        for at in TRUE_M
    ]
    return walk_of(bodies, TRUE_M, FPS)


def cells(table: str, name: str) -> list[float]:
    (line,) = (line for line in table.splitlines() if name in line)
    return [float(cell) for cell in line.split("|")[2:-1]]


def test_a_right_velocity_has_no_error_and_zero_is_wrong_by_the_speed() -> None:
    table = velocity_table([a_walk()])
    assert cells(table, "`velocity`") == [0, 0, 0, 0]
    assert cells(table, "zero") == [1.2] * 4
    assert cells(table, "0.3 s") == pytest.approx([0] * 4, abs=0.01)


def test_an_error_of_the_scale_is_taken_out_in_the_last_column() -> None:
    errors = cells(velocity_table([a_walk(scale=1.1)]), "`velocity`")
    assert errors == pytest.approx([0.12, 0.12, 0.12, 0], abs=0.01)


def test_predictions_are_compared_with_staying() -> None:
    table = prediction_table([a_walk(velocity=1.0)])
    assert cells(table, "moved")[-1] == pytest.approx(0.1, abs=0.002)
    assert cells(table, "left")[-1] == pytest.approx(0.6, abs=0.002)


def test_coverage_is_the_share_within_the_ellipsoid() -> None:
    assert coverage([a_walk(velocity=1.0)]) == 1  # 0.2 m/s is two standard deviations
    assert coverage([a_walk(velocity=1.0, spread=0.001)]) == 0


def test_the_share_of_the_error_along_the_line_of_sight() -> None:
    walk = a_walk()
    ray = TRUE_M / np.linalg.norm(TRUE_M, axis=1, keepdims=True)
    across = np.cross(ray, [0.0, 1.0, 0.0])
    wrong = replace(walk, velocity=walk.velocity + 3 * ray + across)
    assert share_along_the_view([wrong]) == pytest.approx(0.9, abs=0.01)


def test_frames_without_the_person_do_not_count() -> None:
    walk = walk_of([None] * len(TRUE_M), TRUE_M, FPS)
    assert np.isnan(coverage([walk])) and "nan" in velocity_table([walk])


def test_a_folder_without_films_is_refused_with_the_command_that_makes_them(
    tmp_path: Path,
) -> None:
    with pytest.raises(PerceptionError, match="Render some"):
        next(measured_walks(None, tmp_path))  # type: ignore[arg-type]
