# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Values of a YAML file with messages that say where a wrong one is and what is valid."""

import difflib
import reprlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from thfm_ros.evaluation.scenario.contents import ScenarioError

_MAX_BYTES = 1_000_000


class _UniqueKeyLoader(yaml.SafeLoader):
    """Plain YAML without tags; a key that comes twice is an error, not the last of the two."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                line = key.start_mark.line + 1
                raise ScenarioError(f"line {line}: the key {shortened(key.value)} comes twice.")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """The value of a YAML file; no object of any type is built from it.

    Raises:
        ScenarioError: the file is too large or no valid YAML.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ScenarioError(f"the file has more than {_MAX_BYTES} bytes, which none needs.")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: not UTF-8, a date
        text = " ".join(str(error).split())[:200]
        raise ScenarioError(f"the file is not valid YAML: {text}") from error


class Fields:
    """A mapping of the file.

    Args:
        where: the path to it in the file, for messages.
        value: what the file has there.
        keys: the valid keys.

    Raises:
        ScenarioError: it is no mapping, or has another key; the text names the nearest one.
    """

    def __init__(self, where: str, value: Any, keys: Sequence[str]) -> None:
        self.where = where
        if not isinstance(value, dict):
            place = where or "the file"
            raise ScenarioError(f"{place} must be a mapping (key: value), not {shortened(value)}.")
        for key in value:
            if key not in keys:
                raise ScenarioError(
                    f"{self.place()}unknown key {shortened(key)}{nearest(key, keys)} "
                    f"Valid keys: {', '.join(keys)}."
                )
        self.values: dict[str, Any] = value

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def place(self, name: str = "") -> str:
        """How a message about the key ``name`` begins."""
        place = ".".join(filter(None, (self.where, name)))
        return f"{place}: " if place else ""

    def required(self, name: str) -> Any:
        """The value of a key that must be there."""
        if name not in self.values:
            raise ScenarioError(f"{self.place()}the key {name!r} is missing.")
        return self.values[name]

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """A finite number within limits."""
        if name not in self.values:
            return default
        return number(self.values[name], low, high, self.place(name))

    def count(self, name: str, low: int, default: int) -> int:
        """A whole number of at least ``low``."""
        value = self.values.get(name, default)
        if type(value) is not int or not low <= value <= 1_000_000:
            raise ScenarioError(
                f"{self.place(name)}{shortened(value)} must be a whole number from {low}."
            )
        return value

    def text(self, name: str, default: str = "") -> str:
        """A text that is not empty."""
        value = self.values.get(name, default)
        if not isinstance(value, str) or (name in self.values and not value.strip()):
            raise ScenarioError(f"{self.place(name)}{shortened(value)} must be a text.")
        return value

    def line(self, name: str) -> str:
        """A text as one line; empty if the key is not there."""
        return " ".join(self.text(name).split())


def number(value: Any, low: float, high: float, place: str = "") -> float:
    """A finite number within limits; ``place`` begins the message.

    Raises:
        ScenarioError: it is none.
    """
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no limits
        raise ScenarioError(f"{place}{shortened(value)} must be a number from {low:g} to {high:g}.")
    return float(value)


def shortened(value: Any) -> str:
    """A bounded representation: aliases of YAML can make values of any size."""
    return "nothing" if value is None else reprlib.repr(value)


def nearest(name: Any, names: Sequence[str]) -> str:
    """ "; did you mean ...?" with the most similar name, or "."."""
    found = difflib.get_close_matches(str(name)[:100], names, 1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else "."
