# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`publish_camera_images: false`: nothing that is published depends on the camera's pixels."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from perceived import a_body, a_perception, an_image
from std_msgs.msg import Header

from thfm_ros.config import Config, config_from
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.rep155 import body_topics
from thfm_ros.ros.rep155.body_topics import BodyTopics
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.topics import FrameResult, result_topics


def messages(config: Config, rgb: np.ndarray) -> dict[str, str]:
    """What each topic would publish of one perception, by its name."""
    result = FrameResult(a_perception(a_body()), rgb, Header(frame_id="camera"), config)
    made = {
        topic.name: topic.make(result) for topic in result_topics(config, BodyMarkers(ros_message))
    }
    return {name: str(bytes(each.data) if hasattr(each, "data") else each)
            for name, each in made.items() if each is not None}  # fmt: skip


def changed(config: Config) -> set[str]:
    """The topics whose messages differ between two images with the same people."""
    dark, bright = np.zeros_like(an_image()), np.full_like(an_image(), 200)
    first, second = messages(config, dark), messages(config, bright)
    assert first.keys() == second.keys() and {"bodies", "points", "depth/image"} <= first.keys()
    return {name for name in first if first[name] != second[name]}


def test_only_overlay_and_points_show_pixels_of_the_camera() -> None:
    assert changed(Config()) == {"overlay", "points"}


@pytest.mark.parametrize("with_normals", [False, True])
def test_no_topic_depends_on_pixels_of_the_camera_without_camera_images(with_normals: bool) -> None:
    settings = {"publish_camera_images": False, "points_with_normals": with_normals}
    config = config_from(settings)
    assert changed(config) == set()
    assert "overlay" not in {
        topic.name for topic in result_topics(config, BodyMarkers(ros_message))
    }


@pytest.mark.parametrize("with_crops", [False, True])
def test_people_are_cropped_for_rep155_only_with_camera_images(
    monkeypatch: pytest.MonkeyPatch, with_crops: bool
) -> None:
    names: list[str] = []

    def create_publisher(node: Any, kind: Any, name: str, qos: Any) -> str:
        names.append(name)
        return name

    monkeypatch.setattr(body_topics, "create_publisher", create_publisher)
    hri: Any = SimpleNamespace(NormalizedRegionOfInterest2D=None, Skeleton2D=None)
    node: Any = None
    BodyTopics(node, "/humans/bodies/abcde", "abcde", hri, with_crops)
    assert ("/humans/bodies/abcde/cropped" in names) is with_crops
    assert "/humans/bodies/abcde/joint_states" in names
