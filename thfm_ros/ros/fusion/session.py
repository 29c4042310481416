# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What the configured fusion node does: receive, take into the world, fuse, publish."""

import time
from collections import deque
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64
from rclpy.node import Node
from std_msgs.msg import Header

from thfm_ros.contract import Perception, PerceptionError
from thfm_ros.fusion.rig import WARN, Finding, Rig
from thfm_ros.fusion.settings import FusionNodeSettings, FusionSettings
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.read_bodies import perception_from_bodies
from thfm_ros.ros.component_status import ComponentStatus, Level
from thfm_ros.ros.fusion.camera_poses import CameraPoses, fixed_poses
from thfm_ros.ros.fusion.inputs import BodiesInput, camera_names
from thfm_ros.ros.fusion.outputs import Outputs

_CHECK_PERIOD_S = 0.5  # of the inputs' publishers
_RETRY_PERIOD_S = 0.02  # while messages wait for their transform
_MAX_WAITING = 64  # messages
_SIMULTANEOUS_NS = 20_000_000


@dataclass(frozen=True)
class _Waiting:
    """A message whose transform is not known yet."""

    camera: str
    perception: Perception
    header: Header
    until_s: float  # monotonic


class Session:
    """All that exists while the node is configured. Used by the executor's thread only.

    ``statuses`` are the states of the components as of the last check.

    Raises:
        PerceptionError: a parameter has a value that cannot be used.
    """

    def __init__(
        self,
        node: Node,
        settings: FusionNodeSettings,
        fusion: FusionSettings,
        used_ids: set[str],
    ) -> None:
        self._node, self._settings = node, settings
        self.world = settings.target_frame.strip("/")
        if not self.world:
            raise PerceptionError("target_frame is empty: name the frame of all positions, 'map'.")
        names = camera_names(settings.inputs)
        self.topics = list(names.values())
        self._poses = CameraPoses(node, self.world, fixed_poses(settings.camera_poses))
        self._rig = Rig(fusion, names, self.world, used_ids=used_ids)
        self._outputs = Outputs(node, settings)
        own_hash = self._outputs.type_hash
        self._inputs = {
            name: BodiesInput(node, topic, own_hash, partial(self._receive, name))
            for name, topic in names.items()
        }
        self._waiting: deque[_Waiting] = deque(maxlen=_MAX_WAITING)
        self._published_ns = 0
        self._publish_by_s = 0.0  # monotonic: the end of the wait for other cameras; 0: none
        self._now_ns = 0
        self.statuses: list[ComponentStatus] = []
        self._check_timer = node.create_timer(_CHECK_PERIOD_S, self._check)
        self._retry_timer = node.create_timer(_RETRY_PERIOD_S, self._retry)
        for timer in (self._check_timer, self._retry_timer):
            timer.cancel()  # until it is needed

    def start(self) -> None:
        """Subscribe."""
        self._check()
        self._check_timer.reset()

    def stop(self) -> None:
        """Unsubscribe and remove what viewers show."""
        self._check_timer.cancel()
        self._retry_timer.cancel()
        for each in self._inputs.values():
            each.close()
        self._waiting.clear()
        self._publish_by_s = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget all people."""
        self._rig.reset()
        self._published_ns = 0
        self._outputs.clear()

    def close(self) -> None:
        """Destroy subscriptions, publishers and timers."""
        self.stop()
        self._node.destroy_timer(self._check_timer)
        self._node.destroy_timer(self._retry_timer)
        self._outputs.close()
        self._poses.close()

    def _clock_ns(self) -> int:
        """The node's clock; buffered transforms are discarded when it goes backwards."""
        now_ns = int(self._node.get_clock().now().nanoseconds)
        if now_ns < self._now_ns - 1_000_000_000:
            self._poses.clear()
            self.reset()
        self._now_ns = now_ns
        return now_ns

    def _check(self) -> None:
        for each in self._inputs.values():
            each.check()
        now_s = self._clock_ns() * 1e-9
        self.statuses = [self._status(each) for each in self._rig.findings(now_s)]

    def _status(self, finding: Finding) -> ComponentStatus:
        level, message = Level(finding.level), finding.message
        camera = finding.component.removeprefix("camera ")
        if camera in self._inputs and (problem := self._inputs[camera].problem):
            is_silent = problem.startswith("no node")
            level, message = Level(WARN) if is_silent else Level.ERROR, problem
        # Numbers change from one check to the next, while the state does not.
        text = "".join(letter for letter in message if not letter.isdigit())
        key = text if level is not Level.OK else "good"
        return ComponentStatus(finding.component, level, key, message, finding.values)

    def _receive(self, camera: str, msg: BodyArray) -> None:
        now_ns = self._clock_ns()
        try:
            perception = perception_from_bodies(msg)
        except PerceptionError as error:
            self._rig.refuse(camera, f"{self._inputs[camera].problem or error}", now_ns)
            return
        until_s = time.monotonic() + self._settings.transform_timeout_s
        waiting = _Waiting(camera, perception, msg.header, until_s)
        if not self._use(waiting, now_ns):
            self._waiting.append(waiting)
            self._retry_timer.reset()

    def _retry(self) -> None:
        now_ns = self._clock_ns()
        for _ in range(len(self._waiting)):
            waiting = self._waiting.popleft()
            if self._use(waiting, now_ns):
                continue
            if time.monotonic() < waiting.until_s:
                self._waiting.append(waiting)
            else:
                self._rig.refuse(waiting.camera, self._poses.problem, now_ns)
        if self._publish_by_s:
            self._publish()
        if not self._waiting and not self._publish_by_s:
            self._retry_timer.cancel()

    def _use(self, waiting: _Waiting, now_ns: int) -> bool:
        """Fuse a message and publish; False if its transform is not known."""
        in_world = self._poses.to_world(waiting.perception, waiting.header)
        if in_world is None:
            return False
        perception, centre_m = in_world
        if self._fuse(waiting, perception, centre_m, now_ns):
            self._publish()
        return True

    def _fuse(
        self,
        waiting: _Waiting,
        perception: Perception,
        centre_m: Float64[np.ndarray, "3"],
        now_ns: int,
    ) -> bool:
        frame_id = waiting.header.frame_id.strip("/")
        return self._rig.receive(waiting.camera, frame_id, perception, centre_m, now_ns=now_ns)

    def _publish(self) -> None:
        """Publish the people at the newest stamp, if it is newer than the last one.

        Messages of cameras that take their images together do not arrive together: wait for all.
        """
        state = self._rig.fuser.state
        if state.stamp_ns < self._published_ns - 1_000_000_000:  # a recording began again
            self._published_ns = 0
        period_ns = 0.9e9 / self._settings.max_rate_hz
        if state.stamp_ns - self._published_ns < period_ns:
            self._publish_by_s = 0.0
            return
        now_s = time.monotonic()
        self._publish_by_s = self._publish_by_s or now_s + self._settings.wait_s
        is_complete = self._rig.is_complete(_SIMULTANEOUS_NS, self._now_ns * 1e-9)
        if now_s < self._publish_by_s and not is_complete:
            self._retry_timer.reset()
            return
        self._publish_by_s, self._published_ns = 0.0, state.stamp_ns
        if self._outputs.have_subscribers():
            self._outputs.publish(self._rig.fuser.people(self.world))
