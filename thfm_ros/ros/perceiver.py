# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From received images to published results, while the node is configured.

The subscriptions' thread converts each image, adds it to the window and queues the clip for the
worker, nothing else. The worker's thread takes the newest clip, estimates the tasks that have
subscribers, and publishes the results.
"""

import sys
import threading
import traceback
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, PerceptionError, Task
from thfm_ros.loading import Pipeline
from thfm_ros.model.card import ModelCard
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.ros.calibration import Calibration
from thfm_ros.ros.diagnostics import StateLogger
from thfm_ros.ros.from_msg import (
    BadInputError,
    rgb_from_compressed,
    rgb_from_image,
    stamp_ns,
)
from thfm_ros.ros.health import Health, Level, NodeSnapshot
from thfm_ros.ros.result_publishers import ResultPublishers
from thfm_ros.ros.subscriptions import (
    describe_image_source,
    input_topics,
    subscribe_to_camera_info,
    subscribe_to_images,
)
from thfm_ros.ros.topics import FrameResult
from thfm_ros.ros.worker import Worker

_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.1, 2.0  # after failed steps
_CLEAR_AFTER_S = 1.0  # without an image, published people are removed


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
        config = pipeline.config
        self.publishers = ResultPublishers(node, pipeline.engine.card, config)
        self.available_tasks = frozenset(pipeline.engine.card.tasks)
        self.active_tasks = frozenset(Task(t) for t in config.node.tasks) & self.available_tasks
        self.requested_tasks: frozenset[Task] = frozenset()
        compressed = config.node.image_transport == "compressed"
        self._image_type: type = CompressedImage if compressed else Image
        self.image_topic, self.info_topic = input_topics(node, config.node.image_transport)
        self.calibration = Calibration(self.image_topic, self.info_topic)
        self.window = FrameWindow(config.window)
        self._session: _Session | None = None
        self._consecutive_failures = 0
        self._newest_ns = 0  # stamp of the newest image
        self._unrequested_ns: int | None = None  # stamp of the first clip without subscribers
        self._step_lock = threading.Lock()  # the worker of an ended session may still be running
        self.publishers.publish_latched(config)

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
            self.window.reset("activated")
            self._session = _Session(self)

    def stop(self) -> None:
        """Finish the current frame, unsubscribe, and remove published people from viewers."""
        if self._session is not None:
            self._session.stop()
            self._session = None
            self.requested_tasks = frozenset()
            self._health.clip_skipped()
            self.publishers.clear()

    def close(self) -> None:
        """Stop, and destroy all publishers."""
        self.stop()
        self.publishers.close()

    def reset(self) -> None:
        """Drop all tracks; the next image begins a new stream."""
        self.window.reset("~/reset")

    def set_tasks(self, tasks: frozenset[Task]) -> None:
        """Estimate only these tasks from now on."""
        self.active_tasks = tasks
        self.publishers.publish_latched(self.config)

    def snapshot(self, state: str, enabled: bool) -> NodeSnapshot:
        """The present state for diagnostics; may be called from any thread."""
        window, engine = self.window, self._pipeline.engine
        source = ""
        if state == "active":
            source = describe_image_source(self._node, self.image_topic, self._image_type)
        return NodeSnapshot(
            state=state,
            enabled=enabled,
            image_source=source,
            requested=tuple(sorted(task.value for task in self.requested_tasks)),
            calibration_problem=self.calibration.problem,
            calibration_note=self.calibration.note,
            window={
                "fill": f"{window.fill} of {self.config.window.length} frames",
                "stream": str(window.epoch),
                "stream began because of": window.epoch_reason,
            },
            stream_start=window.epoch_reason,
            engine=self._engine_values(),
            engine_description=engine.description,
            engine_fallback=engine.fallback_reason or "",
            bodies=self.publishers.rep155_values,
            bodies_problem=self.publishers.bodies_problem,
        )

    def _engine_values(self) -> dict[str, str]:
        """Key-value pairs of the component "engine" for diagnostics."""
        engine = self._pipeline.engine
        timings = dict(self._pipeline.last_timings_ms)
        return {
            "runs on": engine.description,
            "checkpoint": engine.card.name,
            "tasks": ", ".join(sorted(task.value for task in self.available_tasks)),
            **{f"last {stage} (ms)": f"{ms:.1f}" for stage, ms in timings.items()},
            **_gpu_memory(),
        }

    def apply(self, config: Config) -> None:
        """Use another configuration with the same engine; tracks begin anew."""
        old_window = self.config.window
        self._pipeline = self._pipeline.with_config(config)
        if self.config.window != old_window:
            self.window = FrameWindow(self.config.window)
        self.publishers.publish_latched(config)

    def on_image(self, msg: Image | CompressedImage, session: "_Session") -> None:
        """Process one image, in the subscriptions' thread."""
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
            return
        height, width = rgb.shape[:2]
        frame_id = msg.header.frame_id
        intrinsics = self.calibration.intrinsics_for(frame_id, width, height)
        epoch = self.window.epoch
        clip = self.window.push(Frame(rgb, stamp, frame_id, intrinsics))
        if clip is None:
            self._health.images_dropped("repeated stamp")
            return
        if stamp < self._newest_ns:
            self.publishers.clear_transforms()
        self._newest_ns = stamp
        self._health.image_accepted(began_stream=clip.epoch != epoch)
        self._health.clip_queued()
        if session.worker.put(clip):
            self._health.images_dropped("overtaken by a newer image")

    def on_clip(self, clip: Clip, session: "_Session") -> None:
        """Process one clip, in the worker's thread."""
        with self._step_lock:
            if not session.ending.is_set():
                self._step(clip, session)

    def on_idle(self) -> None:
        """Remove published people after a time without images, in the worker's thread."""
        with self._step_lock:
            self.publishers.clear()

    def _step(self, clip: Clip, session: "_Session") -> None:
        self.requested_tasks = self.publishers.update_requested(self.active_tasks)
        pipeline, frame = self._pipeline, clip.newest
        if not self.requested_tasks:
            self._health.clip_skipped()
            self._unrequested_ns = self._unrequested_ns or frame.stamp_ns
            return
        since_ns, self._unrequested_ns = self._unrequested_ns, None
        if since_ns and frame.stamp_ns - since_ns > pipeline.config.track.lost_for_s * 1e9:
            pipeline.reset()  # tracks of before are out of date
        try:
            perception = pipeline.step(clip, self.requested_tasks)
            if session.ending.is_set():
                return
            result = FrameResult(perception, frame.rgb, _header(frame), pipeline.config)
            self.publishers.publish(result)
        except Exception as error:
            self._on_failure(error)
            # Images keep arriving meanwhile; the next step takes the newest.
            delay_s = _RETRY_DELAY_S * self._consecutive_failures
            session.ending.wait(min(delay_s, _MAX_RETRY_DELAY_S))
            return
        self._consecutive_failures = 0
        age_s = self._age_s(frame.stamp_ns)
        self._health.results_published(age_s, pipeline.last_timings_ms["total"])

    def _on_failure(self, error: Exception) -> None:
        self._consecutive_failures += 1
        if self._consecutive_failures == 1:
            self.publishers.clear()
        text = str(error) if isinstance(error, PerceptionError) else f"unexpected: {error!r}"
        self._health.step_failed(text)
        self._state_logger.update("engine", Level.ERROR, f"failing: {text}", text)
        if not isinstance(error, PerceptionError):
            self._node.get_logger().debug(traceback.format_exc())

    def _age_s(self, stamp: int) -> float:
        return float(self._node.get_clock().now().nanoseconds - stamp) * 1e-9


