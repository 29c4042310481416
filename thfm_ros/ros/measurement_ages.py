# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How old the measurements in a result are, for the diagnostics. Does not import ROS."""

from typing import NamedTuple

from thfm_ros.contract import Perception, TrackState


class MeasurementAges(NamedTuple):
    """Of the people in one result."""

    predicted: int = 0  # people who were not measured on purpose
    oldest_s: float = 0.0


def ages_of(perception: Perception) -> MeasurementAges:
    """The ages in a result."""
    predicted = sum(body.state is TrackState.PREDICTED for body in perception.bodies)
    ages_s = (body.measurement_age_s for body in perception.bodies)
    return MeasurementAges(predicted, max(ages_s, default=0.0))
