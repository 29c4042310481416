# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From received images to published results, while the node is configured.

The thread that receives images converts each one, adds it to the window and queues the clip for
the worker, nothing else. The worker's thread takes the newest clip, estimates the tasks that have
subscribers, and publishes bodies; a third one paints and publishes the maps while the next step
runs.
"""

import threading
from functools import partial

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from thfm_ros.camera import BadInputError, rgb_from_compressed, rgb_from_image, stamp_ns
from thfm_ros.camera.calibration import Calibration, tf_frame
from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Task
from thfm_ros.loading import Pipeline
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.ros.camera_session import CameraCallbacks, CameraSession
from thfm_ros.ros.component_status import Level, NodeSnapshot
from thfm_ros.ros.dds_profile import transport_advice
from thfm_ros.ros.detection_input import detection_input
from thfm_ros.ros.diagnostics import StateLogger
from thfm_ros.ros.engine_values import engine_values
from thfm_ros.ros.health import Health
from thfm_ros.ros.input_health import LOST
from thfm_ros.ros.map_publication import MapPublication
from thfm_ros.ros.measurement_ages import MeasurementAges, ages_of
from thfm_ros.ros.result_publishers import ResultPublishers
from thfm_ros.ros.scene_results import publish_scenes
from thfm_ros.ros.step_errors import StepErrors
from thfm_ros.ros.subscriptions import (
    describe_image_source,
    describe_missing_camera_info,
    input_topics,
)
from thfm_ros.ros.to_msg.headers import header_of
from thfm_ros.ros.topics import FrameResult

_CLEAR_AFTER_S = 1.0  # without an image, published people are removed; not before max_gap_s


class Perceiver:
    """Subscribes to a camera and publishes results from `start` to `stop`.

    The caller owns ``pipeline``, ``health`` and ``state_logger``.

    Raises:
        PerceptionError: something that the configuration requires is not available.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        health: Health,
        state_logger: StateLogger,
    ) -> None:
        self._node, self._health, self._state_logger = node, health, state_logger
        self._pipeline = pipeline
        pipeline.paint_later = True  # in the thread that publishes the maps
        config = pipeline.config
        self._detections = detection_input(node, pipeline, health.node_clock)
        self.publishers = ResultPublishers(node, pipeline.engine.card, config)
        self.available_tasks = frozenset(pipeline.engine.card.tasks)
        self.active_tasks = frozenset(Task(t) for t in config.node.tasks) & self.available_tasks
        self._measurements = MeasurementAges()
        self._errors = StepErrors(node, health, state_logger)
        self._maps = MapPublication(self._errors.report)
        self.left_out = 0  # people that the newest result lacks because of regions.max_people
        compressed = config.node.image_transport == "compressed"
        self._image_type: type = CompressedImage if compressed else Image
        self.image_topic, self.info_topic = input_topics(node, config.node.image_transport)
        describe_missing = partial(describe_missing_camera_info, node, self.info_topic)
        self.calibration = Calibration(self.image_topic, describe_missing)
        self.window = FrameWindow(config.window)
        self._session: CameraSession | None = None
        self._newest_ns = 0  # stamp of the newest image
        self._unrequested_ns: int | None = None  # stamp of the first clip without subscribers
        self._window_lock = threading.Lock()  # services change the window between two images
        self._step_lock = threading.Lock()  # the worker of an ended session may still be running
        self.publishers.publish_latched(config)
        publish_scenes(pipeline, self.publishers, lambda: self.config if self._session else None)

    @property
    def config(self) -> Config:
        """The configuration in effect."""
        return self._pipeline.config

    @property
    def card(self) -> ModelCard:
        """The model card of the loaded checkpoint."""
        return self._pipeline.engine.card

    def start(self) -> None:
        """Subscribe to the camera and start the worker."""
        if self._session is None:
            self._health.reset()
            if self._detections:
                self._detections.reset()
            self.window.reset("activated")
            self._session = self._new_session()

    def _new_session(self) -> CameraSession:
        callbacks = CameraCallbacks(
            on_camera_info=self.calibration.receive,
            on_image=self.on_image,
            on_lost=lambda count: self._health.images_dropped(LOST, count),
            on_clip=self.on_clip,
            on_idle=self.on_idle,
            is_idle=self.is_idle,
        )
        topics = (self.image_topic, self.info_topic)
        return CameraSession(self._node, self._image_type, topics, callbacks, self._detections)

    def stop(self) -> bool:
        """Finish the current frame, unsubscribe, and remove published people from viewers.

        Returns:
            False if the current step does not end; it is left behind, and that is logged.
        """
        if self._session is None:
            return True
        has_ended = self._session.stop()
        self._session = None
        self._maps.wait()
        self._health.clip_skipped()
        self._clear()
        return has_ended

    def close(self) -> bool:
        """Stop, and destroy all publishers; see `stop`."""
        has_ended = self.stop()
        self.publishers.close()
        return has_ended

    def reset(self) -> None:
        """Drop all tracks; the next image begins a new stream."""
        with self._window_lock:
            self.window.reset("~/reset")

    def set_tasks(self, tasks: frozenset[Task]) -> None:
        """Estimate only these tasks from now on."""
        self.active_tasks = tasks
        self.publishers.publish_latched(self.config)

    def snapshot(self, state: str, enabled: bool) -> NodeSnapshot:
        """The present state for diagnostics; may be called from any thread."""
        window, engine = self.window, self._pipeline.engine
        source, requested = "", frozenset[Task]()
        if state == "active" and enabled:  # known before the first image, which the worker is not
            requested = self.publishers.requested_tasks(self.active_tasks)
        if state == "active":
            source = describe_image_source(self._node, self.image_topic, self._image_type)
        return NodeSnapshot(
            state=state,
            enabled=enabled,
            image_source=source,
            transport_advice=transport_advice(),
            max_gap_s=self.config.window.max_gap_s,
            requested=tuple(sorted(task.value for task in requested)),
            calibration_problem=self.calibration.problem,
            calibration_warning=self.calibration.warning,
            calibration_note=self.calibration.note,
            window={
                "fill": f"{window.fill} of {self.config.window.length} frames",
                "stream": str(window.epoch),
                "stream began because of": window.epoch_reason,
            },
            stream_start=window.epoch_reason,
            engine=engine_values(self._pipeline),
            engine_description=engine.description,
            engine_fallback=engine.fallback_reason or "",
            detections=self._detections.status() if self._detections else None,
            bodies=self.publishers.rep155_values,
            bodies_problem=self.publishers.bodies_problem,
            left_out=self.left_out,
            predicted=self._measurements.predicted,
            oldest_measurement_s=self._measurements.oldest_s,
            max_people=self.config.regions.max_people,
        )

    def apply(self, config: Config) -> None:
        """Use another configuration with the same engine; tracks begin anew."""
        with self._window_lock:
            old_window = self.config.window
            self._pipeline = self._pipeline.with_config(config)
            if self.config.window != old_window:
                self.window = FrameWindow(self.config.window)
        self.publishers.publish_latched(config)

    def on_image(self, msg: Image | CompressedImage, session: CameraSession) -> None:
        """Process one image, in the thread that receives images."""
        with self._window_lock:
            clip = self._accepted(msg)
        if clip and session.worker.put(clip):
            self._health.images_dropped("overtaken by a newer image")

    def _accepted(self, msg: Image | CompressedImage) -> Clip | None:
        """The clip that ends with an image; None if the image cannot be used."""
        stamp = stamp_ns(msg)
        raw = isinstance(msg, Image)
        image_format = f"{msg.width}x{msg.height} {msg.encoding}" if raw else f"{msg.format}"
        self._health.image_received(
            self._age_s(stamp),
            image_format,
            has_stamp=stamp != 0,
            has_frame_id=msg.header.frame_id.strip("/") != "",
        )
        try:
            rgb = rgb_from_image(msg) if raw else rgb_from_compressed(msg)
        except BadInputError as error:
            self._health.image_rejected(error.cause, str(error))
            key = f"rejected {error.cause}"
            self._state_logger.update("input", Level.ERROR, key, str(error))
            return None
        frame_id = tf_frame(msg.header.frame_id)
        intrinsics = self.calibration.intrinsics_for(frame_id, rgb.shape[1], rgb.shape[0])
        epoch = self.window.epoch
        clip = self.window.push(Frame(rgb, stamp, frame_id, intrinsics))
        if clip is None:
            self._health.images_dropped("repeated stamp")
            return None
        if stamp < self._newest_ns:
            self.publishers.clear_transforms()
        self._newest_ns = stamp
        self._health.image_accepted(began_stream=clip.epoch != epoch)
        self._health.clip_queued()
        return clip

    def on_clip(self, clip: Clip, session: CameraSession) -> None:
        """Process one clip, in the worker's thread."""
        with self._step_lock:
            if not session.ending.is_set():
                self._step(clip, session)

    def is_idle(self) -> bool:
        """Whether no usable image has arrived for some time, by the node's clock."""
        return self._health.silent_s > max(_CLEAR_AFTER_S, self.config.window.max_gap_s)

    def on_idle(self) -> None:
        """Remove published people after a time without images, in the worker's thread."""
        with self._step_lock:
            self._clear()

    def _clear(self) -> None:
        self.left_out = 0
        self._measurements = MeasurementAges()
        self.publishers.clear()

    def _step(self, clip: Clip, session: CameraSession) -> None:
        requested_tasks = self.publishers.update_requested(self.active_tasks)
        pipeline, frame = self._pipeline, clip.newest
        if not requested_tasks:
            self.left_out = 0
            self._health.clip_skipped()
            self._unrequested_ns = self._unrequested_ns or frame.stamp_ns
            return
        since_ns, self._unrequested_ns = self._unrequested_ns, None
        if since_ns and frame.stamp_ns - since_ns > pipeline.config.track.lost_for_s * 1e9:
            pipeline.reset()  # tracks of before are out of date
        try:
            perception = pipeline.step(clip, requested_tasks)
            if session.ending.is_set():
                return
            result = FrameResult(perception, frame.rgb, header_of(frame), pipeline.config)
            paint = pipeline.painter(perception)
            maps = self.publishers.publish(result, pipeline.predicted, paint)
            published = partial(self._published, frame, pipeline.last_timings_ms["total"])
            self._maps.begin(maps, published)
            self.left_out = perception.left_out
            self._measurements = ages_of(perception)
        except Exception as error:
            self._errors.consecutive += 1
            if self._errors.consecutive == 1:
                self._clear()
            self._errors.report(error)
            # Images keep arriving meanwhile; the next step takes the newest.
            session.ending.wait(self._errors.delay_s)
            return
        self._errors.consecutive = 0

    def _published(self, frame: Frame, step_ms: float) -> None:
        self._health.results_published(self._age_s(frame.stamp_ns), step_ms)

    def _age_s(self, stamp: int) -> float:
        return float(self._node.get_clock().now().nanoseconds - stamp) * 1e-9
