# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The parameters of fusion: their generated texts, and values that are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from thfm_ros.config_option import ConfigError
from thfm_ros.fusion import settings_text
from thfm_ros.fusion.settings import FusionNodeSettings, FusionSettings


def test_the_page_and_the_parameter_file_are_those_of_the_settings(root: Path) -> None:
    page = (root / settings_text.PAGE).read_text("utf-8")
    assert page == settings_text.page_with_table(page), (
        "run python3 -m thfm_ros.fusion.settings_text"
    )
    assert (root / settings_text.YAML).read_text("utf-8") == settings_text.as_yaml()


def test_the_parameter_file_holds_all_parameters_with_their_defaults() -> None:
    values = yaml.safe_load(settings_text.as_yaml())["/**"]["ros__parameters"]
    node = {name: value for name, value in values.items() if hasattr(FusionNodeSettings(), name)}
    rest = {name: value for name, value in values.items() if name not in node}
    assert FusionNodeSettings(**node) == FusionNodeSettings()
    assert FusionSettings(**rest) == FusionSettings()


@pytest.mark.parametrize(
    "values", [{"max_delay_s": -1.0}, {"size_sigma": 0.0}, {"hysteresis": "x"}]
)
def test_invalid_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        FusionSettings(**values)
