"""One run of the benchmark: the processes, and what is measured with them.

The camera, the audience, this package's node and the peer all live from the beginning to the end
and are given work in turns, so that whatever else the machine does hits both nodes alike.
"""

import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thfm_ros.ros.benchmark.measurement import PEER, TOPICS, Measured, Phase, summary, variant
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, Process, Servant
from thfm_ros.ros.dds_profile import prepare

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 240.0  # the first start exports and checks the network
_PEER = Path(__file__).with_name("mediapipe_node.py")


class Bench:
    """A context in which `measure` works.

    Args:
        folder: for the outputs of the processes.
        peer_python: a Python with mediapipe and rclpy; empty: no peer.
        peer_complexity: MediaPipe's model_complexity.
        parameters: ROS parameters of our node.
        node: the command that starts our node; None: the one of this installation.
    """

    def __init__(
        self,
        folder: Path,
        peer_python: str = "",
        peer_complexity: int = 1,
        parameters: Mapping[str, object] | None = None,
        node: Sequence[str] | None = None,
    ) -> None:
        self._folder = folder
        self._peer_python = peer_python
        self._complexity = peer_complexity
        self._parameters = {"diagnostics_period_s": 0.5, **(parameters or {})}
        self._node = list(node or [sys.executable, "-m", "thfm_ros.ros.node"])
        self._subjects: dict[str, Process] = {}
        self.engines: dict[str, dict[str, str]] = {}

    def __enter__(self) -> "Bench":
        # Nothing of this may reach, or be reached by, robots on the network.
        os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 100))
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        os.environ["PYTHONSAFEPATH"] = "1"
        os.environ.setdefault("ROS_LOG_DIR", str(self._folder))
        prepare()
        self._camera = Servant("thfm_ros.ros.benchmark.camera", self._folder / "camera.log")
        self._audience = Servant("thfm_ros.ros.benchmark.subscriber", self._folder / "audience.log")
        return self

    def pid(self, subject: str) -> int:
        """The process of a node that has started."""
        return self._subjects[subject].pid

    def __exit__(self, *_: object) -> None:
        for process in [*self._subjects.values(), self._camera, self._audience]:
            process.stop()

    def measure(self, phase: Phase) -> Measured:
        """Run one phase.

        Raises:
            BenchmarkError: a process ended, or nothing arrives.
        """
        subject = phase.subject
        process = self._subject(subject)
        topics = {f"/{subject}/{name}": kind for name, kind in phase.subscribed.items()}
        self._wait(lambda: self._ask_audience("listen", topics=topics)["publishers"], process)
        if subject not in self.engines:
            self._wake(phase, process)
        before = self._diagnostics(subject)
        self._ask_audience("begin")
        sent = self._send(phase, process)
        report = self._ask_audience("report")
        if not any(report["arrivals"].values()):
            time.sleep(1.0)  # a process that dies needs a moment for it
            process.check()
        after = self._diagnostics(subject)
        self._ask_audience("leave")
        return summary(phase, sent, report, (before["drops"], after["drops"]))

    def stop(self, subject: str) -> None:
        """End a node that is not needed any more."""
        self._subjects.pop(subject).stop()

    def _subject(self, name: str) -> Process:
        if name not in self._subjects:
            logger.info("starting %s", name)
            command, environment = self._command(name)
            log = self._folder / f"{name}.log"
            self._subjects[name] = Process(command, log, environment)
        return self._subjects[name]

    def _command(self, name: str) -> tuple[list[str], dict[str, str]]:
        remap = {"__node": name, "image": f"/{name}/image", "camera_info": f"/{name}/camera_info"}
        if name == PEER:
            remap |= {topic: f"/{name}/{topic}" for topic in TOPICS[PEER]}
            command = [self._peer_python, str(_PEER), "--complexity", str(self._complexity)]
            return [*command, *ros_arguments(remap, {})], environment_of(self._peer_python)
        parameters = dict(self._parameters)
        parameters |= variant(name)[1]
        return [*self._node, *ros_arguments(remap, parameters)], dict(os.environ)

    def _wake(self, phase: Phase, process: Process) -> None:
        """Let a node that has just started see its first images, until results come."""
        matched = {"do": "match", "namespace": f"/{phase.subject}"}
        self._wait(lambda: self._camera.ask(matched, 60)["subscribers"], process)
        short = Phase(subject=phase.subject, rate_hz=10.0, warmup_s=0.0, seconds=1.0)
        for _ in range(20):
            self._send(short, process)
            if any(self._ask_audience("report")["arrivals"].values()):
                self.engines[phase.subject] = self._diagnostics(phase.subject)["engine"]
                return
        raise BenchmarkError(f"{phase.subject} publishes nothing. {process.last_words()}")

    def _send(self, phase: Phase, process: Process) -> dict[str, Any]:
        pids = {
            "node": process.pid,
            "camera": self._camera.pid,
            "audience": self._audience.pid,
        }
        order = {
            "do": "send",
            "namespace": f"/{phase.subject}",
            "people": phase.people,
            "width": phase.width,
            "height": phase.height,
            "rate_hz": phase.rate_hz,
            "warmup_s": phase.warmup_s,
            "seconds": phase.seconds,
            "pids": pids,
        }
        return self._camera.ask(order, 60 + 3 * (phase.seconds + phase.warmup_s))

    def _ask_audience(self, what: str, **more: object) -> dict[str, Any]:
        return self._audience.ask({"do": what, **more}, 30)

    def _diagnostics(self, subject: str) -> dict[str, Any]:
        if subject == PEER:  # it publishes none, as such nodes do not
            return {"drops": {}, "engine": {"runs on": f"MediaPipe, complexity {self._complexity}"}}
        return self._ask_audience("diagnostics", node=subject)

    def _wait(self, ready: Callable[[], int], process: Process) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while not ready():
            process.check()
            if time.monotonic() > until:
                raise BenchmarkError(
                    f"{process.name} was not ready within {START_TIMEOUT_S:.0f} s. "
                    f"{process.last_words()}"
                )
            time.sleep(0.1)


