# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Parameters as text: parsing the command line, writing docs/parameters.md and config/thfm.yaml.

Both files are generated. After a change of config.py, run in the root of the repository:

    python3 -m thfm_ros.config_text
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from thfm_ros.config import Config, Parameter, Value, parameters
from thfm_ros.config_option import ConfigError

_DOCS = Path("docs/parameters.md")
_YAML = Path("config/thfm.yaml")


def add_set_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the option --set NAME=VALUE, which may be repeated; ``text`` is its help."""
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=text)


def settings_from(texts: Sequence[str]) -> dict[str, Value]:
    """Values by parameter name from texts like "window.length=6" or "tasks=depth,bodies".

    Raises:
        ConfigError: a text that cannot be converted to the parameter's type. Names and limits
            are not checked here but in `config_from`.
    """
    defaults = {parameter.name: parameter.default for parameter in parameters()}
    settings: dict[str, Value] = {}
    for name, _, text in (each.partition("=") for each in texts):
        expected = type(defaults.get(name, ""))
        try:
            if expected is bool:
                settings[name] = {"true": True, "false": False}[text.lower()]
            elif expected is tuple:
                settings[name] = tuple(text.split(","))
            else:
                settings[name] = expected(text)  # int, float or str
        except (ValueError, KeyError) as error:
            raise ConfigError(f"{name}={text} is not of type {expected.__name__}.") from error
    return settings


def as_markdown() -> str:
    """All parameters as docs/parameters.md."""
    lines = [
        "# Parameters",
        "",
        "<!-- Generated from thfm_ros/config.py by `python3 -m thfm_ros.config_text`. -->",
        "",
        "ROS parameters of the node; `config/thfm.yaml` contains all of them with their defaults.",
        "On the command line: `thfm perceive ... --set NAME=VALUE`. Invalid values are refused",
        "with the reason. The groups `window`, `regions`, `decode` and `track` can be changed",
        "while the node runs (all tracks then get new ids); for the others, first run",
        "`ros2 lifecycle set /thfm deactivate` and `cleanup`. `autostart` is read only when the",
        "process starts. Parameters `qos_overrides.<topic>.subscription.*` exist besides, for the",
        "topics of the images and of camera_info: [topics](topics.md#subscribed).",
    ]
    groups = {
        parameter.group: type(getattr(Config(), parameter.group)) for parameter in parameters()
    }
    for group, kind in groups.items():
        lines += ["", f"## {group}", "", (kind.__doc__ or "").strip(), ""]
        lines += ["| name | default | valid values | description |", "|---|---|---|---|"]
        lines += [
            f"| `{each.name}` | {_in_markdown(each.default)} | {_valid_values(each)} | {each.doc} |"
            for each in parameters()
            if each.group == group
        ]
    return "\n".join(lines) + "\n"


def as_yaml() -> str:
    """All parameters with their defaults as a ROS parameter file, for a node of any name."""
    lines = [
        "# Generated from thfm_ros/config.py by `python3 -m thfm_ros.config_text`.",
        "# All values are defaults: keep only the ones you change. See docs/parameters.md.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for each in parameters():
        *prefix, name = each.name.split(".")
        if prefix and prefix[0] != group:
            group = prefix[0]
            lines.append(f"    {group}:")
        indent = "      " if prefix else "    "
        lines.append(f"{indent}{name}: {_in_yaml(each.default)}  # {each.doc}{_unit(each)}")
    return "\n".join(lines) + "\n"


def _unit(parameter: Parameter) -> str:
    return f" [{parameter.unit}]" if parameter.unit else ""


def _in_markdown(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{_in_yaml(value)}`"


def _valid_values(parameter: Parameter) -> str:
    """The valid values, and their unit."""
    if parameter.choices:
        any_of = "any of " if isinstance(parameter.default, tuple) else ""
        return any_of + ", ".join(f"`{choice}`" for choice in parameter.choices)
    if isinstance(parameter.default, bool):
        return "`true`, `false`"
    low, high = parameter.min, parameter.max
    if low is None and high is None:
        return "text" if isinstance(parameter.default, str) else "a number"
    limits = f"from {low:g}" + ("" if high is None else f" to {high:g}")
    return limits + (f" {parameter.unit}" if parameter.unit else "")


def _in_yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> int:
    """Write both files, from the root of the repository."""
    if not Path("thfm_ros/config.py").is_file():
        sys.exit("Run this in the root of the repository, where thfm_ros/config.py is.")
    for path, text in ((_DOCS, as_markdown()), (_YAML, as_yaml())):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
