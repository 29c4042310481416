# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The health of another detector's topic: whether its boxes come and are used. No ROS here."""

from collections.abc import Callable, Set

from thfm_ros.perception.external_boxes import BoxUse
from thfm_ros.ros.component_status import ComponentStatus, Level
from thfm_ros.ros.silence import Silence

TIMEOUT_S = 2.0
"""Time without a message after which it is missed."""

_TYPE = "vision_msgs/msg/Detection2DArray"
_MIN_EXAMINED = 20
_MIN_CONFIRMED_SHARE = 0.05
"""A detector of people has more of its boxes confirmed, unless they are for another image."""


class DetectionHealth:
    """Evaluates the component "detections".

    Args:
        topic: resolved name.
        node_clock: the node's clock, seconds.
        replaces: no one is found without this topic.
    """

    def __init__(self, topic: str, node_clock: Callable[[], float], *, replaces: bool) -> None:
        self._topic, self._node_clock, self._replaces = topic, node_clock, replaces
        self.reset()

    def reset(self) -> None:
        """The node was activated."""
        self._silence = Silence(self._node_clock)
        self._has_messages = False

    def received(self) -> None:
        """A message arrived, usable or not."""
        self._has_messages = True
        self._silence.end()

    def evaluate(self, use: BoxUse, types: Set[str]) -> ComponentStatus:
        """The state of the component.

        Args:
            use: what became of the boxes.
            types: message types of the topic's publishers.
        """
        values = {
            "topic": self._topic,
            "messages": str(use.messages),
            "boxes used": str(use.proposals),
            "confirmed by a crop": str(use.confirmed),
            "rejected by a crop": str(use.rejected),
            "messages overtaken": str(use.overtaken),
            **{f"refused: {cause.value}": str(count) for cause, count in use.refused},
        }
        level, key, message = self._state(use, types)
        return ComponentStatus("detections", level, key, message, values)

    def _state(self, use: BoxUse, types: Set[str]) -> tuple[Level, str, str]:
        """Level, key and message; the most serious problem decides."""
        if others := sorted(types - {_TYPE}):
            message = f"{self._topic} is published as {', '.join(others)}, not {_TYPE}"
            return self._missing, "type", message
        if self._silence.seconds > TIMEOUT_S:
            missing = "no boxes any more" if self._has_messages else "no boxes yet"
            reason = "it has a publisher" if types else "it has no publisher"
            message = (
                f"{missing} on {self._topic} for {self._silence.seconds:.0f} s: {reason}. "
                + ("No one is found without them. " if self._replaces else "")
                + "Start the detector, or set the parameter detections."
            )
            return self._missing, "silent", message
        if use.problem is not None:
            return Level.WARN, f"refused {use.problem.value}", use.advice
        examined = use.confirmed + use.rejected
        if examined >= _MIN_EXAMINED and use.confirmed < _MIN_CONFIRMED_SHARE * examined:
            message = (
                f"the crops of {use.rejected} of {examined} boxes show no person: are the boxes "
                "in pixels of the images that this node receives (not of a resized, rectified or "
                "padded one), and are they of people?"
            )
            return Level.WARN, "rejected", message
        return Level.OK, "good", f"{use.proposals} boxes used, {use.confirmed} confirmed"

    @property
    def _missing(self) -> Level:
        return Level.ERROR if self._replaces else Level.WARN
