# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Launch files and viewer configurations; ROS's launch packages are replaced by mocks."""

import ast
import re
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml

from thfm_ros.config import parameters

MOCKED = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "ament_index_python",
    "ament_index_python.packages",
)


LAUNCH_FILES = ("thfm.launch.py", "demo.launch.py", "fusion.launch.py", "cameras.launch.py")


@pytest.fixture
def mocks(monkeypatch: pytest.MonkeyPatch, root: Path) -> dict[str, Any]:
    """Mocks of all modules that the launch files import; the share folder is the source tree."""
    modules = {name: MagicMock(name=name) for name in MOCKED}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    modules["ament_index_python.packages"].get_package_share_directory.return_value = str(root)
    return modules


def launch_file(root: Path, name: str) -> dict[str, Any]:
    return runpy.run_path(str(root / "launch" / name))


def replay_parameters(root: Path) -> set[str]:
    """Names of the replay node's parameters, from the source text: importing it needs rclpy."""
    tree = ast.parse((root / "thfm_ros" / "ros" / "replay" / "node.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS":
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise AssertionError("PARAMETERS is not in ros/replay/node.py")


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_argument_is_declared_with_a_description(
    mocks: dict[str, Any], root: Path, name: str
) -> None:
    launch_file(root, name)["generate_launch_description"]()
    calls = mocks["launch.actions"].DeclareLaunchArgument.call_args_list
    assert calls
    for call in calls:
        assert len(call.kwargs["description"]) > 8, call.args
        assert isinstance(call.kwargs["default_value"], str), call.args


def test_arguments_of_the_node_set_parameters_that_exist(root: Path, mocks: dict[str, Any]) -> None:
    launched = launch_file(root, "thfm.launch.py")
    known = {parameter.name for parameter in parameters()} | {"use_sim_time"}
    assert set(launched["PARAMETERS"].values()) <= known
    assert set(launched["PARAMETERS"]) <= set(launched["ARGUMENTS"])
    assert set(launched["STRING_ARGUMENTS"]) <= set(launched["PARAMETERS"])


def test_arguments_of_the_demo_are_parameters_of_the_replay_node(
    root: Path, mocks: dict[str, Any]
) -> None:
    assert set(launch_file(root, "demo.launch.py")["REPLAY_ARGUMENTS"]) <= replay_parameters(root)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"use_sim_time": False}),
        ({"autostart": "false"}, {"use_sim_time": False, "autostart": False}),
        ({"checkpoint": "007"}, {"use_sim_time": False, "engine.checkpoint": "007"}),
        ({"engine": "onnx"}, {"use_sim_time": False, "engine.kind": "onnx"}),
    ],
)
def test_only_arguments_that_are_not_empty_override_the_parameter_file(
    root: Path, mocks: dict[str, Any], given: dict[str, str], expected: dict[str, object]
) -> None:
    launched = launch_file(root, "thfm.launch.py")
    defaults = {name: default for name, (default, _) in launched["ARGUMENTS"].items()}
    values = {**defaults, **given}
    mocks["launch.substitutions"].LaunchConfiguration.side_effect = lambda name: MagicMock(
        perform=lambda context: values[name]
    )
    launched["start_node"](None)
    call = mocks["launch_ros.actions"].Node.call_args
    config, overrides = call.kwargs["parameters"]
    assert config == str(root / "config" / "thfm.yaml") and Path(config).is_file()
    assert overrides == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("image", "/camera/image_raw")]),
        ({"image": "/front/image_raw"}, [("image", "/front/image_raw")]),
        (
            {"image": "/front/image_raw", "camera_info": "/camera_info"},
            [("image", "/front/image_raw"), ("camera_info", "/camera_info")],
        ),
        ({"image": "", "camera_info": "/camera_info"}, [("camera_info", "/camera_info")]),
    ],
)
def test_a_topic_is_remapped_only_if_its_argument_is_given(
    root: Path, mocks: dict[str, Any], given: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """Without the argument camera_info the node takes the one beside the image."""
    launched = launch_file(root, "thfm.launch.py")
    values = {name: default for name, (default, _) in launched["ARGUMENTS"].items()} | given
    mocks["launch.substitutions"].LaunchConfiguration.side_effect = lambda name: MagicMock(
        perform=lambda context: values[name]
    )
    launched["start_node"](None)
    assert mocks["launch_ros.actions"].Node.call_args.kwargs["remappings"] == expected


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_executables_and_files_in_launch_files_exist(
    root: Path, mocks: dict[str, Any], name: str
) -> None:
    launched = launch_file(root, name)
    launched["generate_launch_description"]()
    for start in ("start_node", "start_nodes"):
        if start in launched:
            mocks["launch.substitutions"].LaunchConfiguration.side_effect = lambda _: MagicMock(
                perform=lambda context: "1"
            )
            launched[start](None)
    nodes = mocks["launch_ros.actions"].Node.call_args_list
    ours = [c.kwargs["executable"] for c in nodes if c.kwargs["package"] == "thfm_ros"]
    assert ours and all((root / "scripts" / executable).is_file() for executable in ours)
    for call in mocks["launch.launch_description_sources"].PythonLaunchDescriptionSource.mock_calls:
        assert Path(call.args[0]).is_file()
    if name == "demo.launch.py":
        assert Path(launched["shipped_clip"]()).is_file()


def test_the_fusion_launch_file_starts_a_node_per_camera_and_fuses_their_bodies(
    root: Path, mocks: dict[str, Any]
) -> None:
    launched = launch_file(root, "fusion.launch.py")
    values = {name: default for name, (default, _) in launched["ARGUMENTS"].items()}
    values |= {"cameras": "door stairs", "target_frame": "odom"}
    mocks["launch.substitutions"].LaunchConfiguration.side_effect = lambda name: MagicMock(
        perform=lambda context: values[name]
    )
    launched["start_nodes"](None)
    *perception, fusion = [call.kwargs for call in mocks["launch_ros.actions"].Node.call_args_list]
    assert [(each["executable"], each["namespace"]) for each in perception] == [
        ("perception_node", "door"),
        ("perception_node", "stairs"),
    ]
    config, given = fusion["parameters"]
    assert config == str(root / "config" / "fusion.yaml") and Path(config).is_file()
    assert given["inputs"] == ["/door/thfm/bodies", "/stairs/thfm/bodies"]
    assert given["target_frame"] == "odom"


def started_per_camera(root: Path, mocks: dict[str, Any], **given: str) -> list[dict[str, Any]]:
    launched = launch_file(root, "cameras.launch.py")
    values = {name: default for name, (default, _) in launched["ARGUMENTS"].items()} | given
    mocks["launch.substitutions"].LaunchConfiguration.side_effect = lambda name: MagicMock(
        perform=lambda context: values[name]
    )
    launched["start_nodes"](None)
    return [call.kwargs for call in mocks["launch_ros.actions"].Node.call_args_list]


def test_the_cameras_launch_file_starts_a_node_per_camera(
    root: Path, mocks: dict[str, Any]
) -> None:
    nodes = started_per_camera(root, mocks, cameras="front,left rear", threads="1")
    assert [each["namespace"] for each in nodes] == ["front", "left", "rear"]
    assert nodes[1]["remappings"][0] == ("image", "/left/image_raw")
    for each in nodes:
        assert Path(each["parameters"][0]).is_file()
        assert each["parameters"][1] == {"use_sim_time": False, "engine.threads": 1}
    assert {parameter.name for parameter in parameters()} >= {"engine.threads"}


@pytest.mark.parametrize("cameras", ["", ",", "front,front"])
def test_cameras_without_a_name_or_with_the_same_are_refused(
    root: Path, mocks: dict[str, Any], cameras: str
) -> None:
    with pytest.raises(ValueError, match="must be different names"):
        started_per_camera(root, mocks, cameras=cameras)


def topics_of(text: str) -> set[str]:
    return set(re.findall(r"/thfm/[a-z_/]+", text))


def known_topics(root: Path) -> dict[str, str]:
    """Names and message types of the node's result topics, from the source text."""
    tree = ast.parse((root / "thfm_ros" / "ros" / "topics.py").read_text())
    return {
        "/thfm/" + str(ast.literal_eval(call.args[0])): ast.unparse(call.args[1])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Topic"
    }


def test_viewer_configurations_show_topics_that_the_node_has(root: Path) -> None:
    for name in ("thfm.rviz", "thfm.foxglove.json"):
        shown = topics_of((root / "config" / name).read_text())
        assert shown and shown <= set(known_topics(root)), name


def test_the_rviz_configuration_uses_default_plugins(root: Path) -> None:
    config = yaml.safe_load((root / "config" / "thfm.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    assert {display["Class"].partition("/")[0] for display in displays} == {"rviz_default_plugins"}


def test_rviz_displays_match_message_type_and_quality_of_service(root: Path) -> None:
    """The display's class gives the type; results are published reliable and volatile."""
    config = yaml.safe_load((root / "config" / "thfm.rviz").read_text())
    kinds = known_topics(root)
    displays = [each for each in config["Visualization Manager"]["Displays"] if "Topic" in each]
    assert len(displays) >= 4
    for display in displays:
        topic = display["Topic"]
        assert display["Class"] == f"rviz_default_plugins/{kinds[topic['Value']]}"
        assert topic["Durability Policy"] == "Volatile", display["Name"]
        assert topic["Reliability Policy"] in ("Reliable", "Best Effort"), display["Name"]
