# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The results of a frame as the node's messages, by their topics below the node's name.

Left out are the topics that can be computed from others: points, colours and the overlay. A test
compares each message with the one that the node publishes.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from thfm_ros.contract import Intrinsics, LensModel, Perception, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.offline.results.message_store import stored_message
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.skeleton import BONES, FLIP_PAIRS, JOINT_NAMES

_UNLABELLED = 255
_ENCODINGS = {
    ("uint8", 1): "mono8",
    ("uint16", 1): "16UC1",
    ("float32", 1): "32FC1",
    ("float32", 3): "32FC3",
}
_MAPS = {
    "depth/image": "depth_m",
    "depth_relative/image": "depth_relative",
    "parts/image": "parts",
    "instances/image": "instances",
    "normals/image": "normals",
    "dense_pose/image": "dense_pose",
}
"""Topics of dense maps that are published as they are, with their names in contract.Perception."""


class FrameMessages:
    """Makes the messages of one stream.

    Args:
        tasks: what is perceived.
        card: of the checkpoint.
        mask_threshold: parameter decode.mask_threshold.
        min_confidence: parameter decode.min_keypoint_confidence, for markers.
    """

    def __init__(
        self,
        tasks: frozenset[Task],
        card: ModelCard,
        mask_threshold: float,
        min_confidence: float,
    ) -> None:
        self._tasks, self._card = tasks, card
        self._threshold, self._min_confidence = mask_threshold, min_confidence
        self._bodies = BodyArrayMaker(stored_message)
        self._markers = BodyMarkers(stored_message)

    def latched(self, stamp_ns: int) -> Iterator[tuple[str, Any]]:
        """What the node publishes once, as if at this time."""
        header = header_at(stamp_ns, "")
        if Task.BODIES in self._tasks:
            yield "skeleton_info", _skeleton_info(self._card, header)
        names = {
            Task.SEGMENTATION: ("background", "person"),
            Task.PARTS: self._card.part_names,
        }
        for task, labels in names.items():
            if task in self._tasks:
                yield f"{task.value}/labels", self._label_map(task, labels, header)

    def of_frame(self, perception: Perception) -> Iterator[tuple[str, Any]]:
        """The messages of one frame. They share parts with the next frame's: serialize at once."""
        header = header_at(perception.stamp_ns, perception.frame_id)
        if Task.BODIES in self._tasks:
            yield "bodies", self._bodies.array(perception, header)
            yield "markers", self._markers.markers(perception, header, self._min_confidence)
        if perception.mask is not None:
            yield "segmentation/image", _image(self._labels(perception.mask), header)
        for topic, name in _MAPS.items():
            values = getattr(perception, name)
            if values is not None:
                yield topic, _image(values, header)
        if perception.depth_m is not None and perception.intrinsics is not None:
            yield "depth/camera_info", _camera_info(perception.intrinsics, header)

    def _labels(self, mask: np.ndarray) -> np.ndarray:
        labels: np.ndarray = (mask >= np.float32(self._threshold)).astype(np.uint8)
        labels[np.isnan(mask)] = _UNLABELLED
        return labels

    def _label_map(self, task: Task, names: tuple[str, ...], header: Any) -> Any:
        return stored_message(
            "thfm_ros/msg/LabelMap",
            header=header,
            task=task.value,
            ids=list(range(len(names))),
            names=list(names),
            unlabelled=_UNLABELLED,
            threshold=self._threshold,
        )


def header_at(stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = stored_message("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return stored_message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _image(pixels: np.ndarray, header: Any) -> Any:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return stored_message(
        "sensor_msgs/msg/Image",
        header=header,
        height=height,
        width=width,
        encoding=_ENCODINGS[pixels.dtype.name, channels],
        is_bigendian=int(sys.byteorder == "big"),
        step=pixels.strides[0],
        data=pixels.reshape(-1).view(np.uint8),
    )


def _camera_info(k: Intrinsics, header: Any) -> Any:
    cx, cy = k.cx - 0.5, k.cy - 0.5  # (0, 0) is the centre of the top-left pixel here
    model, coefficients = "plumb_bob", [0.0] * 5
    if k.distortion is not None:
        coefficients = list(k.distortion.coefficients)
        is_rational = k.distortion.model is LensModel.PLUMB_BOB and len(coefficients) > 5
        model = "rational_polynomial" if is_rational else k.distortion.model.value
    return stored_message(
        "sensor_msgs/msg/CameraInfo",
        header=header,
        width=k.width,
        height=k.height,
        distortion_model=model,
        d=coefficients,
        k=[k.fx, 0.0, cx, 0.0, k.fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[k.fx, 0.0, cx, 0.0, 0.0, k.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def _skeleton_info(card: ModelCard, header: Any) -> Any:
    fields: dict[str, Any] = {"model": card.name, "joint_names": list(card.joint_names)}
    if card.joint_names == JOINT_NAMES:
        fields["bone_parents"] = [int(parent) for parent, _ in BONES]
        fields["bone_children"] = [int(child) for _, child in BONES]
        fields["flip_pairs"] = [int(joint) for joint in FLIP_PAIRS]
    return stored_message("thfm_ros/msg/SkeletonInfo", header=header, **fields)
