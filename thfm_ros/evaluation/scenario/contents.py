# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What a scenario says; docs/scenarios.md describes the file."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from thfm_ros.contract import PerceptionError


class ScenarioError(PerceptionError):
    """A scenario that cannot be run; the text says where and why."""


class Kind(str, Enum):
    """What a condition demands; the value is its key in the file."""

    FOUND = "found"  # people are detected at their boxes
    DISTANCE = "distance"  # people are detected at their boxes and distances
    OCCUPIED = "occupied"  # enough people are detected in a zone
    EMPTY = "empty"  # no person is detected in a zone
    MAX_IDS = "max_ids"  # number of track ids in the film
    MAX_ID_CHANGES = "max_id_changes"  # number of changes of people's track ids


@dataclass(frozen=True)
class KeyBox:
    """Where a person is at one time."""

    at_s: float  # since the beginning of the film
    box: Float[np.ndarray, "4"]  # x_min, y_min, x_max, y_max, pixels
    distance_m: float = math.nan  # from the camera to the pelvis


@dataclass(frozen=True)
class Person:
    """A person of the film: spans of time in view, each of at least two keys with rising times.

    Between two keys of a span, box and distance change linearly.
    """

    name: str
    spans: tuple[tuple[KeyBox, ...], ...]

    def at(self, time_s: float) -> KeyBox | None:
        """Box and distance at a time; None while the person is out of view."""
        for span in self.spans:
            times = np.array([key.at_s for key in span])
            if not times[0] - _EPSILON_S <= time_s <= times[-1] + _EPSILON_S:
                continue
            box = np.array([np.interp(time_s, times, [k.box[i] for k in span]) for i in range(4)])
            distance = float(np.interp(time_s, times, [key.distance_m for key in span]))
            return KeyBox(time_s, box, distance)
        return None


_EPSILON_S = 1e-3
"""Times of a film are rounded: a frame at 0.9999 s belongs to a span that begins at 1 s."""


@dataclass(frozen=True)
class Condition:
    """One condition; which of the fields count depends on its kind."""

    kind: Kind
    name: str
    people: tuple[str, ...] = ()  # FOUND, DISTANCE, MAX_ID_CHANGES
    zone: str = ""  # OCCUPIED, EMPTY
    pass_rate: float = 1.0  # least share of the frames; all but MAX_IDS and MAX_ID_CHANGES
    min_iou: float = 0.5  # of detection and box: FOUND, DISTANCE, MAX_ID_CHANGES
    tolerance: float = 0.2  # DISTANCE: share of the true distance
    at_least: int = 1  # OCCUPIED: people
    limit: int = 0  # MAX_IDS, MAX_ID_CHANGES
    from_s: float = 0.0
    until_s: float = math.inf
    known_failure: str = ""  # why it is known to fail

    def covers(self, time_s: float) -> bool:
        """Whether the condition looks at frames of this time."""
        return self.from_s - _EPSILON_S <= time_s <= self.until_s + _EPSILON_S


@dataclass(frozen=True)
class Scenario:
    """A checked scenario file."""

    name: str
    film: Path  # a video, a folder of images, or a rosbag
    conditions: tuple[Condition, ...]
    people: Mapping[str, Person] = field(default_factory=dict)
    zones: Mapping[str, Float[np.ndarray, "n 2"]] = field(default_factory=dict)  # polygons, pixels
    description: str = ""
    fps: float = 0.0  # of a folder of images
    topic: str = ""  # of a rosbag's images; "": the only one
    until_s: float = math.inf
    hfov_deg: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
