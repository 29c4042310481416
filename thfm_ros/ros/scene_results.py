# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Publishes the maps of a scene network that runs beside nano, with their own stamps."""

from collections.abc import Callable
from dataclasses import replace

from thfm_ros.config import Config
from thfm_ros.contract import Frame, Perception, Task
from thfm_ros.loading import Pipeline
from thfm_ros.perception.depth_scale import without_jumps
from thfm_ros.ros.result_publishers import ResultPublishers
from thfm_ros.ros.shared_data import publish
from thfm_ros.ros.to_msg.headers import header_of
from thfm_ros.ros.topics import FrameResult, Topic
from thfm_ros.scene_pair import ScenePair

MAX_JUMP = 0.05
"""Points next to a jump of depth by more than this share of it are left out of ~/points."""


def publish_scenes(
    pipeline: Pipeline, publishers: ResultPublishers, active_config: Callable[[], Config | None]
) -> None:
    """From now on, publish the maps of ``pipeline``'s scene network, in its thread.

    Args:
        pipeline: of one network or of two; one needs nothing.
        publishers: of all results.
        active_config: the configuration in effect; None while nothing may be published.
    """
    if not isinstance(pipeline, ScenePair):
        return

    def on_scene(perception: Perception, frame: Frame) -> None:
        config = active_config()
        if config is None:
            return
        result = FrameResult(perception, frame.rgb, header_of(frame), config)
        for topic, publisher in publishers.requested:
            if topic.requires and Task.BODIES not in topic.requires:  # nor the overlay
                message = topic.make(_for(topic, result))
                if message is not None:
                    publish(publisher, message)

    pipeline.on_scene = on_scene


def _for(topic: Topic, result: FrameResult) -> FrameResult:
    """The result for a topic: no points between two surfaces."""
    depth_m = result.perception.depth_m
    if topic.name != "points" or depth_m is None:
        return result
    clean = replace(result.perception, depth_m=without_jumps(depth_m, MAX_JUMP))
    return replace(result, perception=clean)
