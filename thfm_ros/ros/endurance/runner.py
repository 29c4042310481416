# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Runs the node in a process of its own, with a camera and subscribers that come and go.

Camera and subscribers are participants of DDS in this process. Nothing depends on the speed of
the machine except how many images are overtaken by newer ones.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from thfm_ros.config import TrackConfig
from thfm_ros.msg import BodyArray
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, LoggedProcess
from thfm_ros.ros.benchmark.subscriber import nanoseconds
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.endurance.participants import NODE, Camera, Participant
from thfm_ros.ros.endurance.phases import CYCLE, Phase
from thfm_ros.ros.endurance.records import Record, Result, Sample

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 240.0  # the first start exports and verifies the network
RESULT_TIMEOUT_S = 60.0  # a phase with a camera and without a result so long is silent
STOP_TIMEOUT_S = 30.0
STATE = {
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
}
"""Transition of the lifecycle -> the state that it leads to."""
PRIMARY_STATES = frozenset(STATE.values())


class EnduranceRunner:
    """Runs cycles of phases; as a context manager it starts and stops the node.

    Args:
        folder: for the node's log.
        domain_id: ROS_DOMAIN_ID of all participants.
        parameters: ROS parameters of the node.
        node: the command that starts the node; None: that of this installation.
    """

    def __init__(
        self,
        folder: Path,
        domain_id: int,
        parameters: Mapping[str, object] | None = None,
        node: Sequence[str] | None = None,
    ) -> None:
        self.record = Record()
        self._folder, self._domain_id = folder, domain_id
        # With a seed, ids would be repeated for certain if the node forgot those of before.
        self._parameters = {"track.seed": 1, **(parameters or {})}
        remember_for_s = self._parameters.get("track.remember_for_s", TrackConfig().remember_for_s)
        self.record.remember_for_s = float(str(remember_for_s))
        self._command = list(node or [sys.executable, "-m", "thfm_ros.ros.node"])

    def __enter__(self) -> "EnduranceRunner":
        os.environ["ROS_DOMAIN_ID"] = str(self._domain_id)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        os.environ.setdefault("ROS_LOG_DIR", str(self._folder))
        prepare_ros_environment()
        arguments = ["--ros-args"]
        for name, value in self._parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        log = self._folder / "node.log"
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        self._process = LoggedProcess([*self._command, *arguments], log, environment)
        self._usage = psutil.Process(self._process.pid)
        self._observer = Participant("observer", self._domain_id)
        self._camera: Camera | None = None
        self._started_s = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        record = self.record
        record.seconds = time.monotonic() - self._started_s
        if self._usage.is_running():
            times = self._usage.cpu_times()
            record.cpu_s = times.user + times.system
        record.exit_code = self._process.interrupt(STOP_TIMEOUT_S)
        self._process.stop()
        if self._camera:
            self._camera.close()
        self._observer.close()
        record.log = self._process.log.read_text(errors="replace")

    def run(
        self, seconds: float, phase_s: float, after_cycle: Callable[[], None] = lambda: None
    ) -> None:
        """Repeat the cycle until ``seconds`` have passed, at least once.

        Raises:
            BenchmarkError: the node ended, or does not answer.
        """
        self._wait(
            lambda: self._observer.node.count_subscribers("/image") > 0,
            "subscribes to /image",
            START_TIMEOUT_S,
        )
        self._started_s = time.monotonic()
        while not self.record.cycles or time.monotonic() - self._started_s < seconds:
            for phase in CYCLE:
                self._run_phase(phase, phase_s)
            self.record.cycles += 1
            self.record.samples.append(self._sample())
            after_cycle()

    def _run_phase(self, phase: Phase, seconds: float) -> None:
        self._process.check()
        for label in phase.transitions:
            self._transition(label)
        if phase.parameters:
            self._set(phase.parameters)
        for label in phase.then:
            self._transition(label)
        visitor = Participant("visitor", self._domain_id) if phase.topics else None
        subscription = self._observe() if phase.observed else None
        before = len(self.record.results)
        if self._camera:
            self._camera.close()
        self._camera = Camera(phase, self._domain_id, self.record) if phase.rate_hz else None
        if visitor:
            visitor.subscribe(phase.topics)
        end_s = time.monotonic() + seconds
        last_s = end_s + RESULT_TIMEOUT_S
        expects = phase.observed and phase.rate_hz > 0
        while (now_s := time.monotonic()) < end_s or (
            expects and len(self.record.results) == before and now_s < last_s
        ):
            if self._camera:
                self._camera.publish_if_due()
            if visitor:
                visitor.spin(0.0)
            self._observer.spin(0.01)
        if expects and len(self.record.results) == before:
            self.record.silent_phases.append(phase.name)
        if visitor:
            visitor.close()
        if subscription:
            self._observer.node.destroy_subscription(subscription)

    def _observe(self) -> Any:
        """Record each result."""

        def on_bodies(message: BodyArray) -> None:
            stamp_ns = nanoseconds(message.header.stamp)
            newer = self._camera.published_after(stamp_ns) if self._camera else 0
            ids = frozenset(body.id for body in message.bodies)
            self.record.results.append(Result(stamp_ns, ids, newer))

        qos = QoSProfile(depth=5)
        return self._observer.node.create_subscription(BodyArray, f"{NODE}/bodies", on_bodies, qos)

    def _sample(self) -> Sample:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        values = {name: rest for name, _, rest in (line.partition(":") for line in status)}
        return Sample(
            round(time.monotonic() - self._started_s, 1),
            round(int(values["RssAnon"].split()[0]) / 1024, 1),
            int(values["Threads"]),
            self._usage.num_fds(),
            len(self.record.published_ns),
            len(self.record.results),
        )

    def _transition(self, label: str) -> None:
        request = ChangeState.Request()
        request.transition.label = label
        if label == "configure":
            self.record.configured_ns.append(time.time_ns())

        def made() -> ChangeState.Response | None:
            # A transition that was made, but whose response was lost, cannot be made again.
            self._wait(lambda: self._state() in PRIMARY_STATES, f"ends {label}", START_TIMEOUT_S)
            return ChangeState.Response(success=True) if self._state() == STATE[label] else None

        if not self._call(ChangeState, "change_state", request, made).success:
            self.record.refused.append(label)

    def _state(self) -> str:
        """The name of the lifecycle state."""
        response = self._call(GetState, "get_state", GetState.Request())
        return str(response.current_state.label)

    def _set(self, values: Mapping[str, object]) -> None:
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        request = SetParameters.Request(parameters=[p.to_parameter_msg() for p in parameters])
        results = self._call(SetParameters, "set_parameters", request).results
        for name, result in zip(values, results, strict=True):
            if not result.successful:
                self.record.refused.append(f"{name}: {result.reason}")

    def _call(
        self,
        kind: type,
        service: str,
        request: Any,
        done_otherwise: Callable[[], Any] = lambda: None,
    ) -> Any:
        """Call a service of the node, whose response can be lost: see `Participant.call`."""

        def wait(until: Callable[[], bool], what: str) -> None:
            self._wait(until, what, START_TIMEOUT_S)

        return self._observer.call(kind, service, request, done_otherwise, wait)

    def _wait(
        self, until: Callable[[], bool], what: str, timeout_s: float = RESULT_TIMEOUT_S
    ) -> None:
        end_s = time.monotonic() + timeout_s
        while not until():
            self._process.check()
            if time.monotonic() > end_s:
                raise BenchmarkError(
                    f"It did not happen within {timeout_s:g} s that the node {what}. "
                    f"{self._process.log_tail()}"
                )
            self._observer.spin(0.05)
