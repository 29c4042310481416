# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Parameters of the chosen person."""

from dataclasses import dataclass

from thfm_ros.config_option import Validated, option


@dataclass(frozen=True, kw_only=True)
class FollowConfig(Validated):
    """When the person chosen by ~/follow counts as lost, found again and given up."""

    lost_after_s: float = option(
        0.5, "time without a detection after which the chosen person is lost", unit="s", min=0.0
    )
    found_after_s: float = option(
        0.3,
        "time in view after which a person is chosen as the nearest, or a lost one found again",
        unit="s",
        min=0.0,
    )
    give_up_after_s: float = option(
        10.0, "time after which a lost person is given up; ~/follow chooses anew", unit="s", min=0.0
    )
