"""The table of topics: what each is, which tasks it needs, and how its message is made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import UInt8
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from thfm_ros.config import Config
from thfm_ros.contract import Perception, Task
from thfm_ros.msg import BodyArray
from thfm_ros.ros.calibration import info_of
from thfm_ros.ros.to_msg import visualizations
from thfm_ros.ros.to_msg.bodies import BodyArrayMaker
from thfm_ros.ros.to_msg.images import depth_millimetres, image_message, person_labels
from thfm_ros.ros.to_msg.markers import BodyMarkers
from thfm_ros.ros.to_msg.points import PointCloudMaker

NO_TASKS: frozenset[Task] = frozenset()


@dataclass(frozen=True, slots=True)
class Scene:
    """What is said about one frame, the header of its image, and the settings it was made with."""

    seen: Perception
    rgb: UInt8[np.ndarray, "h w 3"]
    header: Header
    config: Config


@dataclass(frozen=True, slots=True)
class Topic:
    """One result, below the node's name.

    Without ``needs`` there is no topic; ``uses`` makes it richer. ``make`` returns None when
    there is nothing to say about a frame.
    """

    name: str
    kind: type
    needs: frozenset[Task]
    make: Callable[[Scene], Any]
    uses: frozenset[Task] = NO_TASKS
    in_space: bool = False  # speaks in target_frame, if one is set

    def offered(self, tasks: frozenset[Task]) -> bool:
        """Whether it has anything to say when ``tasks`` can be estimated."""
        return self.needs <= tasks and bool((self.needs | self.uses) & tasks)


def topics(config: Config, markers: BodyMarkers) -> list[Topic]:
    """All of them; ``markers`` remembers which bodies are drawn."""
    shown = frozenset({Task.SEGMENTATION, Task.INSTANCES, Task.BODIES})
    return [
        *_about_space(config),
        *_about_pixels(),
        *_about_people(markers),
        Topic("overlay", Image, NO_TASKS, _overlay, uses=shown),
    ]


def _about_space(config: Config) -> list[Topic]:
    depth = frozenset({Task.DEPTH})
    with_normals = config.node.points_with_normals
    maker = PointCloudMaker(with_normals=with_normals)

    def points(scene: Scene) -> PointCloud2 | None:
        return maker.cloud(scene.seen, scene.rgb, scene.header)

    richer = frozenset({Task.NORMALS}) if with_normals else NO_TASKS
    return [
        Topic("depth/image", Image, depth, _depth),
        Topic("depth/camera_info", CameraInfo, depth, _depth_info),
        Topic("depth_relative/image", Image, depth, partial(_map, "depth_relative")),
        Topic("points", PointCloud2, depth, points, uses=richer),
    ]


def _about_pixels() -> list[Topic]:
    normals, surface = frozenset({Task.NORMALS}), frozenset({Task.DENSE_POSE})
    return [
        Topic("segmentation/image", Image, frozenset({Task.SEGMENTATION}), _segmentation),
        Topic("parts/image", Image, frozenset({Task.PARTS}), partial(_map, "parts")),
        Topic("instances/image", Image, frozenset({Task.INSTANCES}), partial(_map, "instances")),
        Topic("normals/image", Image, normals, partial(_map, "normals")),
        Topic("normals/color", Image, normals, _normal_colours),
        Topic("dense_pose/image", Image, surface, partial(_map, "dense_pose")),
        Topic("dense_pose/color", Image, surface, _surface_colours),
    ]


def _about_people(markers: BodyMarkers) -> list[Topic]:
    needs = frozenset({Task.BODIES})
    maker = BodyArrayMaker()

    def bodies(scene: Scene) -> BodyArray:
        return maker.array(scene.seen, scene.header)

    def drawn(scene: Scene) -> MarkerArray:
        return markers.markers(
            scene.seen, scene.header, scene.config.decode.min_keypoint_confidence
        )

    return [
        Topic("bodies", BodyArray, needs, bodies, in_space=True),
        Topic("markers", MarkerArray, needs, drawn, in_space=True),
    ]


def _map(name: str, scene: Scene) -> Image | None:
    """A dense result as it is."""
    values = getattr(scene.seen, name)
    return None if values is None else image_message(values, scene.header)


def _depth(scene: Scene) -> Image | None:
    depth_m = scene.seen.depth_m
    if depth_m is None:
        return None
    millimetres = scene.config.node.depth_encoding == "16UC1"
    return image_message(depth_millimetres(depth_m) if millimetres else depth_m, scene.header)


def _depth_info(scene: Scene) -> CameraInfo | None:
    k = scene.seen.intrinsics
    if k is None or scene.seen.depth_m is None:
        return None
    return info_of(k, scene.header)


def _segmentation(scene: Scene) -> Image | None:
    mask = scene.seen.mask
    if mask is None:
        return None
    return image_message(person_labels(mask, scene.config.decode.mask_threshold), scene.header)


def _normal_colours(scene: Scene) -> Image | None:
    normals = scene.seen.normals
    return (
        None
        if normals is None
        else image_message(visualizations.normal_colours(normals), scene.header)
    )


def _surface_colours(scene: Scene) -> Image | None:
    surface = scene.seen.dense_pose
    if surface is None:
        return None
    return image_message(visualizations.dense_pose_colours(surface), scene.header)


def _overlay(scene: Scene) -> Image:
    return image_message(visualizations.overlay(scene.rgb, scene.seen), scene.header)
