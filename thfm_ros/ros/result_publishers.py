# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All publishers of results.

A topic is offered if the checkpoint has the task it needs. A topic without subscribers costs
nothing: its task is not estimated and its message is not made.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

from rclpy.node import Node
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Perception, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.msg import LabelMap, SkeletonInfo
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.qos import LATCHED, LATEST, create_publisher, has_subscribers
from thfm_ros.ros.rep155.publisher import HumansPublisher, check_namespace
from thfm_ros.ros.shared_data import publish
from thfm_ros.ros.target_publisher import TargetPublisher
from thfm_ros.ros.to_msg.headers import header_at
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.to_msg.labels import label_info, label_map, skeleton_info
from thfm_ros.ros.topics import NO_TASKS, FrameResult, Topic, result_topics
from thfm_ros.ros.transform import TargetFrame

Predict: TypeAlias = Callable[[Perception, int], Perception]
"""See loading.Pipeline.predicted."""
Paint: TypeAlias = Callable[[], Perception]
"""See loading.Pipeline.painter."""


class ResultPublishers:
    """Publishes the results of each frame. Made when the node is configured; then used by the
    worker's thread only, but for the maps; see `publish`.

    Raises:
        PerceptionError: target_frame is set and tf2_ros is not installed, or humans_namespace is
            not a valid name.
    """

    def __init__(self, node: Node, card: ModelCard, config: Config) -> None:
        settings, available = config.node, frozenset(card.tasks)
        check_namespace(settings.humans_namespace)
        self._node, self._card, self._config = node, card, config
        self._target_frame = None
        if settings.target_frame:
            self._target_frame = TargetFrame(
                node, settings.target_frame, settings.transform_timeout_s
            )
        self._markers = BodyMarkers(ros_message)
        self._topics = [
            (topic, create_publisher(node, topic.kind, f"~/{topic.name}", LATEST))
            for topic in result_topics(config, self._markers)
            if topic.is_available(available)
        ]
        has_bodies = Task.BODIES in available
        self._humans = HumansPublisher(node, settings) if has_bodies else None
        self.target = TargetPublisher(node, config) if has_bodies else None
        self._latched = self._latched_publishers(available)
        self._requested: list[tuple[Topic, Any]] = []
        self._humans_requested = False

    @property
    def bodies_problem(self) -> str:
        """Why bodies are not published; empty if they are."""
        return self._target_frame.problem if self._target_frame else ""

    @property
    def rep155_values(self) -> dict[str, str]:
        """What is published of REP-155, for diagnostics."""
        return dict(self._humans.diagnostic_values) if self._humans else {}

    @property
    def requested(self) -> tuple[tuple[Topic, Any], ...]:
        """The topics for which `update_requested` found subscribers, with their publishers."""
        return tuple(self._requested)

    def requested_tasks(self, active: frozenset[Task]) -> frozenset[Task]:
        """The tasks of ``active`` that the topics with subscribers need. Any thread may call it."""
        return self._tasks_of(self._topics_with_subscribers(active), active)

    def update_requested(self, active: frozenset[Task]) -> frozenset[Task]:
        """Publish on the topics that have subscribers now; the tasks of ``active`` they need."""
        self._requested = self._topics_with_subscribers(active)
        tasks = self._tasks_of(self._requested, active)
        # Once bodies are estimated, REP-155's topics cost little, and subscribers find the topics
        # of a body only when they exist.
        were_requested = self._humans_requested
        self._humans_requested = self._humans is not None and Task.BODIES in tasks
        if self._humans and were_requested and not self._humans_requested:
            self._humans.clear(self._header_now())
        return tasks

    def _topics_with_subscribers(self, active: frozenset[Task]) -> list[tuple[Topic, Any]]:
        return [
            (topic, publisher)
            for topic, publisher in self._topics
            if topic.is_available(active) and has_subscribers(publisher)
        ]

    def _tasks_of(
        self, requested: list[tuple[Topic, Any]], active: frozenset[Task]
    ) -> frozenset[Task]:
        tasks = NO_TASKS.union(*(t.requires | t.optional for t, _ in requested)) & active
        of_bodies = self._humans is not None and self._humans.has_subscribers()
        of_bodies |= self.target is not None and self.target.have_subscribers
        return tasks | {Task.BODIES} & active if of_bodies else tasks

    def publish(
        self, result: FrameResult, predict: Predict, paint: Paint
    ) -> Callable[[], None] | None:
        """Publish bodies and what is derived from them, for the subscribers that `update_requested`
        found.

        With ``predict_to`` "now" they are predicted by ``predict`` and stamped with the time
        predicted to; all else keeps the image's stamp. ``paint`` gives the perception its maps.

        Returns:
            Paints and publishes the maps; for any thread, one call at a time. None: they have no
            subscriber.
        """
        in_target_frame = self._transformed(result, predict)
        for topic, publisher in self._requested:
            content = in_target_frame if topic.in_target_frame else result
            if content and not topic.is_map:
                _publish(topic, publisher, content)
        if self._humans and self._humans_requested and in_target_frame:
            in_image = (result.perception, result.header)
            self._humans.publish(
                in_target_frame.perception, result.rgb, in_target_frame.header, in_image
            )
        if self.target and self._humans_requested:
            pose = (in_target_frame.perception, in_target_frame.header) if in_target_frame else None
            self.target.publish(result.perception, pose)
        maps = [each for each in self._requested if each[0].is_map]
        return partial(_publish_maps, maps, result, paint) if maps else None

    def publish_latched(self, config: Config) -> None:
        """Publish the descriptions of skeleton and labels under this configuration."""
        self._config = config
        if self.target:
            self.target.selector.config = config.follow
        for publisher, make in self._latched:
            publisher.publish(make(self._header_now()))

    def clear(self) -> None:
        """Remove markers, tf frames and REP-155 bodies: there is no current detection."""
        for topic, publisher in self._topics:
            if topic.name == "markers":
                publisher.publish(self._markers.clear(self._header_now()))
        if self._humans:
            self._humans.clear(self._header_now())
        if self.target:
            self.target.clear(self._header_now())

    def clear_transforms(self) -> None:
        """Discard buffered transforms after time went backwards, which tf does not detect."""
        if self._target_frame:
            self._target_frame.clear()

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in [*(p for _, p in self._topics), *(p for p, _ in self._latched)]:
            self._node.destroy_publisher(publisher)
        if self._humans:
            self._humans.close()
        if self.target:
            self.target.close()
        if self._target_frame:
            self._target_frame.close()

    def _transformed(self, result: FrameResult, predict: Predict) -> FrameResult | None:
        """The result with bodies in target_frame, at the time that predict_to says.

        None if the transform is not known.
        """
        needed = self._humans_requested or any(t.in_target_frame for t, _ in self._requested)
        perception, predicted = result.perception, None
        if needed and result.config.node.predict_to == "now":
            predicted = predict(perception, self._node.get_clock().now().nanoseconds)
        if self._target_frame is None or not needed:
            if predicted is None:
                return result
            header = header_at(predicted.stamp_ns, result.header.frame_id)
            return replace(result, perception=predicted, header=header)
        transformed = self._target_frame.transform(perception, result.header, predicted)
        if transformed is None:
            return None
        return replace(result, perception=transformed[0], header=transformed[1])

    def _latched_publishers(
        self, available: frozenset[Task]
    ) -> list[tuple[Any, Callable[[Header], Any]]]:
        """Latched publishers, each with the function that makes its message."""
        try:
            vision_msgs: Any = import_module("vision_msgs.msg")
        except ImportError:  # only in an apt installation; LabelMap has the same content
            vision_msgs = None
        latched: list[tuple[Any, Callable[[Header], Any]]] = []

        def add(topic: str, kind: type, make: Callable[[Header], Any]) -> None:
            latched.append((create_publisher(self._node, kind, f"~/{topic}", LATCHED), make))

        if Task.BODIES in available:
            add("skeleton_info", SkeletonInfo, partial(skeleton_info, self._card))
        for task in (Task.SEGMENTATION, Task.PARTS):
            if task in available:
                add(f"{task.value}/labels", LabelMap, partial(self._labels, task))
            if task in available and vision_msgs:
                as_label_info = partial(self._labels, task, vision_msgs=vision_msgs)
                add(f"{task.value}/label_info", vision_msgs.LabelInfo, as_label_info)
        return latched

    def _labels(self, task: Task, header: Header, vision_msgs: Any = None) -> Any:
        threshold = self._config.decode.mask_threshold
        if vision_msgs is None:
            return label_map(task, self._card, threshold, header)
        return label_info(task, self._card, threshold, header, vision_msgs)

    def _header_now(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg())


def _publish_maps(topics: list[tuple[Topic, Any]], result: FrameResult, paint: Paint) -> None:
    result = replace(result, perception=paint())
    for topic, publisher in topics:
        _publish(topic, publisher, result)


def _publish(topic: Topic, publisher: Any, result: FrameResult) -> None:
    message = topic.make(result)
    if message is not None:
        publish(publisher, message)
