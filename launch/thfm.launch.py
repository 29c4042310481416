# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Launch the perception node on the topics of a camera that is already running.

ros2 launch thfm_ros thfm.launch.py image:=/camera/image_raw
"""

import os

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Name: default and description.
ARGUMENTS = {
    "image": ("/camera/image_raw", "topic of the camera's images"),
    "camera_info": (
        "",
        "topic of the camera's calibration; empty: camera_info in the namespace of image",
    ),
    "namespace": ("", "namespace of the node"),
    "name": ("thfm", "name of the node, which is also the prefix of its topics"),
    "params_file": ("", "parameter file; empty: the shipped thfm.yaml"),
    "log_level": ("info", "least severity that is logged: debug, info, warn or error"),
    "use_sim_time": ("false", "whether to take the time from /clock, as for bags with --clock"),
    "autostart": (
        "",
        "true or false: whether the node configures and activates itself; empty: the value in "
        "params_file",
    ),
    "image_transport": (
        "",
        "raw or compressed: whether images are Image or CompressedImage messages; empty: the "
        "value in params_file",
    ),
    "target_frame": (
        "",
        "tf frame into which bodies and markers are transformed; empty: the value in params_file",
    ),
    "publish_tf": (
        "",
        "true or false: whether a tf frame is published per body; empty: the value in params_file",
    ),
    "checkpoint": (
        "",
        "network weights: name of a shipped checkpoint or path of a file; empty: the value in "
        "params_file",
    ),
    "engine": (
        "",
        "what runs the network: auto, onnx, torch or tensorrt; empty: the value in params_file",
    ),
}

# Arguments that set a parameter of the node if they are not empty.
PARAMETERS = {
    "use_sim_time": "use_sim_time",
    "autostart": "autostart",
    "image_transport": "image_transport",
    "target_frame": "target_frame",
    "publish_tf": "publish_tf",
    "checkpoint": "engine.checkpoint",
    "engine": "engine.kind",
}

# Kept as strings even where YAML would parse a number or a boolean.
STRING_ARGUMENTS = ("target_frame", "checkpoint")


def start_node(context: LaunchContext) -> list[Node]:
    """The node, with the parameters of all arguments that are not empty."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    config = os.path.join(get_package_share_directory("thfm_ros"), "config", "thfm.yaml")
    values = {
        parameter: given[name] if name in STRING_ARGUMENTS else yaml.safe_load(given[name])
        for name, parameter in PARAMETERS.items()
        if given[name]
    }
    topics = [(name, given[name]) for name in ("image", "camera_info") if given[name]]
    node = Node(
        package="thfm_ros",
        executable="perception_node",
        name=given["name"],
        namespace=given["namespace"],
        output="screen",
        parameters=[given["params_file"] or config, values],
        remappings=topics,
        ros_arguments=["--log-level", given["log_level"]],
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the perception node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_node)])
