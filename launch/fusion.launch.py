# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Launch one perception node per camera, and the node that fuses their people.

ros2 launch thfm_ros fusion.launch.py cameras:="left right" target_frame:=map

Camera NAME is expected at /NAME/image_raw and /NAME/camera_info, and its tf frame below
target_frame.
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
    "cameras": ("left right", "names of the cameras, which are the namespaces of their topics"),
    "image": ("image_raw", "topic of the images in each camera's namespace"),
    "camera_info": ("camera_info", "topic of the calibration in each camera's namespace"),
    "target_frame": ("map", "tf frame of all positions; its z axis points upwards"),
    "params_file": ("", "parameter file of the perception nodes; empty: the shipped thfm.yaml"),
    "fusion_params_file": (
        "",
        "parameter file of the fusion node; empty: the shipped fusion.yaml",
    ),
    "perception": ("true", "false: the perception nodes run already, only the fusion is started"),
    "use_sim_time": ("false", "whether to take the time from /clock, as for bags with --clock"),
}


def start_nodes(context: LaunchContext) -> list[Node]:
    """One perception node per camera, in its namespace, and the fusion node."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    config = os.path.join(get_package_share_directory("thfm_ros"), "config")
    use_sim_time = bool(yaml.safe_load(given["use_sim_time"]))
    names = given["cameras"].split()
    nodes = []
    if yaml.safe_load(given["perception"]):
        nodes = [
            Node(
                package="thfm_ros",
                executable="perception_node",
                name="thfm",
                namespace=name,
                output="screen",
                parameters=[
                    given["params_file"] or os.path.join(config, "thfm.yaml"),
                    # The fusion node publishes people as humans and tf, not each camera's node.
                    {"use_sim_time": use_sim_time, "publish_tf": False, "humans_namespace": ""},
                ],
                remappings=[
                    ("image", f"/{name}/{given['image']}"),
                    ("camera_info", f"/{name}/{given['camera_info']}"),
                ],
            )
            for name in names
        ]
    fusion = Node(
        package="thfm_ros",
        executable="fusion_node",
        name="fusion",
        output="screen",
        parameters=[
            given["fusion_params_file"] or os.path.join(config, "fusion.yaml"),
            {
                "use_sim_time": use_sim_time,
                "target_frame": given["target_frame"],
                "inputs": [f"/{name}/thfm/bodies" for name in names],
            },
        ],
    )
    return [*nodes, fusion]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the nodes."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])
