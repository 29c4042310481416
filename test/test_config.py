# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import dataclasses
from pathlib import Path

import pytest
import yaml

from thfm_ros.config import (
    Config,
    RegionConfig,
    TrackConfig,
    WindowConfig,
    config_from,
    parameters,
    values_of,
)
from thfm_ros.config_node import NodeConfig
from thfm_ros.config_option import ConfigError, check_numbers
from thfm_ros.config_text import as_markdown, as_yaml, settings_from

ROOT = Path(__file__).resolve().parents[1]


def test_every_parameter_has_a_unique_name_and_a_description() -> None:
    listed = list(parameters())
    assert len({each.name for each in listed}) == len(listed) > 30
    assert all(each.doc and not each.doc.endswith(".") for each in listed)


def test_only_parameters_of_the_node_have_no_group() -> None:
    names = {each.name for each in parameters()}
    assert {"autostart", "window.length", "engine.checkpoint"} <= names
    assert not any(name.startswith("node.") for name in names)


def test_values_of_inverts_config_from() -> None:
    config = config_from({"window.length": 7, "tasks": ["depth"], "track.lost_for_s": 2})
    assert config.window.length == 7
    assert config.node.tasks == ("depth",)
    assert config.track.lost_for_s == 2.0
    assert config_from(values_of(config)) == config
    assert config_from({}) == Config()


def test_other_values_of_the_base_are_kept() -> None:
    base = config_from({"window.max_gap_s": 2.0})
    assert config_from({"window.length": 2}, base).window == WindowConfig(length=2, max_gap_s=2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window.lenght": 3}, "Did you mean window.length"),
        ({"window.length": 0}, "from 1 to 256"),
        ({"window.length": 257}, "from 1 to 256"),
        ({"window.length": 2.5}, "of type int"),
        ({"window.length": True}, "of type int"),
        ({"window.max_gap_s": float("nan")}, "finite"),
        ({"window.max_gap_s": "0.5"}, "of type float"),
        ({"regions.rewarm": 1}, "of type bool"),
        ({"track.smoothing": "kalman"}, "none, one_euro"),
        ({"tasks": ["depth", "gaze"]}, "'gaze'"),
        ({"image_transport": "theora"}, "raw, compressed"),
        ({"tasks": []}, "tasks is empty; choose at least one of depth, "),
        ({"window.length": []}, "of type int"),
        ({"window.length": 10**30}, "from 1 to 256"),
        ({"track.seed": float("nan")}, "of type int"),
    ],
)
def test_an_invalid_value_is_refused_with_the_valid_ones(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from(values)


def test_a_config_constructed_directly_is_validated() -> None:
    with pytest.raises(ConfigError, match=r"margin is 0\.5"):
        RegionConfig(margin=0.5)


def test_configs_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrackConfig().seed = 3  # type: ignore[misc]


def test_settings_of_the_command_line_get_the_type_of_their_parameter() -> None:
    texts = ["window.length=6", "regions.rewarm=true", "tasks=depth,bodies", "track.lost_for_s=.5"]
    config = config_from(settings_from(texts))
    assert config.window.length == 6
    assert config.regions.rewarm is True
    assert config.node.tasks == ("depth", "bodies")
    assert config.track.lost_for_s == 0.5
    with pytest.raises(ConfigError, match="not of type int"):
        settings_from(["window.length=six"])


def test_the_parameter_file_is_current_and_contains_the_defaults() -> None:
    text = (ROOT / "config" / "thfm.yaml").read_text(encoding="utf-8")
    assert text == as_yaml(), "run: python3 -m thfm_ros.config_text"
    tree = yaml.safe_load(text)["/**"]["ros__parameters"]
    flat = {}
    for name, value in tree.items():
        inner = value if isinstance(value, dict) else {"": value}
        flat.update({f"{name}.{key}".rstrip("."): each for key, each in inner.items()})
    assert config_from(flat) == Config()
    assert flat.keys() == values_of(Config()).keys()


def test_the_documentation_of_parameters_is_current() -> None:
    page = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert page == as_markdown(), "run: python3 -m thfm_ros.config_text"
    assert all(f"`{each.name}`" in page for each in parameters())


def test_all_tasks_are_available_by_default() -> None:
    assert "bodies" in NodeConfig().tasks and len(NodeConfig().tasks) == 7


@pytest.mark.parametrize("value", [0, -5, 11, float("nan"), float("inf"), [3, 11]])
def test_a_number_of_the_command_line_outside_its_limits_is_refused(value: object) -> None:
    with pytest.raises(
        ConfigError, match=r"--max-clips (0|-5|11|nan|inf): it must be from 1 to 10"
    ):
        check_numbers({"max_clips": value}, {"max_clips": (1, 10)})


@pytest.mark.parametrize("value", [1, 10, 2.5, None, [1, 2, 3], []])
def test_a_number_of_the_command_line_within_its_limits_is_accepted(value: object) -> None:
    check_numbers({"max_clips": value}, {"max_clips": (1, 10)})
