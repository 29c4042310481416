# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Dataclass fields that describe a parameter, and the validation of their values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from thfm_ros.contract import PerceptionError


class ConfigError(PerceptionError):
    """An unknown parameter or an invalid value; the text names it and the valid values."""


def option(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    min: float | None = None,
    max: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with the description and the limits of a parameter as its metadata."""
    metadata = {"doc": doc, "unit": unit, "min": min, "max": max, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Base of the groups of parameters: every value is checked against its `option`."""

    def __post_init__(self) -> None:
        """Raise ConfigError for the first field with an invalid value."""
        for each in fields(self):
            value = _validated(each.name, each.default, getattr(self, each.name), each.metadata)
            object.__setattr__(self, each.name, value)


def _validated(name: str, default: Any, value: Any, metadata: Mapping[str, Any]) -> Any:
    expected = type(default)
    if expected is float and type(value) is int:
        value = float(value)
    if expected is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not expected:
        raise ConfigError(f"{name} is {value!r}; it must be of type {expected.__name__}.")
    choices = metadata["choices"]
    if expected is tuple and not value:
        raise ConfigError(f"{name} is empty; choose at least one of {', '.join(choices or ())}.")
    if choices is not None:
        for item in value if expected is tuple else (value,):
            if item not in choices:
                raise ConfigError(f"{name} is {item!r}; choose from {', '.join(choices)}.")
    low, high = metadata["min"], metadata["max"]
    if expected is float and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; it must be a finite number.")
    if (low is not None and value < low) or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} is {value}; it must be {limits}.")
    return value


def check_numbers(options: Mapping[str, Any], limits: Mapping[str, tuple[float, float]]) -> None:
    """Check numbers of a command line against their limits; NaN is within none.

    Args:
        options: values by name, such as ``vars(args)``. Of a list every element is checked; None
            is not.
        limits: lowest and highest value, by name.

    Raises:
        ConfigError: a number is outside its limits.
    """
    for name, (low, high) in limits.items():
        given = options[name]
        for value in given if isinstance(given, list | tuple) else [given]:
            if value is not None and not low <= value <= high:
                limit = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
                raise ConfigError(f"--{name.replace('_', '-')} {value}: it must be {limit}.")
