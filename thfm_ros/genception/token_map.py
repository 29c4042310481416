# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What a token table means: the joint of each row and the affine map of its values.

`thfm calibrate-tokens` finds it (`token_calibration`) and writes it into the checkpoint's card.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from thfm_ros.contract import Task
from thfm_ros.model.card import CardError, ModelCard
from thfm_ros.skeleton import JOINT_NAMES

CARD_ENTRY = "token_maps"
"""Name in ``ModelCard.network``: a list of `TokenMap.to_dict`."""
TABLES = ("tokens1", "tokens2")
LAYOUTS = ("rows", "columns")
"""Of the values of a frame: joint after joint, or axis after axis."""
SPACES: Mapping[str, int] = {"image": 2, "camera": 3, "root_relative": 3}
"""Spaces of the points, with their number of axes.

image: pixels of the network image divided by its width; camera: metres, optical frame;
root_relative: the same from the pelvis.
"""
_MAX_ROWS = 1000


@dataclass(frozen=True)
class TokenMap:
    """``values = matrix @ point + offset`` for the point of every joint in ``space``."""

    table: str  # one of TABLES
    layout: str  # one of LAYOUTS
    space: str  # one of SPACES
    columns: tuple[int, ...]  # of the table's values per row that are used
    joints: tuple[str, ...]  # name of each row's joint; "" for rows that are no joint of ours
    matrix: tuple[tuple[float, ...], ...]  # [axis, axis]
    offset: tuple[float, ...]
    residual: float  # RMS error on held-out frames, in units of the variation of the poses
    baseline: float  # the same for each joint's mean
    joint_residuals: tuple[float, ...]  # RMS error of each row, metres or image widths
    frames: int  # in which it was found, the held-out ones included
    prompt: str  # task whose prompt the table was predicted with

    def points(self, values: Float[np.ndarray, "n *r"]) -> Float[np.ndarray, "n k a"]:
        """Points of all joints in ``space`` from the table's values; NaN for missing joints.

        Raises:
            CardError: the table has another size.
        """
        self.check_size(values[0].size)
        rows = rows_of(values, len(self.joints), self.layout)[..., self.columns]
        inverse = np.linalg.inv(np.array(self.matrix))
        points = (rows - np.array(self.offset)) @ inverse.T
        out = np.full((len(rows), len(JOINT_NAMES), points.shape[-1]), np.nan)
        for row, name in enumerate(self.joints):
            if name:
                out[:, JOINT_NAMES.index(name)] = points[:, row]
        return out

    def check_size(self, size: int) -> None:
        """Whether a table of ``size`` values per frame can be the one that was understood.

        Raises:
            CardError: it has another size.
        """
        count = len(self.joints)
        if size % count or max(self.columns) >= size // count:
            raise CardError(
                f"The map of {self.table} is of {count} rows and columns {self.columns}; the table "
                f"has {size} values per frame. Run `thfm calibrate-tokens` on this checkpoint."
            )

    def sigma(self) -> Float[np.ndarray, "k"]:
        """RMS error of each joint in metres or image widths; NaN for missing joints."""
        out = np.full(len(JOINT_NAMES), np.nan)
        for name, residual in zip(self.joints, self.joint_residuals, strict=True):
            if name:
                out[JOINT_NAMES.index(name)] = residual
        return out

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `maps_of_card` reads it back."""
        return asdict(self)


def rows_of(
    values: Float[np.ndarray, "n *r"], rows: int, layout: str
) -> Float[np.ndarray, "n r d"]:
    """All values of each frame as ``rows`` rows, whatever shape the table came in."""
    flat: Float[np.ndarray, "n v"] = np.asarray(values, np.float64).reshape(len(values), -1)
    if layout == "columns":
        return np.asarray(flat.reshape(len(flat), -1, rows).swapaxes(1, 2))
    return np.asarray(flat.reshape(len(flat), rows, -1))


def maps_of_card(card: ModelCard) -> tuple[TokenMap, ...]:
    """The maps that a card has; none before `thfm calibrate-tokens`.

    Raises:
        CardError: an entry that this release does not write.
    """
    entries = card.network.get(CARD_ENTRY, [])
    try:
        if not isinstance(entries, list) or len(entries) > len(TABLES):
            raise ValueError(f"{CARD_ENTRY} is not a list of at most {len(TABLES)}")
        maps = tuple(_checked(entry) for entry in entries)
        if missing := {each.prompt for each in maps} - {task.value for task in card.tasks}:
            raise ValueError(f"there is no prompt for {', '.join(sorted(missing))}")
        return maps
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CardError(
            f"The card of {card.name} has an entry {CARD_ENTRY!r} that no release of thfm_ros "
            f"writes ({error}). Run `thfm calibrate-tokens` again on the imported checkpoint."
        ) from error


def _checked(entry: Any) -> TokenMap:
    if not isinstance(entry, dict) or set(entry) != {each.name for each in fields(TokenMap)}:
        raise ValueError("its fields differ")
    axes = SPACES[entry["space"]]
    joints = tuple(str(name) for name in entry["joints"])
    named = [name for name in joints if name]
    matrix = np.array(entry["matrix"], float)
    numbers = [float(entry["residual"]), float(entry["baseline"]), *map(float, entry["offset"])]
    columns = tuple(int(column) for column in entry["columns"])
    is_valid = (
        entry["table"] in TABLES
        and entry["layout"] in LAYOUTS
        and matrix.shape == (axes, axes)
        and len(columns) == len(entry["offset"]) == axes
        and all(0 <= column < _MAX_ROWS for column in columns)
        and 0 < len(joints) <= _MAX_ROWS
        and len(entry["joint_residuals"]) == len(joints)
        and len(set(named)) == len(named)
        and set(named) <= set(JOINT_NAMES)
        and bool(np.isfinite(matrix).all())
        and all(math.isfinite(number) for number in numbers)
        and abs(np.linalg.det(matrix)) > 1e-12
    )
    if not is_valid:
        raise ValueError("its values contradict each other")
    return TokenMap(
        table=entry["table"],
        layout=entry["layout"],
        space=entry["space"],
        columns=columns,
        joints=joints,
        matrix=tuple(tuple(row) for row in matrix.tolist()),
        offset=tuple(float(each) for each in entry["offset"]),
        residual=numbers[0],
        baseline=numbers[1],
        joint_residuals=tuple(float(each) for each in entry["joint_residuals"]),
        frames=int(entry["frames"]),
        prompt=Task(entry["prompt"]).value,
    )
