"""The way of an image through the node: converted and pushed here, perceived by the worker.

`Perceiver` exists while the node is configured. The subscription's thread converts, pushes into
the window and hands the clip over, nothing else; the worker takes the newest clip, has the tasks
estimated that somebody subscribes to, and publishes.
"""

import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, PerceptionError, Task
from thfm_ros.loading import Pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.ros.calibration import Calibration
from thfm_ros.ros.diagnostics import Announcer
from thfm_ros.ros.from_msg import (
    BadInputError,
    rgb_from_compressed,
    rgb_from_image,
    stamp_ns,
)
from thfm_ros.ros.health import Health, Level, Situation
from thfm_ros.ros.result_publishers import Outputs
from thfm_ros.ros.subscriptions import (
    image_source,
    input_topics,
    subscribe_to_images,
    subscribe_to_info,
)
from thfm_ros.ros.topics import Scene
from thfm_ros.ros.worker import Worker

_PAUSE_S = (0.1, 2.0)  # after a failed step: first, and at most
_SILENCE_S = 1.0  # without an image, nobody is said to be there any more


class Perceiver:
    """Images in, results out, from `start` to `stop`; what it was built from stays for another.

    Raises:
        PerceptionError: something that the configuration asks for is not there.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        health: Health,
        announcer: Announcer,
    ) -> None:
        self._node, self._health, self._announcer = node, health, announcer
        self._pipeline = pipeline
        config = pipeline.config
        self.outputs = Outputs(node, pipeline.engine.card, config)
        self.available = frozenset(pipeline.engine.card.tasks)
        self.active = frozenset(Task(task) for task in config.node.tasks) & self.available
        self.wanted: frozenset[Task] = frozenset()
        compressed = config.node.image_transport == "compressed"
        self._kind: type = CompressedImage if compressed else Image
        self.image_topic, self.info_topic = input_topics(node, config.node.image_transport)
        self.calibration = Calibration(self.image_topic, self.info_topic)
        self.window = FrameWindow(config.window)
        self._running: _Running | None = None
        self._failures = 0
        self._newest_ns = 0  # stamp of the newest image
        self._unwanted_ns: int | None = None  # since when nobody listens, by the images' stamps
        self._one_step = threading.Lock()  # a worker that was left behind may still hold it
        self.outputs.announce(config)

    @property
    def config(self) -> Config:
        """What is in effect."""
        return self._pipeline.config

    def start(self) -> None:
        """Subscribe and perceive."""
        if self._running is None:
            self._health.begin()
            self.window.reset("activated")
            self._running = _Running(self)

    def stop(self) -> None:
        """Finish the frame in hand, unsubscribe, and take markers away."""
        if self._running is not None:
            self._running.stop()
            self._running = None
            self.wanted = frozenset()
            self._health.idle()
            self.outputs.clear()

    def close(self) -> None:
        """Stop, and give all topics back."""
        self.stop()
        self.outputs.close()

    def reset(self) -> None:
        """Forget everybody and begin a new stream with the next image."""
        self.window.reset("~/reset")

    def choose(self, tasks: frozenset[Task]) -> None:
        """Estimate these and no others from now on."""
        self.active = tasks
        self.outputs.announce(self.config)

    def tasks_from(self, names: Sequence[str]) -> frozenset[Task]:
        """Tasks by name or by prompt.

        Raises:
            PerceptionError: one of them is not known, or not known to this checkpoint.
        """
        card = self._pipeline.engine.card
        by_name = {task.value: task for task in self.available}
        by_name |= {
            card.prompts[name].lower(): by_name[name] for name in by_name if name in card.prompts
        }
        able = ", ".join(sorted(task.value for task in self.available))
        if not names:
            raise PerceptionError(
                f"No task was named. {card.name} can: {able}. To pause: ~/enable."
            )
        unknown = [name for name in names if name.strip().lower() not in by_name]
        if unknown:
            raise PerceptionError(
                f"{card.name} has no task {unknown[0]!r}; it can: {able} (or their prompts). "
                "Nothing was changed."
            )
        return frozenset(by_name[name.strip().lower()] for name in names)

    def situation(self, state: str, enabled: bool) -> Situation:
        """What diagnostics want to know, from any thread."""
        window = self.window
        return Situation(
            state=state,
            enabled=enabled,
            image_source=image_source(self._node, self.image_topic, self._kind)
            if state == "active"
            else "",
            wanted=tuple(sorted(task.value for task in self.wanted)),
            calibration_trouble=self.calibration.trouble,
            calibration_note=self.calibration.note,
            window={
                "fill": f"{window.fill} of {self.config.window.length} frames",
                "stream": str(window.epoch),
                "began": window.why,
            },
            engine=self._engine_values(),
            bodies=self.outputs.about_humans,
            bodies_trouble=self.outputs.trouble,
        )

    def _engine_values(self) -> dict[str, str]:
        """About the engine, for diagnostics."""
        engine = self._pipeline.engine
        timings = dict(self._pipeline.last_timings_ms)
        return {
            "runs on": engine.description,
            "checkpoint": engine.card.name,
            "tasks": ", ".join(sorted(task.value for task in self.available)),
            **{f"last {stage} (ms)": f"{ms:.1f}" for stage, ms in timings.items()},
            **_gpu_memory(),
        }

    def apply(self, config: Config) -> None:
        """Let another configuration take effect, with the same engine; tracks begin anew."""
        window = self.config.window
        self._pipeline = self._pipeline.with_config(config)
        if self.config.window != window:
            self.window = FrameWindow(self.config.window)
        self.outputs.announce(config)

    def receive(self, msg: Image | CompressedImage, running: "_Running") -> None:
        """One image, in the subscription's thread."""
        stamp = stamp_ns(msg)
        raw = isinstance(msg, Image)
        shape = f"{msg.width}x{msg.height} {msg.encoding}" if raw else f"{msg.format}"
        self._health.received(self._age_s(stamp), shape, has_stamp=stamp != 0)
        try:
            rgb = rgb_from_image(msg) if raw else rgb_from_compressed(msg)
        except BadInputError as error:
            self._health.refused(error.cause, str(error))
            self._announcer.say("input", Level.ERROR, f"refused {error.cause}", str(error))
            return
        height, width = rgb.shape[:2]
        frame_id = msg.header.frame_id
        intrinsics = self.calibration.for_image(frame_id, width, height)
        before = self.window.epoch
        clip = self.window.push(Frame(rgb, stamp, frame_id, intrinsics))
        if clip is None:
            self._health.dropped("repeated stamp")
            return
        if stamp < self._newest_ns:
            self.outputs.forget_transforms()
        self._newest_ns = stamp
        self._health.accepted(began_stream=clip.epoch != before)
        self._health.handed_over()
        if running.worker.put(clip):
            self._health.dropped("overtaken by a newer image")

    def perceive(self, clip: Clip, running: "_Running") -> None:
        """One clip, in the worker's thread."""
        with self._one_step:
            if not running.ending.is_set():
                self._step(clip, running)

    def rest(self) -> None:
        """No image for a while, in the worker's thread: whoever was there is not known to be."""
        with self._one_step:
            self.outputs.clear()

    def _step(self, clip: Clip, running: "_Running") -> None:
        self.wanted = self.outputs.wanted(self.active)
        pipeline, frame = self._pipeline, clip.newest
        if not self.wanted:
            self._health.idle()
            self._unwanted_ns = self._unwanted_ns or frame.stamp_ns
            return
        unwanted_ns, self._unwanted_ns = self._unwanted_ns, None
        if unwanted_ns and frame.stamp_ns - unwanted_ns > pipeline.config.track.lost_for_s * 1e9:
            pipeline.reset()  # others may have come meanwhile
        try:
            seen = pipeline.step(clip, self.wanted)
            if running.ending.is_set():
                return
            self.outputs.publish(Scene(seen, frame.rgb, _header(frame), pipeline.config))
        except Exception as error:
            self._failed(error)
            # The input goes on meanwhile, so whoever recovers begins with the newest.
            running.ending.wait(min(_PAUSE_S[0] * self._failures, _PAUSE_S[1]))
            return
        self._failures = 0
        self._health.result(self._age_s(frame.stamp_ns), pipeline.last_timings_ms["total"])

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            self.outputs.clear()
        text = str(error) if isinstance(error, PerceptionError) else f"unexpected: {error!r}"
        self._health.failed(text)
        self._announcer.say("engine", Level.ERROR, f"failing: {text}", text)
        if not isinstance(error, PerceptionError):
            self._node.get_logger().debug(traceback.format_exc())

    def _age_s(self, stamp: int) -> float:
        return float(self._node.get_clock().now().nanoseconds - stamp) * 1e-9


