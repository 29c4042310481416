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
