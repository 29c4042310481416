# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Pipelines whose results do not depend on how busy the machine is."""

from dataclasses import replace

from thfm_ros.config import Config


def unlimited(config: Config) -> Config:
    """The same, but all people are measured in every step, however long that takes."""
    return replace(config, regions=replace(config.regions, budget_ms=0.0))
