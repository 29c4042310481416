# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Launch a video as the camera, the perception node, and rviz.

ros2 launch thfm_ros demo.launch.py source:=my_video.mp4
"""

import os
from importlib.resources import files

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# Name: default and description. The names are those of the replay node's parameters; an empty
# source is replaced by the clip that is installed with the package.
REPLAY_ARGUMENTS = {
    "source": ("", "what to publish: a video file, a folder of images, or a camera (/dev/video0)"),
    "rate_hz": (
        "0.0",
        "images per second; 0: the video's own times, the camera's own rate, for a folder 10",
    ),
    "loop": ("true", "start again from the first image after the last one"),
    "calibration": (
        "",
        "calibration file for camera_info, as written by camera_calibration (ost.yaml); empty: "
        "an ideal pinhole camera, see horizontal_fov_deg",
    ),
    "horizontal_fov_deg": (
        "60.0",
        "horizontal field of view of the pinhole camera that camera_info describes if there is no "
        "calibration file [degrees]; 0: no camera_info is published",
    ),
    "frame_id": ("camera_optical_frame", "tf frame in the headers of the images"),
}
ARGUMENTS = {
    "rviz": ("true", "whether to start rviz"),
    "params_file": ("", "parameter file of the perception node; empty: the shipped thfm.yaml"),
}

# Kept as strings even where YAML would parse a number or a boolean.
STRING_ARGUMENTS = ("calibration", "frame_id")

CAMERA = {"image": "/camera/image", "camera_info": "/camera/camera_info"}


def shipped_clip() -> str:
    """Path of the street clip in the installed package."""
    return str(files("thfm_ros") / "clips" / "street.mp4")


def generate_launch_description() -> LaunchDescription:
    """The arguments, the replay node with its tf frame, the perception node, and rviz."""
    share = get_package_share_directory("thfm_ros")
    defaults = {**REPLAY_ARGUMENTS, **ARGUMENTS}
    defaults["source"] = (shipped_clip(), defaults["source"][1])
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in defaults.items()
    ]
    parameters = {name: LaunchConfiguration(name) for name in REPLAY_ARGUMENTS}
    for name in STRING_ARGUMENTS:
        parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=str)
    replay = Node(
        package="thfm_ros",
        executable="replay_node",
        name="replay",
        output="screen",
        parameters=[{**parameters, "wait_for_subscribers": 1}],
        remappings=list(CAMERA.items()),
    )
    # From x forward, z up to x right, y down, z forward: people are upright in rviz.
    static_transform = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        arguments=[
            *("--frame-id", "camera_link", "--child-frame-id", LaunchConfiguration("frame_id")),
            *("--roll", "-1.5707963", "--yaw", "-1.5707963"),
        ],
    )
    perception = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(share, "launch", "thfm.launch.py")),
        launch_arguments={**CAMERA, "params_file": LaunchConfiguration("params_file")}.items(),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", os.path.join(share, "config", "thfm.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, static_transform, replay, perception, rviz])
