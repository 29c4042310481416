# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Runs the processes of the benchmark and measures with them.

The camera, the subscriber, this package's node and the MediaPipe node run from the beginning to
the end, and the two nodes are measured in turns, so that other load on the machine affects both.
"""

import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from thfm_ros.ros.benchmark.clip import grid_of
from thfm_ros.ros.benchmark.measurement import (
    MEDIAPIPE,
    TOPIC_SETS,
    WITHOUT_MASK,
    Measurement,
    Scenario,
    is_mediapipe,
    subject_settings,
    summarize,
)
from thfm_ros.ros.benchmark.subprocesses import (
    BenchmarkError,
    LoggedProcess,
    Response,
    WorkerProcess,
)
from thfm_ros.ros.dds_profile import prepare_ros_environment

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 240.0  # the first start exports and verifies the network
_MEDIAPIPE_NODE = Path(__file__).with_name("mediapipe_node.py")


class BenchmarkRunner:
    """Measures scenarios; as a context manager it starts and stops the processes.

    Args:
        folder: for the logs of the processes.
        mediapipe_python: a Python with mediapipe and rclpy; empty: no MediaPipe node.
        mediapipe_complexity: MediaPipe's model_complexity.
        parameters: ROS parameters of this package's node.
        node: the command that starts this package's node; None: that of this installation.
        domain_id: ROS_DOMAIN_ID of the processes; None: a random one.
    """

    def __init__(
        self,
        folder: Path,
        mediapipe_python: str = "",
        mediapipe_complexity: int = 1,
        parameters: Mapping[str, object] | None = None,
        node: Sequence[str] | None = None,
        domain_id: int | None = None,
    ) -> None:
        self._folder = folder
        self._mediapipe_python = mediapipe_python
        self._complexity = mediapipe_complexity
        self._parameters = {"diagnostics_period_s": 0.5, **(parameters or {})}
        self._node = list(node or [sys.executable, "-m", "thfm_ros.ros.node"])
        # A random one keeps the benchmark apart from robots on the network.
        self._domain_id = domain_id or random.SystemRandom().randint(1, 100)
        self._nodes: dict[str, LoggedProcess] = {}
        self._warm: set[str] = set()  # the running nodes that have had a result
        self.engines: dict[str, dict[str, str]] = {}

    def __enter__(self) -> "BenchmarkRunner":
        os.environ["ROS_DOMAIN_ID"] = str(self._domain_id)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        os.environ["PYTHONSAFEPATH"] = "1"
        os.environ.setdefault("ROS_LOG_DIR", str(self._folder))
        prepare_ros_environment()
        package = "thfm_ros.ros.benchmark"
        self._camera = WorkerProcess(f"{package}.camera", self._folder / "camera.log")
        self._subscriber = WorkerProcess(f"{package}.subscriber", self._folder / "subscriber.log")
        return self

    def pid(self, subject: str) -> int:
        """Process id of a running node."""
        return self._nodes[subject].pid

    def __exit__(self, *_: object) -> None:
        for process in [*self._nodes.values(), self._camera, self._subscriber]:
            process.stop()

    def measure(self, scenario: Scenario) -> Measurement:
        """Measure one scenario.

        Raises:
            BenchmarkError: a process ended, or no result arrives.
        """
        subject = scenario.subject
        process = self._node_process(subject)
        topics = {f"/{subject}/{name}": type_ for name, type_ in scenario.subscribed.items()}
        self._wait(lambda: self._request("subscribe", topics=topics)["publishers"], process)
        if subject not in self._warm:
            self._warm_up(subject, process)
        before = self._diagnostics(subject)
        self._request("clear")
        sent = self._publish(scenario, process)
        received = self._request("report")
        if not any(received["arrivals"].values()):
            time.sleep(1.0)  # so that a crash of the node is seen
            process.check()
        after = self._diagnostics(subject)
        self._request("unsubscribe")
        return summarize(scenario, sent, received, (before["drops"], after["drops"]))

    def stop(self, subject: str) -> None:
        """Stop a node that is not needed any more."""
        self._nodes.pop(subject).stop()
        self._warm.discard(subject)

    def _node_process(self, subject: str) -> LoggedProcess:
        """The process of a node, started if it does not run yet."""
        if subject not in self._nodes:
            logger.info("starting %s", subject)
            command, environment = self._command(subject)
            log = self._folder / f"{subject}.log"
            self._nodes[subject] = LoggedProcess(command, log, environment)
        return self._nodes[subject]

    def _command(self, subject: str) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of a node."""
        names = ["image", "camera_info"]
        if is_mediapipe(subject):
            names += TOPIC_SETS[MEDIAPIPE]
        remap = {"__node": subject} | {name: f"/{subject}/{name}" for name in names}
        if is_mediapipe(subject):
            python = self._mediapipe_python
            command = [python, str(_MEDIAPIPE_NODE), "--complexity", str(self._complexity)]
            command += mediapipe_options(subject)
            return [*command, *ros_arguments(remap, {})], environment_of(python)
        parameters = {**self._parameters, **subject_settings(subject)[1]}
        return [*self._node, *ros_arguments(remap, parameters)], dict(os.environ)

    def _warm_up(self, subject: str, process: LoggedProcess) -> None:
        """Send images to a node that has just started until its first result arrives."""
        count = {"command": "count_subscribers", "namespace": f"/{subject}"}
        self._wait(lambda: self._camera.request(count, 60)["subscribers"], process)
        short = Scenario(subject=subject, rate_hz=10.0, warmup_s=0.0, seconds=1.0)
        for _ in range(20):
            self._publish(short, process)
            if any(self._request("report")["arrivals"].values()):
                self.engines[subject] = self._diagnostics(subject)["engine"]
                self._warm.add(subject)
                return
        raise BenchmarkError(f"{subject} publishes nothing. {process.log_tail()}")

    def _publish(self, scenario: Scenario, process: LoggedProcess) -> Response:
        """Let the camera publish; its response."""
        request = {
            "command": "publish",
            "namespace": f"/{scenario.subject}",
            "people": scenario.people,
            "width": scenario.width,
            "height": scenario.height,
            "rate_hz": scenario.rate_hz,
            "warmup_s": scenario.warmup_s,
            "seconds": scenario.seconds,
            "pids": {
                "node": process.pid,
                "camera": self._camera.pid,
                "subscriber": self._subscriber.pid,
            },
        }
        return self._camera.request(request, 60 + 3 * (scenario.seconds + scenario.warmup_s))

    def _request(self, command: str, **arguments: object) -> Response:
        """The response of the subscriber."""
        return self._subscriber.request({"command": command, **arguments}, 30)

    def _diagnostics(self, subject: str) -> Response:
        if is_mediapipe(subject):  # it publishes no diagnostics
            return {"drops": {}, "engine": {"runs on": f"MediaPipe, complexity {self._complexity}"}}
        return self._request("diagnostics", node=subject)

    def _wait(self, is_ready: Callable[[], int], process: LoggedProcess) -> None:
        """Wait until ``is_ready`` while ``process`` runs.

        Raises:
            BenchmarkError: the process ended, or took too long.
        """
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            process.check()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(
                    f"{process.name} was not ready within {START_TIMEOUT_S:.0f} s. "
                    f"{process.log_tail()}"
                )
            time.sleep(0.1)


