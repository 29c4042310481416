# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Errors of steps and of publishing: made visible, and how long to wait after them."""

import traceback

from rclpy.node import Node

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.component_status import Level
from thfm_ros.ros.diagnostics import StateLogger
from thfm_ros.ros.health import Health

_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.1, 2.0


class StepErrors:
    """Reports errors to diagnostics and log, and counts how many steps in a row have failed."""

    def __init__(self, node: Node, health: Health, state_logger: StateLogger) -> None:
        self._node, self._health, self._state_logger = node, health, state_logger
        self.consecutive = 0

    @property
    def delay_s(self) -> float:
        """Until the next step: the longer, the more have failed in a row."""
        return min(_RETRY_DELAY_S * self.consecutive, _MAX_RETRY_DELAY_S)

    def report(self, error: Exception) -> None:
        """Make an error visible; may be called from any thread."""
        text = str(error) if isinstance(error, PerceptionError) else f"unexpected: {error!r}"
        self._health.step_failed(text)
        self._state_logger.update("engine", Level.ERROR, f"failing: {text}", text)
        if not isinstance(error, PerceptionError):
            self._node.get_logger().debug("".join(traceback.format_exception(error)))
