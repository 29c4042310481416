# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What receives and processes images from one `Perceiver.start` to the next `stop`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from thfm_ros.contract import Clip
from thfm_ros.ros.detection_input import DetectionInput
from thfm_ros.ros.message_receiver import MessageReceiver
from thfm_ros.ros.subscriptions import CameraInfoSubscription, subscribe_to_images
from thfm_ros.ros.worker import Worker


@dataclass(frozen=True, slots=True)
class CameraCallbacks:
    """What a session calls: the first three in the thread that receives messages, the others in
    the worker's thread."""

    on_camera_info: Callable[[CameraInfo], None]
    on_image: Callable[[Any, "CameraSession"], None]
    on_lost: Callable[[int], None]  # with the number of images that the middleware lost
    on_clip: Callable[[Clip, "CameraSession"], None]
    on_idle: Callable[[], None]  # once no image has come for some time
    is_idle: Callable[[], bool]


class CameraSession:
    """The subscriptions to a camera, the thread that receives its messages, and the worker.

    Args:
        node: the node.
        kind: message type of the images.
        topics: resolved names of the image topic and the camera_info topic.
        callbacks: what is called with messages and clips.
        detections: the boxes of another detector; None: there is none.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topics: tuple[str, str],
        callbacks: CameraCallbacks,
        detections: DetectionInput | None = None,
    ) -> None:
        self.ending = threading.Event()
        self._node = node
        self.worker: Worker[Clip] = Worker(
            lambda clip: callbacks.on_clip(clip, self),
            on_idle=callbacks.on_idle,
            is_idle=callbacks.is_idle,
        )
        self.worker.start()
        self._receiver = MessageReceiver(node)
        image_topic, info_topic = topics
        self._camera_info = CameraInfoSubscription(
            node, self._receiver, info_topic, callbacks.on_camera_info
        )
        self._images = subscribe_to_images(
            node,
            self._receiver,
            kind,
            image_topic,
            lambda msg: callbacks.on_image(msg, self),
            callbacks.on_lost,
        )
        self._boxes = detections.subscribe(self._receiver) if detections else None
        self._receiver.start()

    def stop(self) -> bool:
        """Unsubscribe and end the worker; False if it does not return and is left running."""
        self.ending.set()
        self._receiver.stop()
        self._camera_info.destroy()
        self._node.destroy_subscription(self._images)
        if self._boxes is not None:
            self._node.destroy_subscription(self._boxes)
        has_ended = self.worker.stop()
        if not has_ended:
            self._node.get_logger().error("the engine does not return: its step is left behind")
        return has_ended
