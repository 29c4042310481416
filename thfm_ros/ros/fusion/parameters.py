# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""ROS parameters of the fusion node: one per field of the dataclasses in fusion/settings.py."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from thfm_ros.config import Parameter
from thfm_ros.config_option import ConfigError
from thfm_ros.fusion.settings import FusionNodeSettings, FusionSettings
from thfm_ros.ros import params


def fusion_parameters() -> Iterator[Parameter]:
    """All parameters: those of the node first."""
    for defaults in (FusionNodeSettings(), FusionSettings()):
        for each in fields(defaults):
            yield Parameter(
                name=each.name,
                group="",
                field=each.name,
                default=getattr(defaults, each.name),
                **each.metadata,
            )


def declare(node: Node) -> tuple[FusionNodeSettings, FusionSettings]:
    """Declare every parameter and return their values.

    Raises:
        ConfigError: a value from the command line or a parameter file is invalid.
    """
    for parameter in fusion_parameters():
        try:
            params.declare(node, parameter)
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"{error}. {parameter.name}: {parameter.doc}.") from error
    return current(node)


def current(node: Node) -> tuple[FusionNodeSettings, FusionSettings]:
    """The settings of the node's present parameter values.

    Raises:
        ConfigError: a value is invalid.
    """
    values = {p.name: node.get_parameter(p.name).value for p in fusion_parameters()}
    return settings_from(values)


def settings_from(values: dict[str, Any]) -> tuple[FusionNodeSettings, FusionSettings]:
    """The settings of these values by parameter name.

    Raises:
        ConfigError: a value is invalid.
    """

    def part(kind: type) -> Any:
        return kind(**{each.name: params.config_value(values[each.name]) for each in fields(kind)})

    return part(FusionNodeSettings), part(FusionSettings)


def guard(node: Node, is_configured: Callable[[], bool]) -> None:
    """Refuse invalid values, and all changes while the node is configured."""

    def on_set(changes: Sequence[RosParameter]) -> SetParametersResult:
        names = {p.name for p in fusion_parameters()}
        known = {change.name: change.value for change in changes if change.name in names}
        if not known:
            return SetParametersResult(successful=True)
        try:
            present = {name: node.get_parameter(name).value for name in names}
            settings_from({**present, **known})
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if is_configured():
            name = node.get_fully_qualified_name()
            reason = (
                f"{', '.join(known)}: read when the node is configured. First `ros2 lifecycle set "
                f"{name} deactivate` and `cleanup`, then set it, `configure` and `activate`."
            )
            return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