class _Session:
    """The subscriptions and the worker from one `Perceiver.start` to the next `stop`."""

    def __init__(self, perceiver: Perceiver) -> None:
        self.ending = threading.Event()
        node, self._node = perceiver._node, perceiver._node
        self.worker: Worker[Clip] = Worker(
            lambda clip: perceiver.on_clip(clip, self),
            on_idle=perceiver.on_idle,
            idle_after_s=_CLEAR_AFTER_S,
        )
        self.worker.start()
        self._subscriptions = [
            subscribe_to_camera_info(node, perceiver.info_topic, perceiver.calibration.receive),
            subscribe_to_images(
                node,
                perceiver._image_type,
                perceiver.image_topic,
                lambda msg: perceiver.on_image(msg, self),
                lambda count: perceiver._health.images_dropped("lost in transport", count),
            ),
        ]

    def stop(self) -> None:
        """Unsubscribe and end the worker; one that does not return is left running."""
        self.ending.set()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        if not self.worker.stop():
            self._node.get_logger().error("the engine does not return; its result is discarded")


def _gpu_memory() -> dict[str, str]:
    """GPU memory that PyTorch has allocated; empty if it is not loaded or has no GPU."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"GPU memory (MiB)": f"{torch.cuda.memory_allocated() / 2**20:.0f}"}


def _header(frame: Frame) -> Header:
    """The header of the frame's image."""
    header = Header(frame_id=frame.frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    return header
