"""ROS parameters, read off the dataclasses of config.py: one per field, with its limits and doc.

A value that a field cannot take is refused with the field's own words. What is only read when
the node is configured says so instead of being accepted without effect.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from thfm_ros.config import Config, ConfigError, Parameter, config_from, parameters

LIVE_GROUPS = ("window", "regions", "decode", "track")
"""Groups that take effect at once; the others are read when the node is configured."""

_MAX_INT = 2**63 - 1


def declare(node: Node) -> Config:
    """Declare every parameter and return their values.

    Raises:
        ConfigError: a value from the command line or a file that cannot be.
    """
    for parameter in parameters():
        default = parameter.default
        value = list(default) if isinstance(default, tuple) else default
        try:
            node.declare_parameter(parameter.name, value, descriptor(parameter))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{error} {_accepts(parameter)}") from error
    return current(node)


def current(node: Node) -> Config:
    """What the node's parameters say now."""
    return config_from({p.name: _plain(node.get_parameter(p.name).value) for p in parameters()})


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` says about a parameter."""
    about = ParameterDescriptor(name=parameter.name, description=parameter.doc)
    if parameter.unit:
        about.description += f" [{parameter.unit}]"
    if parameter.choices is not None:
        about.additional_constraints = "one of: " + ", ".join(parameter.choices)
    about.read_only = parameter.name == "autostart"
    kind = type(parameter.default)
    # A fixed type would refuse "max_gap_s: 1" for not being 1.0; config.py checks types itself.
    about.dynamic_typing = kind is float
    low, high = parameter.min, parameter.max
    if kind is float and (low is not None or high is not None):
        limit = sys.float_info.max
        about.floating_point_range = [
            FloatingPointRange(
                from_value=-limit if low is None else float(low),
                to_value=limit if high is None else float(high),
            )
        ]
    if kind is int and (low is not None or high is not None):
        about.integer_range = [
            IntegerRange(
                from_value=-_MAX_INT if low is None else int(low),
                to_value=_MAX_INT if high is None else int(high),
                step=1,
            )
        ]
    return about


class ParameterGuard:
    """Accepts or refuses changes while the node runs.

    Args:
        node: whose parameters have been declared.
        is_configured: whether what is read at configure has been read.
        apply: called with the new configuration after a live change was accepted; it may raise
            PerceptionError to refuse after all.
    """

    def __init__(
        self, node: Node, is_configured: Callable[[], bool], apply: Callable[[Config], None]
    ) -> None:
        self._node = node
        self._is_configured = is_configured
        self._apply = apply
        self._groups = {p.name: p.group for p in parameters()}
        node.add_on_set_parameters_callback(self._on_set)

    def _on_set(self, changes: Sequence[RosParameter]) -> SetParametersResult:
        ours = [change for change in changes if change.name in self._groups]
        if not ours:
            return SetParametersResult(successful=True)
        try:
            values = {change.name: _plain(change.value) for change in ours}
            config = config_from(values, current(self._node))
            self._refuse_late(ours)
            if self._is_configured():
                self._apply(config)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _refuse_late(self, changes: Sequence[RosParameter]) -> None:
        if not self._is_configured():
            return
        for change in changes:
            if self._groups[change.name] in LIVE_GROUPS:
                continue
            if _plain(change.value) == _plain(self._node.get_parameter(change.name).value):
                continue
            name = self._node.get_fully_qualified_name()
            hint = " Tasks can be chosen now through ~/set_tasks." if change.name == "tasks" else ""
            raise ConfigError(
                f"{change.name} is read when the node is configured. First `ros2 lifecycle set "
                f"{name} deactivate` and `cleanup`, then set it, `configure` and `activate`.{hint}"
            )


def _plain(value: Any) -> Any:
    """A parameter's value as config.py knows it."""
    return tuple(value) if isinstance(value, list) else value


def _accepts(parameter: Parameter) -> str:
    """What a parameter can be, for an error about what it cannot."""
    text = f"{parameter.name} is a {type(parameter.default).__name__}"
    if parameter.min is not None or parameter.max is not None:
        low = "-inf" if parameter.min is None else f"{parameter.min:g}"
        high = "inf" if parameter.max is None else f"{parameter.max:g}"
        text += f" from {low} to {high}"
    if parameter.choices is not None:
        text += f" of {', '.join(parameter.choices)}"
    return f"{text}: {parameter.doc}."
