# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""``thfm-demo``: plays a video through the perception node and draws the results.

Starts three processes that communicate over ROS topics only: replay_node (the camera),
perception_node, and the listener (listener.py), which writes overlay.mp4, contact.png and
summary.json. This process monitors them: it reports which one failed, with the end of its log, and
stops all of them at the end.
"""

import argparse
import contextlib
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.replay.sources import open_image_source
from thfm_ros.user_folders import expanded

logger = logging.getLogger("demo")

RESULTS = ("overlay.mp4", "contact.png", "summary.json")
MAX_DURATION_S = 3600.0
LIVE_DURATION_S = 20.0  # of a camera, whose images have no end
# Until the engine is built and the first result arrives; until the video is written.
SETUP_TIMEOUT_S, DRAWING_TIMEOUT_S = 240.0, 600.0
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


class DemoError(PerceptionError):
    """A process of the demo failed, or the source has no images."""


class ChildProcess:
    """One of the three processes, in its own process group, so that its children end with it."""

    def __init__(self, name: str, module: str, arguments: list[str], log: Path | None) -> None:
        self.name, self.log = name, log
        output = log.open("wb") if log else None
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            cwd="/",  # a source tree in the working directory would hide the installed package
            start_new_session=True,
            preexec_fn=_end_with_parent,  # safe: this process has no threads
        )
        if output:
            output.close()

    def failure(self) -> str:
        """Why the demo must stop because this process has ended; empty while it need not."""
        code = self.process.poll()
        if code is None or (code == 0 and self.name == "replay"):
            return ""
        tail = ""
        if self.log:
            lines = self.log.read_text(errors="replace").splitlines()[-25:]
            tail = "\n".join(["", f"--- the end of {self.log}:", *lines])
        return f"the {self.name} process ended with code {code}{tail}"

    def stop(self) -> None:
        """Stop the process group: with SIGINT, and after a timeout with SIGKILL."""
        for signal_number, timeout_s in ((signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
                break
        with contextlib.suppress(ProcessLookupError):  # grandchildren, if any
            os.killpg(self.process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """Ask the kernel to end this process when the demo ends, even if the demo is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


NODE = "thfm_ros.ros.node"


def main(arguments: Sequence[str] | None = None, node: str = NODE) -> int:
    """Run the demo with the module ``node``; 0 if every topic had messages and all was drawn."""
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.split("\n\n")[0])
    add_arguments(parser)
    return run(parser.parse_args(arguments), node)


