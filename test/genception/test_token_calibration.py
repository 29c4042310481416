# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Joint order and units of unnamed token tables: recovered, or refused."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_skeletons import poses

from thfm_ros.contract import Task
from thfm_ros.genception.token_calibration import (
    KnownPoses,
    TokenCalibrationError,
    calibrate,
    report_lines,
)
from thfm_ros.genception.token_map import CARD_ENTRY, SPACES, TokenMap, maps_of_card
from thfm_ros.model.card import CardError, ModelCard
from thfm_ros.skeleton import FLIP_PAIRS, JOINT_NAMES, Joint

ROWS = 33


class Table:
    """A table of known meaning: shuffled joints, axes in another order, with other units."""

    def __init__(self, seed: int, known: KnownPoses, space: str, noise: float = 0.0) -> None:
        rng = np.random.default_rng(seed)
        self.joints = rng.permutation(len(Joint))[:ROWS]
        axes = SPACES[space]
        scales = rng.uniform(0.2, 5, axes) * rng.choice([-1, 1], axes)
        self.matrix = np.diag(scales)[rng.permutation(axes)]
        points = known.points(space)
        relative = points - points[:, [Joint.PELVIS]]
        noisy = points + noise * (relative - relative.mean(0)).std() * rng.normal(size=points.shape)
        self.values = noisy[:, self.joints] @ self.matrix.T + rng.normal(size=axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(JOINT_NAMES[joint] for joint in self.joints)


@given(st.integers(0, 10**6), st.sampled_from(sorted(SPACES)))
@settings(max_examples=6)
def test_order_scale_offset_axis_order_and_signs_are_recovered(seed: int, space: str) -> None:
    known = poses(seed)
    table = Table(seed, known, space)
    found = calibrate("tokens2", table.values, known, "depth")
    assert (found.joints, found.space) == (table.names, space)
    np.testing.assert_allclose(np.array(found.matrix), table.matrix, rtol=1e-6, atol=1e-9)
    assert found.residual < 1e-6 < 0.5 < found.baseline
    points = found.points(table.values)
    np.testing.assert_allclose(
        points[:, table.joints], known.points(space)[:, table.joints], atol=1e-6
    )
    absent = sorted(set(range(len(Joint))) - set(table.joints))
    assert np.isnan(points[:, absent]).all()


@given(st.integers(0, 10**6), st.sampled_from(sorted(SPACES)))
@settings(max_examples=4)
def test_noise_of_a_fifth_of_the_poses_keeps_the_order(seed: int, space: str) -> None:
    known = poses(seed)
    table = Table(seed, known, space, noise=0.2)
    found = calibrate("tokens2", table.values, known, "depth")
    assert found.joints == table.names
    scale = np.abs(table.matrix).max()
    np.testing.assert_allclose(np.array(found.matrix), table.matrix, atol=0.1 * scale)
    assert 0.05 < found.residual < 0.4


def test_values_that_are_stored_axis_after_axis_are_recovered() -> None:
    known = poses(3)
    table = Table(3, known, "camera")
    flat = table.values.swapaxes(1, 2).reshape(len(table.values), 3 * ROWS, 1)
    found = calibrate("tokens1", flat, known, "depth")
    assert (found.layout, found.joints) == ("columns", table.names)
    np.testing.assert_allclose(
        found.points(flat)[:, table.joints], known.positions_m[:, table.joints], atol=1e-6
    )


def test_rows_that_are_no_joint_of_ours_have_no_name() -> None:
    known = poses(4)
    table = Table(4, known, "camera")
    foreign = [2, 17, 30]
    table.values[:, foreign] = np.random.default_rng(0).normal(size=(len(table.values), 3, 3))
    found = calibrate("tokens2", table.values, known, "depth")
    assert [row for row, name in enumerate(found.joints) if not name] == foreign
    kept = np.delete(np.arange(ROWS), foreign)
    assert tuple(np.array(found.joints)[kept]) == tuple(np.array(table.names)[kept])


def test_a_third_column_that_is_no_coordinate_is_left_out() -> None:
    known = poses(5)
    table = Table(5, known, "image")
    confidence = np.random.default_rng(1).random((len(table.values), ROWS, 1))
    values = np.concatenate([confidence, table.values], axis=2)
    found = calibrate("tokens2", values, known, "depth")
    assert (found.space, found.columns, found.joints) == ("image", (1, 2), table.names)


@pytest.mark.parametrize("kind", ["noise", "constant", "mean pose", "where, not how"])
def test_tables_without_poses_are_refused(kind: str) -> None:
    known, rng = poses(6), np.random.default_rng(6)
    frames = len(known.clip)
    values = {
        "noise": rng.normal(size=(frames, ROWS, 3)),
        "constant": np.ones((frames, ROWS, 3)),
        "mean pose": (known.points("root_relative").mean(0) + np.zeros((frames, 1, 1)))[:, :ROWS]
        + rng.normal(0, 1e-3, (frames, ROWS, 3)),
        "where, not how": known.positions_m[:, [Joint.PELVIS]].repeat(ROWS, 1)
        + rng.normal(0, 1e-3, (frames, ROWS, 3)),
    }[kind]
    with pytest.raises(TokenCalibrationError, match="tokens2 cannot be read as joints: "):
        calibrate("tokens2", values, known, "depth")


def test_tables_in_which_left_and_right_are_one_are_refused() -> None:
    known = poses(7)
    middle = (known.positions_m + known.positions_m[:, np.array(FLIP_PAIRS)]) / 2
    with pytest.raises(TokenCalibrationError, match="cannot be read as joints"):
        calibrate("tokens2", middle[:, :ROWS], known, "depth")


@pytest.mark.parametrize(("clips", "frames"), [(4, 20), (12, 3), (1, 1)])
def test_too_few_frames_are_refused(clips: int, frames: int) -> None:
    known = poses(8, clips, frames)
    values = Table(8, known, "camera").values
    with pytest.raises(TokenCalibrationError, match=r"at least 48 frames of 12 clips.*--clips"):
        calibrate("tokens2", values, known, "depth")


@pytest.mark.parametrize("width", [1, 4, 36 * 3])
def test_tables_of_too_few_or_too_many_rows_are_refused(width: int) -> None:
    known = poses(9)
    values = np.random.default_rng(9).normal(size=(len(known.clip), width, 1))
    with pytest.raises(TokenCalibrationError, match="cannot be read as joints"):
        calibrate("tokens1", values, known, "depth")


def test_values_that_are_not_finite_are_refused() -> None:
    known = poses(9)
    values = Table(9, known, "camera").values
    values[3, 4, 1] = np.nan
    with pytest.raises(TokenCalibrationError, match="not finite"):
        calibrate("tokens2", values, known, "depth")


def card_with(entry: object) -> ModelCard:
    return ModelCard(
        name="big",
        family="genception",
        tasks=(Task.DEPTH,),
        prompts={},
        joint_names=(),
        part_names=(),
        network={CARD_ENTRY: entry},
    )


@cache
def found_map() -> TokenMap:
    known = poses(10)
    return calibrate("tokens2", Table(10, known, "camera").values, known, "depth")


def test_a_map_is_read_back_from_a_card() -> None:
    found = found_map()
    assert maps_of_card(card_with(json.loads(json.dumps([found.to_dict()])))) == (found,)
    assert maps_of_card(card_with([])) == ()
    assert "33 of 33 rows are joints, camera" in report_lines({"tokens2": found})[0]


@pytest.mark.parametrize(
    "change",
    [
        {"matrix": [[0, 0, 0]] * 3}, {"matrix": [[1]]}, {"offset": [1]}, {"space": "moon"},
        {"joints": ["nose"] * 33}, {"joints": ["knee"]}, {"columns": [-1, 0, 1]}, {"table": 3},
        {"residual": float("nan")}, {"prompt": "poem"}, {"prompt": "normals"},
        {"joint_residuals": []},
    ],
)  # fmt: skip
def test_a_card_with_an_impossible_map_is_refused(change: dict[str, object]) -> None:
    entry = {**json.loads(json.dumps(found_map().to_dict())), **change}
    with pytest.raises(CardError, match="calibrate-tokens"):
        maps_of_card(card_with([entry]))
    missing = replace(found_map()).to_dict()
    del missing["space"]
    with pytest.raises(CardError, match="its fields differ"):
        maps_of_card(card_with([missing]))


def test_a_map_of_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(CardError, match="has 12 values per frame"):
        found_map().points(np.zeros((5, 4, 3)))