def ros_arguments(remap: Mapping[str, str], parameters: Mapping[str, object]) -> list[str]:
    """``--ros-args`` and so on."""
    arguments = ["--ros-args"]
    for old, new in remap.items():
        arguments += ["-r", f"{old}:={new}"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    return arguments


def check_peer(python: str) -> None:
    """Whether ``python`` can run the peer.

    Raises:
        BenchmarkError: it cannot; with what it said, and how to make one that can.
    """
    cure = (
        "Make one: python3 -m venv peer && peer/bin/pip install mediapipe==0.10.21 "
        "-r requirements-ros.txt, then --peer-python peer/bin/python; or leave it out."
    )
    if not os.access(python, os.X_OK):
        raise BenchmarkError(f"--peer-python {python} is no program. {cure}")
    try:
        asked = subprocess.run(
            [python, str(_PEER), "--help"],
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
    if asked.returncode:
        said = "\n  ".join(asked.stderr.splitlines()[-3:])
        raise BenchmarkError(f"{python} cannot run the peer:\n  {said}\n{cure}")


def environment_of(python: str) -> dict[str, str]:
    """The environment of another Python installation: nothing of ours leads to our libraries."""
    environment = dict(os.environ)
    # Set by ROS's wheels when they started us: with it the other Python would not set up itself.
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    ours = (sys.prefix + os.sep, sys.prefix)
    for variable in ("LD_LIBRARY_PATH", "AMENT_PREFIX_PATH", "PYTHONPATH"):
        kept = [
            entry
            for entry in environment.pop(variable, "").split(os.pathsep)
            if entry and not entry.startswith(ours[0]) and entry != ours[1]
        ]
        if kept:
            environment[variable] = os.pathsep.join(kept)
    # A virtual environment's own folder comes first in PATH, as if it had been activated.
    environment["PATH"] = str(Path(python).parent) + os.pathsep + environment.get("PATH", "")
    return environment