def mediapipe_options(subject: str) -> list[str]:
    """The options of MediaPipe's node that a subject's name stands for."""
    if subject == WITHOUT_MASK:
        return ["--without-mask"]
    people = subject.removeprefix(f"{MEDIAPIPE}_poses_")
    return ["--cells", *map(str, grid_of(int(people)))] if people.isdecimal() else []


def ros_arguments(remap: Mapping[str, str], parameters: Mapping[str, object]) -> list[str]:
    """The command line arguments (``--ros-args ...``) that remap names and set parameters."""
    arguments = ["--ros-args"]
    for old, new in remap.items():
        arguments += ["-r", f"{old}:={new}"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    return arguments


def check_mediapipe(python: str) -> None:
    """Check that the interpreter ``python`` can run the MediaPipe node.

    Raises:
        BenchmarkError: it cannot; with its output, and how to set one up.
    """
    hint = (
        "To set it up: python3 -m venv mediapipe_env && mediapipe_env/bin/pip install "
        "mediapipe==0.10.21 -r requirements-ros.txt, then --mediapipe-python "
        "mediapipe_env/bin/python. Without the option only thfm is measured."
    )
    if not os.access(python, os.X_OK):
        raise BenchmarkError(f"--mediapipe-python {python} is not executable. {hint}")
    try:
        finished = subprocess.run(
            [python, str(_MEDIAPIPE_NODE), "--help"],
            env=environment_of(python),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(
            f"{python} did not import mediapipe within {START_TIMEOUT_S:.0f} s."
        ) from None
    if finished.returncode:
        output = "\n  ".join(finished.stderr.splitlines()[-3:])
        raise BenchmarkError(f"{python} cannot run the MediaPipe node:\n  {output}\n{hint}")


def environment_of(python: str) -> dict[str, str]:
    """Environment variables for another interpreter, without the paths of this installation."""
    environment = dict(os.environ)
    # Set by the ROS wheels at start-up: with it the other interpreter would skip its own set-up.
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    for variable in ("LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "PYTHONPATH"):
        kept = [
            entry
            for entry in environment.pop(variable, "").split(os.pathsep)
            if entry and not (entry + os.sep).startswith(sys.prefix + os.sep)
        ]
        if kept:
            environment[variable] = os.pathsep.join(kept)
    # As an activated virtual environment does.
    environment["PATH"] = str(Path(python).parent) + os.pathsep + environment.get("PATH", "")
    return environment
