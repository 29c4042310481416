"""The node ``replay``: a video, a folder of images or a camera, as a ROS camera.

It publishes ``image`` and ``camera_info`` with the moment of publication as stamp, so that the
whole path of a robot runs on any machine.
"""

import array
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.dds_profile import prepare
from thfm_ros.ros.replay.calibration import calibration_from_file, check_size, pinhole
from thfm_ros.ros.replay.sources import RgbImage, SourceError, open_source

FOLDER_RATE_HZ = 10.0  # of sources that have no rate of their own
SETTLE_S = 0.5  # a subscriber that we see has not always seen us yet, and would miss an image


@dataclass(frozen=True)
class _Setting:
    default: bool | int | float | str
    doc: str


# Parameters of the node; launch/demo.launch.py and the tests read them too.
SETTINGS = {
    "source": _Setting("", "a video file, a folder of images, or a camera: /dev/video0 or 0"),
    "rate_hz": _Setting(0.0, "images per second; 0 is the source's own rate (a folder: 10)"),
    "loop": _Setting(False, "begin again at the end"),
    "exit_at_end": _Setting(True, "leave at the end; otherwise stay silent until stopped"),
    "wait_for_subscribers": _Setting(0, "hold the first image until so many have subscribed"),
    "encoding": _Setting("bgr8", "bgr8 or rgb8"),
    "frame_id": _Setting("camera_optical_frame", "frame of the images"),
    "calibration": _Setting("", "a file of camera_calibration (ost.yaml), for camera_info"),
    "horizontal_fov_deg": _Setting(
        60.0, "without a calibration: a pinhole as wide as this; 0: no camera_info, nothing metric"
    ),
}


class ReplayNode(Node):
    """Publishes one image per tick; ``finished`` is done when there are no more."""

    def __init__(self) -> None:
        super().__init__("replay")
        for name, setting in SETTINGS.items():
            # ROS reads `source:=0` as a number, and `rate_hz:=5` as one that is not 5.0.
            loose = name == "source" or isinstance(setting.default, float)
            about = ParameterDescriptor(
                description=setting.doc, read_only=True, dynamic_typing=loose
            )
            self.declare_parameter(name, setting.default, about)
        self.finished = Future()
        self._loop = bool(self._value("loop"))
        self._audience = int(self._value("wait_for_subscribers"))
        self._complete_since: float | None = None
        self._encoding = str(self._value("encoding"))
        if self._encoding not in ("bgr8", "rgb8"):
            raise SourceError(f"encoding is {self._encoding!r}; choose bgr8 or rgb8.")
        self._info = self._fixed_info()
        self._source = open_source(str(self._value("source")))
        self._published = 0
        self._image = Image()
        self._buffer: RgbImage = np.empty((0, 0, 3), np.uint8)
        # Reliable serves subscribers of both kinds, and a best-effort one costs nothing more.
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self._images = self.create_publisher(Image, "image", qos)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos)
        rate_hz = self._number("rate_hz", 1000.0) or self._source.rate_hz or FOLDER_RATE_HZ
        self.get_logger().info(f"Playing {self._source.description} at {rate_hz:g} Hz")
        self._timer = self.create_timer(1.0 / rate_hz, self._tick)

    def _value(self, name: str) -> bool | int | float | str:
        value: bool | int | float | str = self.get_parameter(name).value
        return value

    def _number(self, name: str, most: float) -> float:
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise SourceError(f"{name} is {value!r}; give a number from 0 to {most:g}.")
        return float(value)

    def _fixed_info(self) -> CameraInfo | None:
        path = str(self._value("calibration"))
        return calibration_from_file(Path(path).expanduser()) if path else None

    def _tick(self) -> None:
        if self._audience and not self._audience_is_settled():
            return
        self._audience = 0  # whoever leaves later does not stop the stream
        image = self._read()
        if image is None:
            self._end()
            return
        self._publish(image)

    def _audience_is_settled(self) -> bool:
        if self._images.get_subscription_count() < self._audience:
            self._complete_since = None
            return False
        if self._complete_since is None:
            self._complete_since = time.monotonic()
        return time.monotonic() - self._complete_since >= SETTLE_S

    def _read(self) -> RgbImage | None:
        into = self._buffer if self._buffer.size else None
        image = self._source.read(into)
        if image is None and self._loop and self._published and self._source.rewind():
            image = self._source.read(into)
        return image

    def _publish(self, image: RgbImage) -> None:
        stamp = self.get_clock().now().to_msg()
        if image.shape != self._buffer.shape:
            self._start_size(image)
        elif image is not self._buffer:
            self._buffer[...] = image
        if self._encoding == "rgb8":
            cv2.cvtColor(self._buffer, cv2.COLOR_BGR2RGB, dst=self._buffer)
        self._image.header.stamp = stamp
        self._images.publish(self._image)
        if self._info is not None:
            self._info.header = self._image.header
            self._infos.publish(self._info)
        self._published += 1

    def _start_size(self, image: RgbImage) -> None:
        """Make a message of the image's size whose bytes the source writes into directly."""
        height, width = image.shape[:2]
        if self._value("calibration"):
            assert self._info is not None
            check_size(self._info, width, height)
        elif fov_deg := self._number("horizontal_fov_deg", 180.0):
            self._info = pinhole(width, height, fov_deg)
        self._image = Image(
            height=height, width=width, encoding=self._encoding, step=3 * width, is_bigendian=0
        )
        self._image.header.frame_id = str(self._value("frame_id"))
        self._image.data = array.array("B", image.tobytes())
        # A view of the message's own array: since Kilted it is not the one that was assigned.
        self._buffer = np.frombuffer(self._image.data, np.uint8).reshape(image.shape)

    def _end(self) -> None:
        self._timer.cancel()
        if not self._published:
            raise SourceError(f"The {self._source.description} has no image that can be read.")
        self.get_logger().info(f"{self._published} images published; that was the last")
        if self._value("exit_at_end"):
            self._images.wait_for_all_acked(Duration(seconds=1))
            self.finished.set_result(None)

    def close(self) -> None:
        """Give the file or camera back, and leave ROS."""
        self._source.close()
        self.destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until its source ends or it is stopped; 1 when the source cannot be read."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    prepare()
    rclpy.init(args=args)
    node = None
    try:
        node = ReplayNode()
        rclpy.spin_until_future_complete(node, node.finished)
    except PerceptionError as error:
        rclpy.logging.get_logger("replay").fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():  # else a signal ended ROS while an image was being published
            raise
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
