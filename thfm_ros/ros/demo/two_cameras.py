# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A demo of two cameras: one rendered scene, two perception nodes, and the fusion node.

    python -m thfm_ros.ros.demo.two_cameras --out DIR

This process replays both views with common stamps over ROS topics and collects what the three
other processes publish. It writes DIR/two_cameras.mp4 and DIR/two_cameras.png: both views with the
fused skeletons, and a plan of the floor.
"""

import argparse
import array
import logging
import os
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from thfm_ros.contract import PerceptionError
from thfm_ros.media.images import write_image
from thfm_ros.media.video import Video
from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.read_bodies import perception_from_bodies
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.demo.command import NODE, ChildProcess, DemoError
from thfm_ros.ros.demo.two_camera_panels import Moment, View, panel, read_views
from thfm_ros.ros.to_msg.camera_info import camera_info_from_intrinsics

logger = logging.getLogger("demo")

FUSION_NODE = "thfm_ros.ros.fusion_node"
SETUP_TIMEOUT_S = 300.0  # until the engines are built
WORLD = "map"
_RATE_HZ = 10.0
_WARMUP_TIMEOUT_S, _ANSWER_TIMEOUT_S = 0.5, 10.0  # for the people of one frame


class Replay(Node):
    """Publishes both views, and collects fused people and those of each camera by stamp."""

    def __init__(self, views: Sequence[View]) -> None:
        super().__init__("two_cameras")
        qos = QoSProfile(depth=1)
        self._views = views
        self._images = [self.create_publisher(Image, f"/{v.name}/image", qos) for v in views]
        self._infos = [
            self.create_publisher(CameraInfo, f"/{v.name}/camera_info", qos) for v in views
        ]
        self.frames = [[image.rgb for image in Video(view.film)] for view in views]
        self.index_of: dict[int, int] = {}  # of the frame of the newest pass, by stamp
        self._stamp_ns = self.get_clock().now().nanoseconds
        self.fused: dict[int, Any] = {}
        self.single: dict[str, dict[int, Any]] = {view.name: {} for view in views}
        self.create_subscription(BodyArray, "/fusion/bodies", self._on_fused, 20)
        for view in views:
            store = self.single[view.name]

            def receive(msg: BodyArray, store: dict[int, Any] = store) -> None:
                perception = perception_from_bodies(msg)
                store[perception.stamp_ns] = perception

            self.create_subscription(BodyArray, f"/{view.name}/thfm/bodies", receive, 20)

    def _on_fused(self, msg: BodyArray) -> None:
        perception = perception_from_bodies(msg)
        self.fused[perception.stamp_ns] = perception

    def publish(self, index: int) -> None:
        """Both cameras take frame ``index``, a period after the one before by their stamps."""
        self._stamp_ns = stamp_ns = self._stamp_ns + round(1e9 / _RATE_HZ)
        self.index_of[stamp_ns] = index
        stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        for number, view in enumerate(self._views):
            header = Header(stamp=stamp, frame_id=f"{view.name}_optical")
            rgb = self.frames[number][index]
            height, width = rgb.shape[:2]
            image = Image(
                header=header, height=height, width=width, encoding="rgb8", step=3 * width
            )
            image.data = array.array("B", rgb.tobytes())
            self._infos[number].publish(camera_info_from_intrinsics(view.intrinsics, header))
            self._images[number].publish(image)

    @property
    def is_answered(self) -> bool:
        """Whether there are people of both cameras at the newest stamp, and fused ones."""
        stores = [self.fused, *self.single.values()]
        return all(self._stamp_ns in store for store in stores)

    def moments(self) -> list[Moment]:
        """What was fused of the newest pass of the scene, in its order."""
        newest = {self.index_of[s]: s for s in sorted(self.fused) if s in self.index_of}
        return [
            Moment(
                images=[frames[index] for frames in self.frames],
                fused=self.fused[stamp],
                single={name: store.get(stamp) for name, store in self.single.items()},
                index=index,
            )
            for index, stamp in sorted(newest.items())
        ]


def _children(views: Sequence[View], log: Path) -> list[ChildProcess]:
    log.mkdir(parents=True, exist_ok=True)
    children = [
        ChildProcess(
            view.name,
            NODE,
            [
                *("--ros-args", "-r", f"__ns:=/{view.name}"),
                *("-p", "publish_tf:=false", "-p", "humans_namespace:=''"),
            ],
            log / f"{view.name}.txt",
        )
        for view in views
    ]
    inputs = ", ".join(f"'/{view.name}/thfm/bodies'" for view in views)
    poses = ", ".join(f"'{view.name}_optical {view.pose_text()}'" for view in views)
    arguments = ["--ros-args", "-p", f"inputs:=[{inputs}]", "-p", f"camera_poses:=[{poses}]"]
    arguments += ["-p", f"target_frame:={WORLD}"]
    return [*children, ChildProcess("fusion", FUSION_NODE, arguments, log / "fusion.txt")]


def _play(replay: Replay, children: Sequence[ChildProcess]) -> None:
    """Repeat the scene until people of both cameras are fused, then play it once more.

    Raises:
        DemoError: a process failed, or nothing was fused in time.
    """
    length = min(len(frames) for frames in replay.frames)
    deadline = time.monotonic() + SETUP_TIMEOUT_S
    while not all([replay.fused, *replay.single.values()]):
        if time.monotonic() > deadline:
            raise DemoError(f"nothing was fused in {SETUP_TIMEOUT_S:.0f} s; see the logs")
        _play_once(replay, children, length, _WARMUP_TIMEOUT_S)
    _play_once(replay, children, length, _ANSWER_TIMEOUT_S)


def _play_once(
    replay: Replay, children: Sequence[ChildProcess], length: int, timeout_s: float
) -> None:
    """One pass, at the pace of the nodes: a slow machine shows every frame, too."""
    replay.index_of.clear()
    for index in range(length):
        began = time.monotonic()
        replay.publish(index)
        while (waited_s := time.monotonic() - began) < timeout_s:
            if replay.is_answered and waited_s >= 1 / _RATE_HZ:
                break
            rclpy.spin_once(replay, timeout_sec=0.02)
        for child in children:
            if failure := child.failure():
                raise DemoError(failure)


def _write(moments: Sequence[Moment], views: Sequence[View], out: Path) -> None:
    panels = [panel(moment, views) for moment in moments]
    with VideoWriter(out / "two_cameras.mp4", _RATE_HZ) as video:
        for image in panels:
            video.write(image)
    # The beginning still shows people of the pass before, who stand elsewhere.
    rows = [panels[round(i)] for i in np.linspace(len(panels) // 3, len(panels) - 1, 3)]
    write_image(out / "two_cameras.png", np.vstack(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if people of both cameras were fused."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    parser.add_argument(
        "--scene", type=Path, help="a scene of thfm_ros.synth.camera_rig; default: the shipped one"
    )
    parser.add_argument("--cameras", nargs="+", default=["front", "right"], metavar="NAME")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    children: list[ChildProcess] = []
    try:
        scene = options.scene or Path(str(files("thfm_ros") / "clips" / "two_cameras"))
        views = read_views(scene, options.cameras)
        out = options.out.resolve()
        children = _children(views, out / "log")
        prepare_ros_environment()
        rclpy.init()
        replay = Replay(views)
        logger.info("Playing %s through %d perception nodes ...", scene, len(views))
        _play(replay, children)
        moments = replay.moments()
        _write(moments, views, out)
        people = {body.id for moment in moments for body in moment.fused.bodies}
        logger.info("%d moments, %d ids of people", len(moments), len(people))
        logger.info("  %s\n  %s", out / "two_cameras.mp4", out / "two_cameras.png")
        return 0
    except (PerceptionError, OSError) as error:
        logger.error("ERROR: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("Interrupted.")
        return 130
    finally:
        for child in reversed(children):
            child.stop()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
