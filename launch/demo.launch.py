"""A video as the camera, the perception node, and rviz to look at both.

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

# Name: default and description. Those of the replay node are its parameters; a source that is
# empty is the clip that comes with the package.
REPLAY_ARGUMENTS = {
    "source": ("", "a video file, a folder of images, or a camera: /dev/video0 or 0"),
    "rate_hz": ("0.0", "images per second; 0 is the source's own rate"),
    "loop": ("true", "begin again at the end"),
    "calibration": ("", "a file of camera_calibration (ost.yaml)"),
    "horizontal_fov_deg": ("60.0", "without a calibration: how wide the camera sees; 0: unknown"),
    "frame_id": ("camera_optical_frame", "tf frame of the images"),
}
ARGUMENTS = {
    "rviz": ("true", "start rviz"),
    "params_file": ("", "parameters of the node; the shipped config/thfm.yaml if empty"),
}

TEXTS = ("calibration", "frame_id")

CAMERA = {"image": "/camera/image", "camera_info": "/camera/camera_info"}


def shipped_clip() -> str:
    """The clip of a street in the installed package."""
    return str(files("thfm_ros") / "clips" / "street.mp4")


def generate_launch_description() -> LaunchDescription:
    """The arguments, the camera with its place in tf, the node, and rviz."""
    share = get_package_share_directory("thfm_ros")
    defaults = {**REPLAY_ARGUMENTS, **ARGUMENTS}
    defaults["source"] = (shipped_clip(), defaults["source"][1])
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in defaults.items()
    ]
    parameters = {name: LaunchConfiguration(name) for name in REPLAY_ARGUMENTS}
    for name in TEXTS:
        parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=str)
    replay = Node(
        package="thfm_ros",
        executable="replay_node",
        name="replay",
        output="screen",
        parameters=[{**parameters, "wait_for_subscribers": 1}],
        remappings=list(CAMERA.items()),
    )
    # x forward, z up -> x right, y down, z forward, so that people stand upright in rviz.
    place = Node(
        package="tf2_ros",
        executable="static_transform_publisher",
        arguments=[
            *("--frame-id", "camera_link", "--child-frame-id", LaunchConfiguration("frame_id")),
            *("--roll", "-1.5707963", "--yaw", "-1.5707963"),
        ],
    )
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(share, "launch", "thfm.launch.py")),
        launch_arguments={**CAMERA, "params_file": LaunchConfiguration("params_file")}.items(),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", os.path.join(share, "config", "thfm.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, place, replay, node, rviz])
