# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Errors of predicted positions on walks whose estimates are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from perceived import a_body

from thfm_ros.contract import Body, PerceptionError
from thfm_ros.evaluation.walk_prediction import (
    AHEAD_S,
    PredictedWalk,
    predicted_walk_of,
    predicted_walks,
    prediction_error_table,
)
from thfm_ros.skeleton import Joint

FPS, SPEED = 30.0, 1.2
SECONDS = np.arange(90) / FPS
AWAY_M = 0.3
"""All estimates are too far away by this."""


def a_walk(speed: float = SPEED, *, detected: bool = True) -> PredictedWalk:
    """Someone walks at SPEED with stretched arms; their prediction moves at ``speed``."""
    joints = np.zeros((len(SECONDS), len(Joint), 3))
    joints[:] = np.stack([SPEED * SECONDS, 0 * SECONDS, 4 + 0 * SECONDS], axis=1)[:, None]
    joints[:, Joint.LEFT_WRIST, 0] += 0.6
    joints[:, Joint.RIGHT_WRIST, 0] -= 0.6
    bodies: list[Sequence[Body | None]] = [
        [at(joints[index], ahead, speed) if detected else None for ahead in AHEAD_S]
        for index in range(len(SECONDS))
    ]
    return predicted_walk_of(bodies, joints, FPS)


def at(joints: np.ndarray, ahead_s: float, speed: float) -> Body:
    moved = (joints + np.array([speed * ahead_s, 0, AWAY_M])).astype(np.float32)
    variance = 0.01 + 0.01 * ahead_s
    packed = np.array([variance, 0, 0, variance, 0, variance], np.float32)
    return replace(
        a_body(),
        root_m=moved[Joint.LEFT_HIP],
        positions_m=moved,
        root_covariance_m2=packed,
        covariances_m2=np.tile(packed, (len(Joint), 1)),
    )


def cells(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


@pytest.mark.parametrize("point", ["pelvis", "wrists"])
def test_a_right_prediction_leaves_the_error_of_the_image_and_holding_adds_the_motion(
    point: str,
) -> None:
    table = prediction_error_table([a_walk()])
    predicted, unmoved = (
        cells(table, f"{point}, predicted"),
        cells(table, f"{point}, as in the image"),
    )
    assert [cell.split()[0] for cell in predicted] == ["0.300"] * len(AHEAD_S)
    assert predicted[0] == unmoved[0] and unmoved[-1].split()[0] == f"{np.hypot(0.3, 0.6):.3f}"
    motion = f"{point}, motion since the image, "
    assert cells(table, motion + "predicted")[-1] == "0.000 (1.00)"
    assert cells(table, motion + "as in the image")[-1] == "0.600"


def test_coverage_is_the_share_of_errors_within_the_ellipsoid() -> None:
    """0.3 m is three standard deviations of 0.1 m: outside of 2.8; 0.06 m of motion is inside."""
    table = prediction_error_table([a_walk(speed=SPEED - 0.12)])
    assert cells(table, "pelvis, predicted")[0] == "0.300 (0.00)"
    assert cells(table, "pelvis, motion since the image, predicted")[-1] == "0.060 (1.00)"
    wrong = prediction_error_table([a_walk(speed=SPEED + 1.0)])
    assert cells(wrong, "pelvis, motion since the image, predicted")[-1] == "0.500 (0.00)"


def test_frames_without_the_person_do_not_count() -> None:
    table = prediction_error_table([a_walk(detected=False)])
    assert cells(table, "pelvis, predicted") == ["nan"] * len(AHEAD_S)
    one = prediction_error_table([a_walk(detected=False), a_walk()])
    assert one == prediction_error_table([a_walk()])


def test_films_without_joints_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "walk_00.npz", pelvis_m=np.zeros((3, 3)), focal_px=1.0, fps=30)
    with pytest.raises(PerceptionError, match="joints_m"):
        next(predicted_walks(None, tmp_path))  # type: ignore[arg-type]
