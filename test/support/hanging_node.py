# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The perception node whose engine hangs inside a library: `python -m hanging_node`.

An image is handed to it as soon as it is active, and it sends itself SIGINT while the step hangs.
With HANGING=search it hangs in a thread of its own, as a detection pass does.
"""

import array
import ctypes
import os
import signal
from typing import Any

import numpy as np
from fake_engine import FakeEngine, Person, camera, image
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import Image

from thfm_ros.config import Config
from thfm_ros.contract import Task
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node, node_process
from thfm_ros.ros.worker import Worker

CAMERA = camera(320, 240, focal=250.0)
IN_SEARCH = os.environ.get("HANGING") == "search"


class HangingEngine(FakeEngine):
    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        if not IN_SEARCH:
            hang()
        BackgroundTask(hang, "search")
        return super().step(crop, state, dense=dense, target_box=target_box)


def hang() -> None:
    """Sleep in C, without the interpreter's lock."""
    ctypes.CDLL(None).sleep(600)


def load(config: Config, *, live: bool, used_ids: set[str]) -> PerceptionPipeline:
    """Replaces load_pipeline."""
    engine = HangingEngine(CAMERA, lambda: [Person(0.0, 0.0, 3.0)])
    return PerceptionPipeline(engine, config, live=live, used_ids=used_ids)


class NodeWithAnImage(node.PerceptionNode):
    """Receives an image without DDS, and has a subscriber."""

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        perceiver = self._perceiver
        assert perceiver is not None and perceiver._session is not None
        vars(perceiver.publishers)["update_requested"] = lambda active: frozenset({Task.BODIES})
        message = Image(height=240, width=320, encoding="rgb8", step=3 * 320)
        message.header.stamp.sec = 1
        message.data = array.array("B", np.ascontiguousarray(image(CAMERA)).tobytes())
        perceiver.on_image(message, perceiver._session)
        return result


if __name__ == "__main__":
    Worker.stop.__defaults__ = (0.2,)  # how long it waits does not matter
    vars(node_process)["_TASKS_TIMEOUT_S"] = 0.2
    vars(node)["load_pipeline"] = load
    node_process.run(NodeWithAnImage)
