# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Launch one perception node per camera of a robot, each in the camera's namespace.

ros2 launch thfm_ros cameras.launch.py cameras:=front,left,right threads:=1

Camera NAME is expected at /NAME/image_raw and /NAME/camera_info; its results are below /NAME/thfm.
fusion.launch.py does the same and makes one set of people of them.
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
    "cameras": ("front", "names of the cameras, which are the namespaces of their topics: a,b,c"),
    "image": ("image_raw", "topic of the images in each camera's namespace"),
    "camera_info": ("camera_info", "topic of the calibration in each camera's namespace"),
    "params_file": ("", "parameter file of all nodes; empty: the shipped thfm.yaml"),
    "threads": ("", "threads of each node's network; empty: the value in params_file"),
    "use_sim_time": ("false", "whether to take the time from /clock, as for bags with --clock"),
}


def start_nodes(context: LaunchContext) -> list[Node]:
    """One perception node per camera."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    config = os.path.join(get_package_share_directory("thfm_ros"), "config", "thfm.yaml")
    names = given["cameras"].replace(",", " ").split()
    if not names or len(set(names)) < len(names):
        raise ValueError(f"cameras:={given['cameras']} must be different names, such as front,left")
    values = {"use_sim_time": bool(yaml.safe_load(given["use_sim_time"]))}
    if given["threads"]:
        values["engine.threads"] = int(given["threads"])
    return [
        Node(
            package="thfm_ros",
            executable="perception_node",
            name="thfm",
            namespace=name,
            output="screen",
            parameters=[given["params_file"] or config, values],
            remappings=[
                ("image", f"/{name}/{given['image']}"),
                ("camera_info", f"/{name}/{given['camera_info']}"),
            ],
        )
        for name in names
    ]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])
