# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Two robots and a viewer, each in a network namespace of its own, and a discovery server.

    sudo env PATH="$PATH" python scripts/fleet_check.py --page docs/fleet.md

Each robot has a camera and a perception node; the viewer counts their bodies. All talk over UDP:
shared memory is off, since it would connect the namespaces of one machine whatever their networks.
Needs root, `ip` (iproute2) and Fast DDS's `fast-discovery-server`; changes nothing that remains.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from itertools import count
from pathlib import Path

from thfm_ros.ros.dds_profile import share_folder

SERVER = "10.77.0.1:11811"
HOSTS = {"server": 1, "robot1": 2, "robot2": 3, "viewer": 4}
ROBOTS = ("robot1", "robot2")
BRIDGE = "thfmbridge"
SERVER_COMMAND = "42"  # what `fastdds discovery` of Fast DDS 3 calls its program with
RATE_HZ = 5.0
START_S = 30.0  # until the engines run
MARKERS = ("<!-- measured: written by `scripts/fleet_check.py`, do not edit -->", "<!-- end -->")


def run(*command: str) -> None:
    """Run a command to its end; an error if it fails."""
    subprocess.run(command, check=True)


@contextmanager
def network() -> Iterator[None]:
    """One namespace per host, all on one bridge."""
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for host, number in HOSTS.items():
            space, inside, outside = f"thfm_{host}", f"in{number}", f"thfmout{number}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
            run("ip", "link", "set", inside, "netns", space)
            run("ip", "link", "set", outside, "master", BRIDGE, "up")
            for device in (inside, "lo"):
                run("ip", "-n", space, "link", "set", device, "up")
            run("ip", "-n", space, "addr", "add", f"10.77.0.{number}/24", "dev", inside)
            run("ip", "-n", space, "route", "add", "224.0.0.0/4", "dev", inside)
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", f"thfm_{host}"], check=False)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False)


@contextmanager
def process(host: str, command: list[str], environment: dict[str, str]) -> Iterator[None]:
    """A process on one host until the end of the block."""
    started = subprocess.Popen(
        ["ip", "netns", "exec", f"thfm_{host}", *command],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        if started.poll() is not None:
            raise SystemExit(f"{command[0]} ended at once, with exit code {started.returncode}")
        yield
    finally:
        started.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            started.wait(10)
        started.kill()


def camera(namespace: str) -> None:
    """Publish the shipped clip as JPEG images until it is interrupted."""
    import cv2
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage

    from thfm_ros.media.video import Video

    clip = Path(str(files("thfm_ros") / "clips" / "street.mp4"))
    jpegs = []
    for frame in Video(clip):
        jpegs.append(cv2.imencode(".jpg", frame.rgb[..., ::-1])[1].tobytes())
        if len(jpegs) == 40:
            break
    rclpy.init()
    node = rclpy.create_node("camera", namespace=namespace)
    topic = f"/{namespace}/image/compressed"
    publisher = node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
    for number in count():
        message = CompressedImage(format="jpeg", data=jpegs[number % len(jpegs)])
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = f"{namespace}_optical"
        publisher.publish(message)
        time.sleep(1 / RATE_HZ)


def view(seconds: float) -> None:
    """Print how many messages with bodies arrive of each robot."""
    import rclpy

    from thfm_ros.msg import BodyArray

    rclpy.init()
    node = rclpy.create_node("viewer")
    counts = dict.fromkeys(ROBOTS, 0)

    def received(robot: str, message: BodyArray) -> None:
        counts[robot] += bool(message.bodies)

    for robot in ROBOTS:
        node.create_subscription(
            BodyArray, f"/{robot}/thfm/bodies", lambda msg, robot=robot: received(robot, msg), 5
        )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    print(*counts.values())


def udp_only() -> str:
    """The package's DDS profile without its shared memory."""
    text = (share_folder() / "config" / "fastdds.xml").read_text()
    descriptor = (
        r"<transport_descriptor>\s*<transport_id>thfm_shared_memory.*?</transport_descriptor>"
    )
    text = re.sub(descriptor, "", text, count=1, flags=re.DOTALL)
    return text.replace("<transport_id>thfm_shared_memory</transport_id>", "")


def viewed(seconds: float, environment: dict[str, str]) -> list[int]:
    """Messages of each robot that a new viewer receives."""
    viewer = [sys.executable, __file__, "--view", str(seconds)]
    command = ["ip", "netns", "exec", "thfm_viewer", *viewer]
    result = subprocess.run(
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return [int(each) for each in result.stdout.split()]


def measure(seconds: float, profile: Path) -> list[tuple[str, list[int]]]:
    """What a viewer receives with the server, without it, and after the server was killed."""
    alone = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)}
    client = alone | {"ROS_DISCOVERY_SERVER": SERVER}
    libraries = os.pathsep.join([*_folders_of_libraries(), os.environ.get("LD_LIBRARY_PATH", "")])
    address, port = SERVER.split(":")
    server = [_program("fast-discovery-server"), SERVER_COMMAND, "-l", address, "-p", port]
    with ExitStack() as running:
        running.enter_context(network())
        serving = running.enter_context(ExitStack())
        serving.enter_context(process("server", server, alone | {"LD_LIBRARY_PATH": libraries}))
        for robot in ROBOTS:
            images = [sys.executable, __file__, "--camera", robot]
            node = [_program("thfm-perception-node"), "--ros-args", "-r", f"__ns:=/{robot}"]
            node += ["-p", "image_transport:=compressed"]
            for command in (images, node):
                running.enter_context(process(robot, command, client))
        time.sleep(START_S)
        rows = [
            ("viewer with the address of the server", viewed(seconds, client)),
            ("viewer without it", viewed(seconds, alone)),
        ]
        serving.close()
        rows.append(("new viewer, after the server was stopped", viewed(seconds, client)))
    return rows


def _folders_of_libraries() -> list[str]:
    """Where wheels keep shared libraries, which their programs do not find on their own."""
    packages = Path(sysconfig.get_path("purelib"))
    return [f"{sys.prefix}/lib", *(str(each) for each in sorted(packages.glob("*.libs")))]


def _program(name: str) -> str:
    installed = Path(sys.executable).with_name(name)
    found = str(installed) if installed.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed")
    return found


def main() -> int:
    """Measure, print the table, and write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="that each viewer counts")
    parser.add_argument("--page", type=Path, help="write the table between its markers")
    parser.add_argument("--camera", help=argparse.SUPPRESS)
    parser.add_argument("--view", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.camera:
        with suppress(KeyboardInterrupt):
            camera(args.camera)
        return 0
    if args.view:
        view(args.view)
        return 0
    if os.geteuid() != 0:
        print('needs root: sudo env PATH="$PATH" python scripts/fleet_check.py')
        return 2
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "udp.xml")
        profile.write_text(udp_only())
        rows = measure(args.seconds, profile)
    lines = ["| | " + " | ".join(f"messages with people of {each}" for each in ROBOTS) + " |"]
    lines += ["|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(map(str, counts)) + " |" for name, counts in rows]
    table = "\n".join(lines)
    print(table)
    if args.page:
        text = args.page.read_text()
        before, rest = text.split(MARKERS[0])
        after = rest.split(MARKERS[1], 1)[1]
        args.page.write_text(f"{before}{MARKERS[0]}\n{table}\n{MARKERS[1]}{after}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
