# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""ROS parameters: one per field of the dataclasses in config.py, with its limits and description.

An invalid value is refused with the error text of the field. A parameter that is read only when
the node is configured is refused while it is configured, since setting it would have no effect.
"""

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from thfm_ros.config import Config, Parameter, config_from, parameters
from thfm_ros.config_option import ConfigError

LIVE_GROUPS = ("window", "regions", "decode", "track")
"""Groups whose changes take effect at once; the others are read when the node is configured."""

_MAX_INT = 2**63 - 1


def declare_parameters(node: Node) -> Config:
    """Declare every parameter and return their values.

    Raises:
        ConfigError: a value from the command line or a parameter file is invalid.
    """
    for parameter in parameters():
        try:
            declare(node, parameter)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            text = str(error).removesuffix(f": {parameter.name}")
            raise ConfigError(f"{text}. {_accepted_values(parameter)}") from error
    for line in misspelt_parameters(getattr(node, "_parameter_overrides", {})):
        node.get_logger().warning(line)
    return current_config(node)


def declare(node: Node, parameter: Parameter) -> None:
    """Declare one parameter; the exceptions are those of rclpy."""
    default = parameter.default
    value = list(default) if isinstance(default, tuple) else default
    node.declare_parameter(parameter.name, value, descriptor(parameter))


def misspelt_parameters(given: Iterable[str]) -> list[str]:
    """Lines about names from parameter files or the command line that are probably misspelt.

    ROS ignores unknown names, since a file may be for several nodes.
    """
    known = {parameter.name: parameter.group for parameter in parameters()}
    lines = []
    for name in sorted(set(given) - known.keys()):
        similar = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if similar or name.partition(".")[0] in {*known.values(), *known} - {"node"}:
            hint = f" Did you mean {similar[0]}?" if similar else " See docs/parameters.md."
            lines.append(f"there is no parameter {name}: its value is ignored.{hint}")
    return lines


def current_config(node: Node) -> Config:
    """The configuration of the node's present parameter values."""
    return config_from({p.name: _present_value(node, p) for p in parameters()})


def _present_value(node: Node, parameter: Parameter) -> Any:
    try:
        return config_value(node.get_parameter(parameter.name).value)
    except ParameterUninitializedException as error:  # ROS takes [] of a parameter file for nothing
        raise ConfigError(
            f"{parameter.name} has no value (or an empty list). {_accepted_values(parameter)}"
        ) from error


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` prints about a parameter."""
    result = ParameterDescriptor(name=parameter.name, description=parameter.doc)
    if parameter.unit:
        result.description += f" [{parameter.unit}]"
    if parameter.choices is not None:
        result.additional_constraints = "one of: " + ", ".join(parameter.choices)
    result.read_only = parameter.name == "autostart"
    kind = type(parameter.default)
    # With a fixed type ROS refuses the integer in "max_gap_s: 1"; config.py checks types itself.
    result.dynamic_typing = kind is float
    low, high = parameter.min, parameter.max
    if kind is float and (low is not None or high is not None):
        limit = sys.float_info.max
        result.floating_point_range = [
            FloatingPointRange(
                from_value=-limit if low is None else float(low),
                to_value=limit if high is None else float(high),
            )
        ]
    if kind is int and (low is not None or high is not None):
        result.integer_range = [
            IntegerRange(
                from_value=-_MAX_INT if low is None else int(low),
                to_value=_MAX_INT if high is None else int(high),
                step=1,
            )
        ]
    return result


class ParameterGuard:
    """Accepts or refuses parameter changes while the node runs.

    Args:
        node: a node whose parameters are declared.
        is_configured: whether the node is configured.
        apply: called with the new configuration after a live change was accepted; it may raise
            ConfigError to refuse the change.
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
        known = [change for change in changes if change.name in self._groups]
        if not known:
            return SetParametersResult(successful=True)
        try:
            values = {change.name: config_value(change.value) for change in known}
            config = config_from(values, current_config(self._node))
            self._refuse_while_configured(known)
            if self._is_configured():
                self._apply(config)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _refuse_while_configured(self, changes: Sequence[RosParameter]) -> None:
        """Raise ConfigError if a change would have an effect only at the next configure."""
        if not self._is_configured():
            return
        for change in changes:
            if self._groups[change.name] in LIVE_GROUPS:
                continue
            present = self._node.get_parameter(change.name).value
            if config_value(change.value) == config_value(present):
                continue
            name = self._node.get_fully_qualified_name()
            hint = " Use ~/set_tasks to set the tasks now." if change.name == "tasks" else ""
            raise ConfigError(
                f"{change.name} is read when the node is configured. First `ros2 lifecycle set "
                f"{name} deactivate` and `cleanup`, then set it, `configure` and `activate`.{hint}"
            )


def config_value(value: Any) -> Any:
    """A ROS parameter's value in the type that config.py uses."""
    return tuple(value) if isinstance(value, list) else value


def _accepted_values(parameter: Parameter) -> str:
    """What a parameter accepts, as part of an error text."""
    kind = type(parameter.default)
    text = f"{parameter.name} is a {'list' if kind is tuple else kind.__name__}"
    if parameter.min is not None or parameter.max is not None:
        low = "-inf" if parameter.min is None else f"{parameter.min:g}"
        high = "inf" if parameter.max is None else f"{parameter.max:g}"
        text += f" from {low} to {high}"
    if parameter.choices is not None:
        text += f" of {', '.join(parameter.choices)}"
    return f"{text}: {parameter.doc}."
