# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Both builds of this tree, each tested by two processes that exchange a message; takes minutes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(1800)]

TALK = """
import sys, time
import rclpy
from thfm_ros.msg import Body, BodyArray
from thfm_ros.srv import SetTasks

rclpy.init()
node = rclpy.create_node(sys.argv[1])
end = time.monotonic() + 20
if sys.argv[1] == "talker":
    publisher = node.create_publisher(BodyArray, "bodies", 1)
    message = BodyArray(image_width=640, bodies=[Body(id="abcde", score=0.5)])
    node.create_timer(0.1, lambda: publisher.publish(message))
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
else:
    received = []
    node.create_subscription(BodyArray, "bodies", received.append, 1)
    while not received and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    message = received[0]
    print("received", message.image_width, message.bodies[0].id, SetTasks.Request().tasks)
"""


def copied(root: Path, to: Path) -> Path:
    """Copy the files that git does not ignore, including uncommitted changes."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, to / name)
    return to


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=900)
    text = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command}\n{text[-4000:]}"
    return text


def exchange(python: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a publishing and a receiving process; what the receiving one prints."""
    (folder / "talk.py").write_text(TALK)
    talker = subprocess.Popen([*python, "talk.py", "talker"], cwd=folder, env=environment)
    try:
        return run([*python, "talk.py", "listener"], folder, environment)
    finally:
        talker.kill()
        talker.wait(10)


def test_colcon_builds_the_tree_as_it_is(root: Path, tmp_path: Path) -> None:
    if shutil.which("colcon") is None:
        pytest.skip("colcon is not installed: pip install colcon-common-extensions")
    copied(root, tmp_path / "src" / "thfm_ros")
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    environment["CMAKE_PREFIX_PATH"] = os.environ["AMENT_PREFIX_PATH"]
    run(["colcon", "build"], tmp_path, environment)
    prefix = tmp_path / "install" / "thfm_ros"
    assert sorted(path.name for path in (prefix / "lib" / "thfm_ros").iterdir()) == [
        "perception_node",
        "replay_node",
        "thfm",
    ]
    # The workspace takes precedence over the environment, where thfm_ros may be installed too.
    python = ["bash", "-c", '. ../install/local_setup.bash && exec "$0" "$@"', sys.executable]
    (tmp_path / "run").mkdir()
    where = run(
        [*python, "-c", "import thfm_ros.msg as m; print(m.__file__)"],
        tmp_path / "run",
        environment,
    )
    assert str(prefix) in where
    assert "received 640 abcde []" in exchange(python, tmp_path / "run", environment)
    replay_without_source = [*python, str(prefix / "lib" / "thfm_ros" / "replay_node")]
    done = subprocess.run(
        replay_without_source, cwd=tmp_path / "run", env=environment, capture_output=True
    )
    assert done.returncode == 1 and b"Name a video file" in done.stderr


def test_pip_builds_the_tree_in_a_new_environment(root: Path, tmp_path: Path) -> None:
    tree = copied(root, tmp_path / "tree")
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], tmp_path, dict(os.environ))
    # The last two are set by the wheels' bootstrapper; the new interpreter needs its own.
    hidden = {"AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "PYTHONPATH"}
    hidden |= {"LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    python = str(tmp_path / "venv" / "bin" / "python")
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}"
    pip = [python, "-m", "pip", "install", "--quiet"]
    if not os.environ.get("ROS_DISTRO"):
        run([*pip, "-r", str(tree / "requirements-ros.txt")], tmp_path, environment)
    # Without dependencies: the messages do not need them, and PyTorch alone takes minutes.
    run([*pip, "--no-deps", str(tree)], tmp_path, environment)
    assert "received 640 abcde []" in exchange([python], tmp_path, environment)
    (typed,) = (tmp_path / "venv").rglob("site-packages/thfm_ros/py.typed")
    assert (typed.parent / "perception" / "tracking.py").is_file()
    done = subprocess.run(
        [python, "-m", "pip", "install", "--no-deps", "-e", str(tree)],
        env=environment,
        capture_output=True,
    )
    assert done.returncode != 0 and b"scripts/develop.sh" in done.stdout + done.stderr
