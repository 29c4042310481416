"""``thfm-demo``: a video through the perception node, over real topics, to something to look at.

Starts three processes that know each other only through ROS: replay_node (the camera),
perception_node, and the collector (listener.py), which leaves overlay.mp4, contact.png and
summary.json. This one watches over them: whatever fails is named, with the end of its log, and
nothing is left running.
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
from thfm_ros.ros.dds_profile import prepare
from thfm_ros.ros.replay.node import FOLDER_RATE_HZ
from thfm_ros.ros.replay.sources import open_source

logger = logging.getLogger("demo")

RESULTS = ("overlay.mp4", "contact.png", "summary.json")
LONGEST_S = 3600.0
CAMERA_S = 20.0  # a camera has no end
SETUP_S, DRAWING_S = 240.0, 600.0  # engine built, first result; film written
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


class DemoError(PerceptionError):
    """The demo cannot go on."""


class Child:
    """One of the three processes, in a group of its own, so that its children end with it."""

    def __init__(self, name: str, module: str, arguments: list[str], log: Path | None) -> None:
        self.name, self.log = name, log
        output = log.open("wb") if log else None
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            cwd="/",  # a source tree in the current folder would hide the installed package
            start_new_session=True,
            preexec_fn=_end_with_parent,  # safe: this process has no threads
        )
        if output:
            output.close()

    def failure(self) -> str:
        """Why the demo must end if this process has ended by itself; empty if it need not."""
        code = self.process.poll()
        if code is None or (code == 0 and self.name == "replay"):
            return ""
        tail = ""
        if self.log:
            lines = self.log.read_text(errors="replace").splitlines()[-25:]
            tail = "\n".join(["", f"--- the end of {self.log}:", *lines])
        return f"the {self.name} process ended with code {code}{tail}"

    def stop(self) -> None:
        """Ask the group to end, then make it."""
        for sent, patience_s in ((signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sent)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
                break
        with contextlib.suppress(ProcessLookupError):  # grandchildren, if any
            os.killpg(self.process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """Not even a kill of the demo leaves a node behind that holds the camera."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)


NODE = "thfm_ros.ros.node"


def main(arguments: Sequence[str] | None = None, node: str = NODE) -> int:
    """Run the demo with the module ``node``; 0 when every topic had messages and all is drawn."""
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.split("\n\n")[0])
    add_arguments(parser)
    return run(parser.parse_args(arguments), node)


def run(options: argparse.Namespace, node: str = NODE) -> int:
    """As `main`, with the arguments read: `thfm demo` comes in here."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        source, length_s = _checked_source(options)
        out = options.out.expanduser().resolve()
        out.mkdir(parents=True, exist_ok=True)
        if str(source) in {str(out / name) for name in RESULTS}:
            raise PerceptionError(f"{source} would be overwritten by the results: another --out.")
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)
        code = _play(source, out, options.seconds or length_s, options.viewer, node)
    except (PerceptionError, OSError) as error:
        logger.error("ERROR: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("Interrupted.")
        return 130
    if (out / "summary.json").exists():
        _tell(out)
    return code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--video", metavar="PATH", help="a video, or a folder with the images of one"
    )
    source.add_argument("--camera", metavar="N", type=int, help="the camera /dev/videoN")
    parser.add_argument(
        "--seconds", type=_positive, metavar="S", help="how long; else the clip's length, 20 live"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
    parser.add_argument("--viewer", choices=("rerun", "none"), default="none")


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"must be from 0.5 to {LONGEST_S:.0f}")
    return seconds


def _checked_source(options: argparse.Namespace) -> tuple[str, float]:
    """The source for the replay node, found readable; and how long it lasts, in seconds."""
    name = str(options.camera) if options.camera is not None else options.video
    if name is None:
        name = str(files("thfm_ros") / "clips" / "street.mp4")
    elif options.video is not None:
        name = str(Path(name).expanduser().absolute())
    source = open_source(name)
    try:
        if source.read(None) is None:
            raise DemoError(f"The {source.description} has no image that can be read.")
    finally:
        source.close()
    length_s = source.count / (source.rate_hz or FOLDER_RATE_HZ) or CAMERA_S
    return name, min(max(length_s, 2.0), LONGEST_S)


def _play(source: str, out: Path, seconds: float, viewer: str, node: str) -> int:
    """Start the three, watch them until the collector is done, stop them; the exit code."""
    prepare()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ["ROS_LOG_DIR"] = str(out / "log")
    os.environ["PYTHONUNBUFFERED"] = "1"
    (out / "log").mkdir(exist_ok=True)
    listen = ["--out", str(out), "--viewer", viewer, "--seconds", str(seconds)]
    deadline = time.monotonic() + SETUP_S + seconds + DRAWING_S
    children: list[Child] = []
    try:
        logger.info("Playing %s through the perception node ...", source)
        node_log, replay_log = out / "log" / "node.txt", out / "log" / "replay.txt"
        children.append(Child("node", node, _ros(CAMERA), node_log))
        children.append(Child("collector", "thfm_ros.ros.demo.listener", listen, None))
        # The time runs from the first result. Until then the clip may play into the void, so it
        # begins again at its end. The two to wait for are the node and the collector.
        camera = {"source": source, "loop": True, "wait_for_subscribers": 2}
        arguments = _ros(CAMERA, camera)
        children.append(Child("replay", "thfm_ros.ros.replay.node", arguments, replay_log))
        return _watch(children, deadline)
    finally:
        for child in reversed(children):
            child.stop()


CAMERA = {"image": "/camera/image", "camera_info": "/camera/camera_info"}


def _ros(remap: dict[str, str], parameters: dict[str, object] | None = None) -> list[str]:
    arguments = ["--ros-args"]
    for name, value in (parameters or {}).items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    for old, new in remap.items():
        arguments += ["-r", f"{old}:={new}"]
    return arguments


def _watch(children: Sequence[Child], deadline: float) -> int:
    node, collector, replay = children
    while time.monotonic() < deadline:
        code = collector.process.poll()
        if code is not None:
            if code:  # it has said why; the node may know more
                logger.error("The node's log is %s", node.log)
            return code
        for child in (node, replay):
            if failure := child.failure():
                raise DemoError(failure)
        time.sleep(0.1)
    raise DemoError(f"not finished in time; the node's log is {node.log}")


def _tell(out: Path) -> None:
    said = json.loads((out / "summary.json").read_text())
    late = said["latency_ms"]
    logger.info(
        "\n%s results of %s images, %s per second, %s ms after the image (p95 %s, p99 %s)\n"
        "%s people seen; %s topics; checkpoint %s on %s",
        *(said["results"], said["input_images"], said["results_per_s"]),
        *(late["p50"], late["p95"], late["p99"]),
        *(said["bodies_seen"], len(said["messages"]), said["checkpoint"], said["engine"]),
    )
    for name in RESULTS:
        if (out / name).exists():
            logger.info("  %s", out / name)


if __name__ == "__main__":
    sys.exit(main())
