"""The publishers of results.

A topic whose task the checkpoint does not have is not offered; one that nobody subscribes to
costs nothing, neither here nor in the network.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Task
from thfm_ros.model.card import ModelCard
from thfm_ros.msg import LabelMap, SkeletonInfo
from thfm_ros.ros.qos import LATCHED, NEWEST, has_listener, publisher
from thfm_ros.ros.rep155.publisher import Humans, check_namespace
from thfm_ros.ros.to_msg.labels import label_info, label_map, skeleton_info
from thfm_ros.ros.to_msg.markers import BodyMarkers
from thfm_ros.ros.topics import NO_TASKS, Scene, Topic, topics
from thfm_ros.ros.transform import IntoFrame


class Outputs:
    """Every publisher of results. Made at configure; then only the worker's thread uses it.

    Raises:
        PerceptionError: target_frame is set and tf2_ros is not installed, or humans_namespace is
            no name.
    """

    def __init__(self, node: Node, card: ModelCard, config: Config) -> None:
        settings, available = config.node, frozenset(card.tasks)
        check_namespace(settings.humans_namespace)
        self._node, self._card, self._config = node, card, config
        self._into = None
        if settings.target_frame:
            self._into = IntoFrame(node, settings.target_frame, settings.transform_timeout_s)
        self._markers = BodyMarkers()
        self._topics = [
            (topic, publisher(node, topic.kind, f"~/{topic.name}", NEWEST))
            for topic in topics(config, self._markers)
            if topic.offered(available)
        ]
        self._humans = Humans(node, settings) if Task.BODIES in available else None
        self._latched = self._meanings(available)
        self._asked: list[tuple[Topic, Any]] = []
        self._humans_asked = False

    @property
    def trouble(self) -> str:
        """Why bodies are held back, if they are."""
        return self._into.trouble if self._into else ""

    @property
    def about_humans(self) -> dict[str, str]:
        """How much of REP-155 there is, for diagnostics."""
        return dict(self._humans.about) if self._humans else {}

    def wanted(self, active: frozenset[Task]) -> frozenset[Task]:
        """The tasks, of those that are active, that some subscriber waits for."""
        self._asked = [
            (topic, to) for topic, to in self._topics if topic.offered(active) and has_listener(to)
        ]
        tasks = NO_TASKS.union(*(topic.needs | topic.uses for topic, _ in self._asked)) & active
        humans = self._humans if Task.BODIES in active else None
        # Once bodies are computed for anybody, REP-155's topics cost next to nothing, and being
        # there is how their readers find them.
        asked_before = self._humans_asked
        self._humans_asked = humans is not None and (Task.BODIES in tasks or humans.needed())
        if self._humans and asked_before and not self._humans_asked:
            self._humans.clear(self._now())
        return tasks | {Task.BODIES} if self._humans_asked else tasks

    def publish(self, scene: Scene) -> None:
        """Publish what `wanted` found subscribers for."""
        spatial = self._in_space(scene)
        for topic, to in self._asked:
            about = spatial if topic.in_space else scene
            message = topic.make(about) if about else None
            if message is not None:
                to.publish(message)
        if self._humans and self._humans_asked and spatial:
            self._humans.publish(spatial.seen, spatial.rgb, spatial.header)

    def announce(self, config: Config) -> None:
        """Publish what is latched: what joints and labels mean with this configuration."""
        self._config = config
        for to, make in self._latched:
            to.publish(make(self._now()))

    def clear(self) -> None:
        """Take away what viewers keep on showing: nobody is seen any more."""
        for topic, to in self._topics:
            if topic.name == "markers":
                to.publish(self._markers.clear(self._now()))
        if self._humans:
            self._humans.clear(self._now())

    def forget_transforms(self) -> None:
        """Time went back, which tf's buffer would not notice."""
        if self._into:
            self._into.forget()

    def close(self) -> None:
        """Give all topics back."""
        for to in [*(to for _, to in self._topics), *(to for to, _ in self._latched)]:
            self._node.destroy_publisher(to)
        if self._humans:
            self._humans.close()
        if self._into:
            self._into.close()

    def _in_space(self, scene: Scene) -> Scene | None:
        """The scene with its bodies in target_frame; None while that is not known."""
        asked = self._humans_asked or any(topic.in_space for topic, _ in self._asked)
        if self._into is None or not asked:
            return scene
        found = self._into.move(scene.seen, scene.header)
        return None if found is None else replace(scene, seen=found[0], header=found[1])

    def _meanings(self, available: frozenset[Task]) -> list[tuple[Any, Callable[[Header], Any]]]:
        """Latched publishers, and what they say."""
        try:
            vision_msgs: Any = import_module("vision_msgs.msg")
        except ImportError:  # it comes with an apt installation; LabelMap says the same
            vision_msgs = None
        latched: list[tuple[Any, Callable[[Header], Any]]] = []

        def offer(topic: str, kind: type, make: Callable[[Header], Any]) -> None:
            latched.append((publisher(self._node, kind, f"~/{topic}", LATCHED), make))

        if Task.BODIES in available:
            offer("skeleton_info", SkeletonInfo, partial(skeleton_info, self._card))
        for task in (Task.SEGMENTATION, Task.PARTS):
            if task in available:
                offer(f"{task.value}/labels", LabelMap, partial(self._labels, task))
            if task in available and vision_msgs:
                twin = partial(self._labels, task, vision_msgs=vision_msgs)
                offer(f"{task.value}/label_info", vision_msgs.LabelInfo, twin)
        return latched

    def _labels(self, task: Task, header: Header, vision_msgs: Any = None) -> Any:
        threshold = self._config.decode.mask_threshold
        if vision_msgs is None:
            return label_map(task, self._card, threshold, header)
        return label_info(task, self._card, threshold, header, vision_msgs)

    def _now(self) -> Header:
        return Header(stamp=self._node.get_clock().now().to_msg())