class _Running:
    """The subscriptions and the worker of one activity."""

    def __init__(self, perceiver: Perceiver) -> None:
        self.ending = threading.Event()
        node, self._node = perceiver._node, perceiver._node
        self.worker: Worker[Clip] = Worker(
            lambda clip: perceiver.perceive(clip, self),
            rest=perceiver.rest,
            rest_after_s=_SILENCE_S,
        )
        self.worker.start()
        self._subscriptions = [
            subscribe_to_info(node, perceiver.info_topic, perceiver.calibration.receive),
            subscribe_to_images(
                node,
                perceiver._kind,
                perceiver.image_topic,
                lambda msg: perceiver.receive(msg, self),
                lambda count: perceiver._health.dropped("lost in transport", count),
            ),
        ]

    def stop(self) -> None:
        """End; a step that hangs is left behind after a while."""
        self.ending.set()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        if not self.worker.stop():
            self._node.get_logger().error("the engine hangs: its last step is left behind")


def _gpu_memory() -> dict[str, str]:
    """What PyTorch holds of a GPU; nothing where it was not loaded or has no GPU."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"GPU memory (MiB)": f"{torch.cuda.memory_allocated() / 2**20:.0f}"}


def _header(frame: Frame) -> Header:
    """The header that the frame's image had."""
    header = Header(frame_id=frame.frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    return header