def run(options: argparse.Namespace, node: str = NODE) -> int:
    """Run the demo with parsed arguments, as `thfm demo` does; the exit code."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        source, length_s = _checked_source(options)
        out = expanded(options.out).resolve()
        out.mkdir(parents=True, exist_ok=True)
        if str(source) in {str(out / name) for name in RESULTS}:
            raise PerceptionError(
                f"{source} would be overwritten by the results; choose another --out."
            )
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)
        code = _run_processes(source, out, options.seconds or length_s, options.viewer, node)
    except (PerceptionError, OSError) as error:
        logger.error("ERROR: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("Interrupted.")
        return 130
    if (out / "summary.json").exists():
        _log_summary(out)
    return code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--video", metavar="PATH", help="a video, or a folder with the images of one"
    )
    source.add_argument("--camera", metavar="N", type=int, help="the camera /dev/videoN")
    parser.add_argument(
        "--seconds",
        type=_duration_s,
        metavar="S",
        help="duration; default: the length of the video, 20 for a camera",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    parser.add_argument(
        "--viewer", choices=("rerun", "none"), default="none", help="show the results live"
    )


def _duration_s(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= MAX_DURATION_S:
        raise argparse.ArgumentTypeError(f"must be from 0.5 to {MAX_DURATION_S:.0f}")
    return seconds


def _checked_source(options: argparse.Namespace) -> tuple[str, float]:
    """Check that the source can be read; its name for the replay node, and its duration in s."""
    name = str(options.camera) if options.camera is not None else options.video
    if name is None:
        name = str(files("thfm_ros") / "clips" / "street.mp4")
    elif options.video is not None:
        name = str(expanded(name).absolute())
    source = open_image_source(name)
    try:
        if source.read() is None:
            raise DemoError(f"The {source.description} has no image that can be read.")
        length_s = LIVE_DURATION_S if source.is_live else source.duration_s()
    finally:
        source.close()
    return name, min(max(length_s, 2.0), MAX_DURATION_S)


def _run_processes(source: str, out: Path, seconds: float, viewer: str, node: str) -> int:
    """Start the three processes, monitor them until the listener ends, stop them; the exit code."""
    os.environ["ROS_LOG_DIR"] = str(out / "log")
    prepare_ros_environment()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ["PYTHONUNBUFFERED"] = "1"
    (out / "log").mkdir(exist_ok=True)
    options = ["--out", str(out), "--viewer", viewer, "--seconds", str(seconds)]
    deadline = time.monotonic() + SETUP_TIMEOUT_S + seconds + DRAWING_TIMEOUT_S
    children: list[ChildProcess] = []
    try:
        logger.info("Playing %s through the perception node ...", source)
        node_log, replay_log = out / "log" / "node.txt", out / "log" / "replay.txt"
        children.append(ChildProcess("node", node, _ros_arguments(CAMERA_TOPICS), node_log))
        children.append(ChildProcess("listener", "thfm_ros.ros.demo.listener", options, None))
        # The duration counts from the first result. Until then the video may play without being
        # processed, so it is repeated. The two subscribers are the node and the listener.
        camera = {"source": source, "loop": True, "wait_for_subscribers": 2}
        arguments = _ros_arguments(CAMERA_TOPICS, camera)
        children.append(ChildProcess("replay", "thfm_ros.ros.replay.node", arguments, replay_log))
        return _monitor(children, deadline)
    finally:
        for child in reversed(children):
            child.stop()


CAMERA_TOPICS = {"image": "/camera/image", "camera_info": "/camera/camera_info"}


def _ros_arguments(remap: dict[str, str], parameters: dict[str, object] | None = None) -> list[str]:
    """Command line arguments that remap names and set parameters."""
    arguments = ["--ros-args"]
    for name, value in (parameters or {}).items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    for old, new in remap.items():
        arguments += ["-r", f"{old}:={new}"]
    return arguments


def _monitor(children: Sequence[ChildProcess], deadline: float) -> int:
    """Wait until the listener ends; its exit code.

    Raises:
        DemoError: another process failed, or the deadline has passed.
    """
    node, listener, replay = children
    while time.monotonic() < deadline:
        code = listener.process.poll()
        if code is not None:
            if code:  # the listener has logged the reason; the node may have logged the cause
                logger.error("The node's log is %s", node.log)
            return code
        for child in (node, replay):
            if failure := child.failure():
                raise DemoError(failure)
        time.sleep(0.1)
    raise DemoError(f"The demo did not finish in time; the node's log is {node.log}")


def _log_summary(out: Path) -> None:
    """Log the main numbers of summary.json and the paths of the result files."""
    summary = json.loads((out / "summary.json").read_text())
    latency_ms = summary["latency_ms"]
    logger.info(
        "\n%s results of %s images, %s per second, latency p50 %s ms, p95 %s ms, p99 %s ms\n"
        "%s people tracked; %s topics; checkpoint %s on %s",
        *(summary["results"], summary["input_images"], summary["results_per_s"]),
        *(latency_ms["p50"], latency_ms["p95"], latency_ms["p99"]),
        *(summary["bodies_seen"], len(summary["messages"])),
        *(summary["checkpoint"], summary["engine"]),
    )
    for name in RESULTS:
        if (out / name).exists():
            logger.info("  %s", out / name)


if __name__ == "__main__":
    sys.exit(main())
