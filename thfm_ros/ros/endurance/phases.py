# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What happens during the endurance test: a cycle of phases that is repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALL_TOPICS = (
    *("depth/image", "points", "overlay", "parts/image", "instances/image", "normals/color"),
    *("dense_pose/color", "markers"),
)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A span of time under one condition; changes are made at its beginning."""

    name: str
    rate_hz: float = 5.0  # of the camera; 0: there is none
    width: int = 640
    height: int = 480
    people: int = 2  # in the image
    calibrated: bool = True  # whether a camera_info is published
    observed: bool = True  # whether ~/bodies has a subscriber
    topics: tuple[str, ...] = ()  # further topics, each with a subscriber that comes and goes
    parameters: Mapping[str, object] = field(default_factory=dict)  # set before it
    transitions: tuple[str, ...] = ()  # of the lifecycle, before the parameters are set
    then: tuple[str, ...] = ()  # transitions after the parameters are set


CYCLE: Sequence[Phase] = (
    Phase(name="a camera, subscribers of every topic", topics=ALL_TOPICS),
    Phase(name="larger and slower images", rate_hz=2.0, width=1280, height=720, people=4),
    Phase(name="no camera", rate_hz=0.0, topics=("overlay",)),
    Phase(
        name="smaller and faster images, not calibrated",
        rate_hz=10.0,
        width=320,
        height=240,
        people=1,
        calibrated=False,
        topics=("depth_relative/image", "markers"),
    ),
    Phase(
        name="other parameters",
        people=3,
        parameters={
            "track.smoothing": "none",
            "regions.max_people": 2,
            "decode.min_score": 0.5,
            "window.length": 2,
        },
    ),
    Phase(name="no subscriber", observed=False),
    Phase(
        name="deactivated and activated, parameters as before",
        topics=("points",),
        transitions=("deactivate",),
        parameters={
            "track.smoothing": "one_euro",
            "regions.max_people": 8,
            "decode.min_score": 0.6,
            "window.length": 4,
        },
        then=("activate",),
    ),
    Phase(
        name="configured anew",
        rate_hz=4.0,
        transitions=("deactivate", "cleanup"),
        parameters={"points_with_normals": True, "depth_encoding": "16UC1"},
        then=("configure", "activate"),
        topics=("depth/image", "points"),
    ),
    Phase(
        name="configured as before",
        people=1,
        transitions=("deactivate", "cleanup"),
        parameters={"points_with_normals": False, "depth_encoding": "32FC1"},
        then=("configure", "activate"),
    ),
)
"""The last phase leaves everything as it was before the first."""
