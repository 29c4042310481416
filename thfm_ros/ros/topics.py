# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The table of result topics: name, message type, the tasks it needs, and how to make a message."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import UInt8
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from thfm_ros.config import Config
from thfm_ros.contract import Perception, Task
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.to_msg import visualizations
from thfm_ros.ros.to_msg.camera_info import camera_info_from_intrinsics
from thfm_ros.ros.to_msg.images import depth_millimetres, image_message, person_labels
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.to_msg.map_size import map_intrinsics
from thfm_ros.ros.to_msg.people import detections, people
from thfm_ros.ros.to_msg.points import PointCloudMaker

NO_TASKS: frozenset[Task] = frozenset()


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The perception of one frame, with its image, the image's header and the configuration."""

    perception: Perception
    rgb: UInt8[np.ndarray, "h w 3"]
    header: Header
    config: Config


@dataclass(frozen=True, slots=True)
class Topic:
    """One result topic.

    Attributes:
        name: below the node's name.
        kind: message type.
        requires: tasks without which the topic does not exist.
        make: the message for a frame; None if the frame has no such result.
        optional: tasks that add to the message if they are estimated.
        in_target_frame: whether 3D coordinates are transformed to the parameter ``target_frame``.
        is_map: large, and published after all others by a thread of its own, while the next frame
            is processed.
    """

    name: str
    kind: type
    requires: frozenset[Task]
    make: Callable[[FrameResult], Any]
    optional: frozenset[Task] = NO_TASKS
    in_target_frame: bool = False
    is_map: bool = False

    def is_available(self, tasks: frozenset[Task]) -> bool:
        """Whether it has content when ``tasks`` can be estimated."""
        return self.requires <= tasks and bool((self.requires | self.optional) & tasks)


def result_topics(config: Config, markers: BodyMarkers) -> list[Topic]:
    """All topics; ``markers`` keeps the bodies that viewers display."""
    maps = [*_depth_topics(config), *_map_topics()]
    if config.node.publish_camera_images:
        drawn = frozenset({Task.SEGMENTATION, Task.INSTANCES, Task.BODIES})
        maps.append(Topic("overlay", Image, NO_TASKS, _overlay, optional=drawn))
    return [*_body_topics(markers), *(replace(topic, is_map=True) for topic in maps)]


def _depth_topics(config: Config) -> list[Topic]:
    depth = frozenset({Task.DEPTH})
    with_normals = config.node.points_with_normals
    with_colours = config.node.publish_camera_images
    maker = PointCloudMaker(with_normals=with_normals, with_colours=with_colours)

    def points(result: FrameResult) -> PointCloud2 | None:
        return maker.cloud(result.perception, result.rgb, result.header)

    normals = frozenset({Task.NORMALS}) if with_normals else NO_TASKS
    return [
        Topic("depth/image", Image, depth, _depth),
        Topic("depth/camera_info", CameraInfo, depth, _depth_camera_info),
        Topic("depth_relative/image", Image, depth, partial(_map, "depth_relative")),
        Topic("points", PointCloud2, depth, points, optional=normals),
    ]


def _map_topics() -> list[Topic]:
    normals, dense_pose = frozenset({Task.NORMALS}), frozenset({Task.DENSE_POSE})
    return [
        Topic("segmentation/image", Image, frozenset({Task.SEGMENTATION}), _segmentation),
        Topic("parts/image", Image, frozenset({Task.PARTS}), partial(_map, "parts")),
        Topic("instances/image", Image, frozenset({Task.INSTANCES}), partial(_map, "instances")),
        Topic("normals/image", Image, normals, partial(_map, "normals")),
        Topic("normals/color", Image, normals, _normal_colours),
        Topic("dense_pose/image", Image, dense_pose, partial(_map, "dense_pose")),
        Topic("dense_pose/color", Image, dense_pose, _dense_pose_colours),
    ]


def _body_topics(body_markers: BodyMarkers) -> list[Topic]:
    bodies = frozenset({Task.BODIES})
    maker = BodyArrayMaker(ros_message)

    def body_array(result: FrameResult) -> BodyArray:
        return maker.array(result.perception, result.header)

    def markers(result: FrameResult) -> MarkerArray:
        min_confidence = result.config.decode.min_keypoint_confidence
        return body_markers.markers(result.perception, result.header, min_confidence)

    return [
        Topic("bodies", BodyArray, bodies, body_array, in_target_frame=True),
        Topic("markers", MarkerArray, bodies, markers, in_target_frame=True),
        *_standard_topics(),
    ]


def _standard_topics() -> list[Topic]:
    """People in messages of other packages, where those are installed."""
    bodies, topics = frozenset({Task.BODIES}), []

    def as_people(msgs: Any, result: FrameResult) -> Any:
        return people(result.perception, result.header, msgs)

    def as_detections(msgs: Any, result: FrameResult) -> Any:
        return detections(result.perception, result.header, msgs)

    if msgs := _optional_module("people_msgs.msg"):
        make = partial(as_people, msgs)
        topics.append(Topic("people", msgs.People, bodies, make, in_target_frame=True))
    if msgs := _optional_module("vision_msgs.msg"):
        make = partial(as_detections, msgs)
        topics.append(Topic("detections", msgs.Detection2DArray, bodies, make))
    return topics


def _optional_module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:  # only in an apt installation
        return None


def _map(name: str, result: FrameResult) -> Image | None:
    """A dense map in its own data type."""
    values = getattr(result.perception, name)
    return None if values is None else image_message(values, result.header)


def _depth(result: FrameResult) -> Image | None:
    depth_m = result.perception.depth_m
    if depth_m is None:
        return None
    in_millimetres = result.config.node.depth_encoding == "16UC1"
    return image_message(depth_millimetres(depth_m) if in_millimetres else depth_m, result.header)


def _depth_camera_info(result: FrameResult) -> CameraInfo | None:
    k = map_intrinsics(result.perception)
    return None if k is None else camera_info_from_intrinsics(k, result.header)


def _segmentation(result: FrameResult) -> Image | None:
    mask = result.perception.mask
    if mask is None:
        return None
    return image_message(person_labels(mask, result.config.decode.mask_threshold), result.header)


def _normal_colours(result: FrameResult) -> Image | None:
    normals = result.perception.normals
    if normals is None:
        return None
    return image_message(visualizations.normal_colours(normals), result.header)


def _dense_pose_colours(result: FrameResult) -> Image | None:
    dense_pose = result.perception.dense_pose
    if dense_pose is None:
        return None
    return image_message(visualizations.dense_pose_colours(dense_pose), result.header)


def _overlay(result: FrameResult) -> Image:
    return image_message(visualizations.overlay(result.rgb, result.perception), result.header)
