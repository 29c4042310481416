"""The perception node, on the topics of a camera that is already running.

ros2 launch thfm_ros thfm.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
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
    "image": ("/camera/image_raw", "topic of the images"),
    "camera_info": ("/camera/camera_info", "topic of their calibration"),
    "namespace": ("", "namespace of the node"),
    "name": ("thfm", "name of the node, and so of its topics"),
    "params_file": ("", "parameters; the shipped config/thfm.yaml if empty"),
    "log_level": ("info", "debug, info, warn or error"),
    "use_sim_time": ("false", "take the time from /clock, for bags played with --clock"),
    "autostart": ("", "false: wait for lifecycle transitions; empty: as in the parameters"),
    "image_transport": ("", "raw or compressed; empty: as in the parameters"),
    "target_frame": ("", "tf frame of bodies and markers; empty: as in the parameters"),
    "publish_tf": ("", "a tf frame per body, true or false; empty: as in the parameters"),
    "checkpoint": ("", "name or file of the network's weights; empty: as in the parameters"),
    "engine": ("", "auto, onnx, torch or tensorrt; empty: as in the parameters"),
}

# Arguments that set a parameter of the node when they are not empty.
PARAMETERS = {
    "use_sim_time": "use_sim_time",
    "autostart": "autostart",
    "image_transport": "image_transport",
    "target_frame": "target_frame",
    "publish_tf": "publish_tf",
    "checkpoint": "engine.checkpoint",
    "engine": "engine.kind",
}

# Kept as text even where YAML would read a number or a boolean.
TEXTS = ("target_frame", "checkpoint")


def start_node(context: LaunchContext) -> list[Node]:
    """The node, with those parameters that somebody gave."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    config = os.path.join(get_package_share_directory("thfm_ros"), "config", "thfm.yaml")
    values = {
        parameter: given[name] if name in TEXTS else yaml.safe_load(given[name])
        for name, parameter in PARAMETERS.items()
        if given[name]
    }
    node = Node(
        package="thfm_ros",
        executable="perception_node",
        name=given["name"],
        namespace=given["namespace"],
        output="screen",
        parameters=[given["params_file"] or config, values],
        remappings=[("image", given["image"]), ("camera_info", given["camera_info"])],
        ros_arguments=["--log-level", given["log_level"]],
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_node)])
