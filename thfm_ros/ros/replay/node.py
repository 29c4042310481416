# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node ``replay``: publishes a video, a folder of images or a camera as a ROS camera.

It publishes ``image`` and ``camera_info`` with the time of publication as stamp, so that all of a
robot's processing can be run on any machine. A video keeps its own rhythm, with its gaps.
"""

import array
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import rclpy
from jaxtyping import UInt8
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.node_process import started
from thfm_ros.ros.replay.calibration import MAX_FOV_DEG, calibration_from_file, check_size, pinhole
from thfm_ros.ros.replay.pacing import Pacing
from thfm_ros.ros.replay.sources import ImageSourceError, SourceImage, open_image_source
from thfm_ros.user_folders import expanded

# Discovery is not simultaneous: a subscription that this node has discovered may not have
# discovered this node yet, and would miss the first image.
DISCOVERY_S = 0.5


@dataclass(frozen=True)
class ReplayParameter:
    """Default and description of a parameter."""

    default: bool | int | float | str
    doc: str


# launch/demo.launch.py and the tests read these too.
PARAMETERS = {
    "source": ReplayParameter(
        "", "what to publish: a video file, a folder of images, or a camera (/dev/video0 or 0)"
    ),
    "rate_hz": ReplayParameter(
        0.0, "images per second; 0: the video's own times, the camera's own rate, for a folder 10"
    ),
    "loop": ReplayParameter(False, "start again from the first image after the last one"),
    "exit_at_end": ReplayParameter(
        True, "end the process after the last image; false: keep running without publishing"
    ),
    "wait_for_subscribers": ReplayParameter(
        0, "number of subscriptions to image that must exist before the first image is published"
    ),
    "encoding": ReplayParameter("bgr8", "encoding of the published images: bgr8 or rgb8"),
    "frame_id": ReplayParameter("camera_optical_frame", "tf frame in the headers of the images"),
    "calibration": ReplayParameter(
        "",
        "calibration file for camera_info, as written by camera_calibration (ost.yaml); empty: "
        "an ideal pinhole camera, see horizontal_fov_deg",
    ),
    "horizontal_fov_deg": ReplayParameter(
        60.0,
        "horizontal field of view of the pinhole camera that camera_info describes if there is no "
        "calibration file [degrees]; 0: no camera_info is published",
    ),
}


class ReplayNode(Node):
    """Publishes one image per timer tick; the future ``finished`` is done after the last.

    Images of a file are decoded before they are due, those of a camera are read when they are.

    Args:
        cli_args: ROS arguments of this node alone, beside those of the process.

    Raises:
        PerceptionError: a parameter is invalid, or the source or the calibration cannot be read.
    """

    def __init__(self, cli_args: list[str] | None = None) -> None:
        super().__init__("replay", cli_args=cli_args)
        for name, parameter in PARAMETERS.items():
            # ROS parses `source:=0` as an integer, and `rate_hz:=5` as one that is not a float.
            any_type = name == "source" or isinstance(parameter.default, float)
            descriptor = ParameterDescriptor(
                description=parameter.doc, read_only=True, dynamic_typing=any_type
            )
            self.declare_parameter(name, parameter.default, descriptor)
        self.finished = Future()
        self._loop = bool(self._value("loop"))
        self._missing_subscribers = int(self._value("wait_for_subscribers"))
        self._discovered_at: float | None = None
        self._encoding = str(self._value("encoding"))
        if self._encoding not in ("bgr8", "rgb8"):
            raise ImageSourceError(f"encoding is {self._encoding!r}; choose bgr8 or rgb8.")
        self._info = self._info_from_file()
        self._fov_deg = self._number("horizontal_fov_deg", MAX_FOV_DEG)
        wanted_hz = self._number("rate_hz", 1000.0)
        self._source = open_image_source(self._source_name())
        self._published = 0
        self._waiting: SourceImage | None = None  # the next image, decoded and not yet due
        self._image = Image()
        self._buffer: UInt8[np.ndarray, "h w 3"] = np.empty((0, 0, 3), np.uint8)
        # Reliable matches subscriptions of both kinds, and costs nothing more for best-effort ones.
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.create_publisher(Image, "image", qos)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos)
        rate_hz = wanted_hz or self._source.rate_hz
        self._pacing = Pacing(rate_hz, own_times=not wanted_hz)
        self.get_logger().info(f"Playing {self._source.description} at {rate_hz:g} Hz")
        self._timer = self.create_timer(1.0 / rate_hz, self._tick)

    def _value(self, name: str) -> Any:
        value: Any = self.get_parameter(name).value
        return value

    def _source_name(self) -> str:
        value = self._value("source")
        if value is None:  # an empty list in a parameter file
            return ""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ImageSourceError(f"source is {value!r}; give a path or the number of a camera.")
        return str(value)

    def _number(self, name: str, high: float) -> float:
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
            raise ImageSourceError(f"{name} is {value!r}; give a number from 0 to {high:g}.")
        return float(value)

    def _info_from_file(self) -> CameraInfo | None:
        path = str(self._value("calibration"))
        return calibration_from_file(expanded(path)) if path else None

    def _tick(self) -> None:
        if self._missing_subscribers and not self._subscribers_are_ready():
            return
        self._missing_subscribers = 0  # a subscriber that leaves later does not pause the stream
        image = self._waiting or self._read()
        if image is None:
            self._end()
            return
        self._publish(image)
        if self._source.is_live:
            return  # every period of the timer
        self._waiting = self._read()
        if self._waiting is None:
            self._end()
            return
        wait_s = self._pacing.wait_s(self._waiting.stamp_ns, time.monotonic())
        self._timer.timer_period_ns = max(1, round(wait_s * 1e9))
        self._timer.reset()

    def _subscribers_are_ready(self) -> bool:
        if self._images.get_subscription_count() < self._missing_subscribers:
            self._discovered_at = None
            return False
        if self._discovered_at is None:
            self._discovered_at = time.monotonic()
        return time.monotonic() - self._discovered_at >= DISCOVERY_S

    def _read(self) -> SourceImage | None:
        image = self._source.read()
        if image is None and self._loop and self._published and self._source.rewind():
            image = self._source.read()
            self._pacing.begin_again()
        return image

    def _publish(self, image: SourceImage) -> None:
        self._pacing.published(image.stamp_ns, time.monotonic())
        stamp = self.get_clock().now().to_msg()
        if image.pixels.shape != self._buffer.shape:
            self._allocate(image.pixels)
        if self._encoding == self._source.encoding:
            self._buffer[...] = image.pixels
        else:
            cv2.cvtColor(image.pixels, cv2.COLOR_BGR2RGB, dst=self._buffer)  # as RGB2BGR
        self._image.header.stamp = stamp
        self._images.publish(self._image)
        if self._info is not None:
            self._info.header = self._image.header
            self._infos.publish(self._info)
        self._published += 1

    def _allocate(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Make a message of the image's size, and a view of its bytes."""
        height, width = image.shape[:2]
        if self._value("calibration"):
            assert self._info is not None
            check_size(self._info, width, height)
        elif self._fov_deg:
            self._info = pinhole(width, height, self._fov_deg)
        self._image = Image(
            height=height, width=width, encoding=self._encoding, step=3 * width, is_bigendian=0
        )
        self._image.header.frame_id = str(self._value("frame_id"))
        self._image.data = array.array("B", image.tobytes())
        # A view of the message's own array, which since Kilted is not the one that was assigned.
        self._buffer = np.frombuffer(self._image.data, np.uint8).reshape(image.shape)

    def _end(self) -> None:
        self._timer.cancel()
        if not self._published:
            raise ImageSourceError(f"The {self._source.description} has no readable image.")
        self.get_logger().info(f"{self._published} images published; the source has ended")
        if self._value("exit_at_end"):
            self._images.wait_for_all_acked(Duration(seconds=1))
            self.finished.set_result(None)

    def close(self) -> None:
        """Release the source and destroy the node."""
        self._source.close()
        self.destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until its source ends or it is stopped; 1 if the source cannot be read further.

    Raises:
        SystemExit: with code 2 and one line: arguments or parameters are invalid.
    """
    logging.basicConfig(format="%(levelname)s %(message)s")
    prepare_ros_environment()
    node = started(ReplayNode, args, name="replay", signals=SignalHandlerOptions.ALL)
    try:
        rclpy.spin_until_future_complete(node, node.finished)
    except PerceptionError as error:
        rclpy.logging.get_logger("replay").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # otherwise a signal shut ROS down during a publish
            raise
    finally:
        node.close()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
