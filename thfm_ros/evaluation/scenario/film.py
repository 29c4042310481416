# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The frames of a scenario: of a video, of a folder of images, or of a camera in a rosbag."""

import dataclasses
import logging
from collections.abc import Iterator

from thfm_ros.bags.bag import Bag
from thfm_ros.bags.camera_stream import CameraImage, CameraStream
from thfm_ros.bags.opening import is_bag
from thfm_ros.config import WindowConfig
from thfm_ros.contract import Intrinsics
from thfm_ros.evaluation.scenario.contents import Kind, Scenario, ScenarioError
from thfm_ros.geometry import intrinsics_from_fov
from thfm_ros.media.images import image_files, read_image
from thfm_ros.media.video import Video, VideoFrame, same_size
from thfm_ros.offline.sources import BagCamera
from thfm_ros.perception.frame_window import config_for_rate

log = logging.getLogger(__name__)


class ScenarioFilm:
    """The frames of a scenario as one clip; times begin with 0.

    Raises:
        PerceptionError: it cannot be read.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._video: Video | None = None
        self._is_bag = is_bag(scenario.film)
        if self._is_bag:
            with Bag(scenario.film) as bag:
                self.fps = BagCamera(self._stream(bag)).fps
        elif scenario.film.is_dir():
            self.fps = scenario.fps
        else:
            self._video = Video(scenario.film)
            self.fps = self._video.fps

    def window(self, config: WindowConfig) -> WindowConfig:
        """The window for these frames; a bag has gaps as in the node."""
        return config if self._is_bag else config_for_rate(config, self.fps)

    def intrinsics(self, frame: VideoFrame) -> Intrinsics | None:
        """Of the scenario's field of view, else of the bag's CameraInfo; None: not known."""
        if self._scenario.hfov_deg is None:
            return frame.intrinsics
        height, width = frame.rgb.shape[:2]
        return intrinsics_from_fov(width, height, self._scenario.hfov_deg)

    def __iter__(self) -> Iterator[VideoFrame]:
        if self._is_bag:
            frames = self._bag_images()
        else:
            frames = iter(self._images() if self._video is None else self._video)
        for frame in same_size(frames, self._scenario.film):
            if frame.stamp_ns > self._scenario.until_s * 1e9:
                return
            yield frame

    def _images(self) -> Iterator[VideoFrame]:
        for index, path in enumerate(image_files(self._scenario.film)):
            rgb = read_image(path)
            yield VideoFrame(rgb, index, round(index / self.fps * 1e9), path.name)

    def _bag_images(self) -> Iterator[VideoFrame]:
        first_ns: int | None = None
        with Bag(self._scenario.film) as bag:
            stream = self._stream(bag)
            for image in stream.images():
                if first_ns is None:
                    first_ns = image.stamp_ns
                    self._require_calibration(image, stream)
                frame = VideoFrame(image.rgb, image.index, image.stamp_ns - first_ns, stream.topic)
                yield dataclasses.replace(frame, intrinsics=image.intrinsics)
            if stream.losses:
                log.warning("%s: %s", self._scenario.name, stream.losses)

    def _stream(self, bag: Bag) -> CameraStream:
        topic = self._scenario.topic
        if topic not in bag.image_topics and (topic or len(bag.image_topics) > 1):
            problem = f"there is no {topic}" if topic else "is missing"
            raise ScenarioError(
                f"{self._scenario.name}: topic: {problem}; the bag has images on "
                f"{', '.join(bag.image_topics) or 'no topic'}."
            )
        return CameraStream(bag, topic)

    def _require_calibration(self, image: CameraImage, stream: CameraStream) -> None:
        measures = any(each.kind is Kind.DISTANCE for each in self._scenario.conditions)
        if measures and self._scenario.hfov_deg is None and image.intrinsics is None:
            raise ScenarioError(
                f"{self._scenario.name}: distance needs hfov_deg of the camera, since the bag has "
                f"no calibration that can be used ({stream.doubts})."
            )
