# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Parameters of the ROS node itself: what it subscribes to and publishes; see config.py."""

from dataclasses import dataclass

from thfm_ros.config_option import Validated, option
from thfm_ros.contract import Task

_TASKS = tuple(task.value for task in Task)


@dataclass(frozen=True, kw_only=True)
class NodeConfig(Validated):
    """The ROS node."""

    autostart: bool = option(
        True, "configure and activate the node when it starts; cannot be changed while it runs"
    )
    tasks: tuple[str, ...] = option(
        _TASKS,
        "tasks that may be estimated, each while its topics have subscribers",
        choices=_TASKS,
    )
    image_transport: str = option(
        "raw",
        "message type of the images: Image (raw) or CompressedImage (compressed)",
        choices=("raw", "compressed"),
    )
    detections: str = option(
        "",
        "topic (vision_msgs/Detection2DArray) of another detector, whose boxes are proposals of "
        "people; empty: none",
    )
    detections_mode: str = option(
        "add",
        "boxes of another detector are used beside the own detection passes (add) or instead of "
        "them (replace)",
        choices=("add", "replace"),
    )
    detections_class: str = option(
        "person", "class_id of people in the topic of the parameter detections; empty: all boxes"
    )
    detections_max_age_s: float = option(
        0.5,
        "boxes of another detector whose stamp is further behind the newest image are not used",
        unit="s",
        min=0.0,
    )
    target_frame: str = option(
        "", "tf frame of bodies, markers and humans; empty: the camera's optical frame"
    )
    transform_timeout_s: float = option(
        0.05, "maximum wait for the transform into target_frame", unit="s", min=0.0, max=1.0
    )
    predict_to: str = option(
        "frame",
        "time of bodies, markers, humans and ~/target: that of the image (frame), or that of "
        "publication by the node's clock, at most 0.5 s later (now)",
        choices=("frame", "now"),
    )
    publish_tf: bool = option(True, "broadcast a tf frame for each body")
    body_frame_prefix: str = option(
        "body_", "prefix of the tf frames of bodies; the body id follows it"
    )
    humans_namespace: str = option(
        "/humans", "namespace of the REP-155 topics; empty: they are not published"
    )
    publish_camera_images: bool = option(
        True, "publish what shows the camera's pixels: overlay, colours of points, cropped humans"
    )
    depth_encoding: str = option(
        "32FC1",
        "encoding of depth/image: metres (32FC1) or millimetres (16UC1)",
        choices=("32FC1", "16UC1"),
    )
    output_scale: float = option(
        1.0,
        "size of the maps and of points, divided by that of the image; depth/camera_info fits them",
        min=0.05,
        max=1.0,
    )
    points_with_normals: bool = option(False, "add normals to the point cloud")
    diagnostics_period_s: float = option(
        1.0, "time between two diagnostics messages", unit="s", min=0.1, max=60.0
    )
    image_timeout_s: float = option(
        2.0,
        "time without images until diagnostics warn, or window.max_gap_s if longer",
        unit="s",
        min=0.1,
    )
