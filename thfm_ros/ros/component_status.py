# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The state of the node and of its components, as diagnostics report it. No ROS here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class ComponentStatus:
    """The state of one component of the node; see diagnostic_msgs/DiagnosticStatus."""

    component: str
    level: Level
    key: str  # equal as long as the state is
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NodeSnapshot:
    """What `Health` does not learn from events: the node as it is now."""

    state: str = "active"  # lifecycle state
    enabled: bool = True
    same_name: str = ""  # says so if another node has this node's name
    mixed_images: str = ""  # says so if the images have several publishers
    image_source: str = ""  # names the publishers of the images, or says why there are none
    transport_advice: str = ""  # what to do against images that are lost in transport
    max_gap_s: float = 0.0  # no shorter time without images is reported
    requested: tuple[str, ...] = ()  # tasks with a subscriber
    calibration_problem: str = ""
    calibration_warning: str = ""  # a doubt about a calibration that is used
    calibration_note: str = ""
    window: Mapping[str, str] = field(default_factory=dict)
    stream_start: str = ""  # why the current stream began
    engine: Mapping[str, str] = field(default_factory=dict)
    engine_description: str = ""
    engine_fallback: str = ""  # why this engine runs instead of the configured one
    detections: ComponentStatus | None = None  # of another detector, if the configuration names one
    bodies: Mapping[str, str] = field(default_factory=dict)
    bodies_problem: str = ""
    left_out: int = 0  # people who are detected but not tracked, because max_people are
    max_people: int = 0
    predicted: int = 0  # people of the newest result who were not measured, because of budget_ms
    oldest_measurement_s: float = 0.0  # of the people in the newest result
