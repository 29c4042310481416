# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Declared dependencies, installed files and commands in package.xml, pyproject.toml and CMake."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

import thfm_ros

# Import name -> name of the distribution, or rosdep key, where they differ.
PIP_NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "rerun": "rerun-sdk",
}
ROS_KEYS = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "PIL": "python3-pil",
    "yaml": "python3-yaml",
    "tqdm": "python3-tqdm",
    "scipy": "python3-scipy",
    "torch": "python3-pytorch-pip",
    "onnxruntime": "python3-onnxruntime-pip",
}
# Packages that are part of the installation of another one.
ROS_MODULES = {"builtin_interfaces": "std_msgs", "rcl_interfaces": "rclpy"}
# Optional: used where they are installed.
OPTIONAL = {
    "hri_msgs",
    "people_msgs",
    "vision_msgs",
    "tensorrt",
    "mediapipe",
    "psutil",
    "rosbags",
    "beartype",
}
# Needed by the generated messages, which no Python file imports by this name.
RUNTIME_OF_MESSAGES = {"rosidl_default_runtime"}


def imported_modules(folder: Path) -> dict[str, str]:
    """Top-level modules that the Python files import, each with one location."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found.update({name.partition(".")[0]: f"{path}:{node.lineno}" for name in names})
    own = set(sys.stdlib_module_names) | {"thfm_ros"} | OPTIONAL
    return {name: location for name, location in found.items() if name not in own}


def modules_named_in(folder: Path) -> set[str]:
    """Top-level modules that the Python files import, or name in a string such as "tf2_ros"."""
    strings = {
        node.value.partition(".")[0]
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return strings | set(imported_modules(folder))


AT_RUN_TIME = ("depend", "exec_depend")
IN_TESTS = ("test_depend",)


def declared_keys(root: Path, kinds: tuple[str, ...] = AT_RUN_TIME + IN_TESTS) -> set[str]:
    package = ElementTree.parse(root / "package.xml").getroot()
    return {(element.text or "") for kind in kinds for element in package.iter(kind)}


def ros_packages(root: Path, kinds: tuple[str, ...] = AT_RUN_TIME + IN_TESTS) -> set[str]:
    """Declared ROS packages; other rosdep keys contain a hyphen."""
    return {key for key in declared_keys(root, kinds) if "-" not in key}


@pytest.mark.parametrize("folder", ["thfm_ros", "launch", "examples"])
def test_every_imported_ros_package_is_declared(root: Path, folder: str) -> None:
    declared = ros_packages(root, AT_RUN_TIME)
    python = {PIP_NAMES.get(name, name).lower().replace("_", "-") for name in pip_names(root)}
    for name, location in imported_modules(root / folder).items():
        if PIP_NAMES.get(name, name).lower().replace("_", "-") not in python:
            assert ROS_MODULES.get(name, name) in declared, f"{location} imports {name}"


def test_every_declared_ros_package_is_used(root: Path) -> None:
    """At run time by the node, the launch files or the messages; otherwise by the tests."""
    used = modules_named_in(root / "thfm_ros") | modules_named_in(root / "launch")
    assert ros_packages(root, AT_RUN_TIME) <= used | RUNTIME_OF_MESSAGES
    assert ros_packages(root, IN_TESTS) <= modules_named_in(root / "test")


def pip_names(root: Path) -> set[str]:
    """Distributions that pyproject.toml requires, including those of extras."""
    text = (root / "pyproject.toml").read_text().split("[project.scripts]")[0]
    return set(re.findall(r'"([A-Za-z][\w-]*)(?:[<>=!~][^"]*)?"[,\]\s]', text))


def test_every_imported_python_package_is_required(root: Path) -> None:
    required = {name.lower().replace("_", "-") for name in pip_names(root)}
    ros = ros_packages(root) | set(ROS_MODULES)
    for name, location in imported_modules(root / "thfm_ros").items():
        if name not in ros:
            wanted = PIP_NAMES.get(name, name).lower().replace("_", "-")
            assert wanted in required, f"{location} imports {name}"


@pytest.mark.parametrize("module", ROS_KEYS)
def test_python_packages_with_a_rosdep_key_are_in_package_xml(root: Path, module: str) -> None:
    assert ROS_KEYS[module] in declared_keys(root)


def test_the_install_page_installs_what_rosdep_cannot(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    base = text.split("dependencies = [")[1].split("\n]")[0]
    needed = set(re.findall(r'"([A-Za-z][\w-]*)', base))
    by_rosdep = {PIP_NAMES.get(module, module) for module in ROS_KEYS}
    page = (root / "docs" / "install.md").read_text()
    listed = re.search(r"^pip install ([\w ]+?) +#", page, re.MULTILINE)
    assert listed is not None and set(listed[1].split()) == needed - by_rosdep


def test_the_version_is_the_same_everywhere(root: Path) -> None:
    package = ElementTree.parse(root / "package.xml").getroot()
    assert package.findtext("version") == thfm_ros.__version__
    assert package.findtext("name") == "thfm_ros"
    assert package.findtext("license") == "Apache-2.0"
    assert "Apache License" in (root / "LICENSE").read_text()


def test_every_message_and_service_is_generated(root: Path) -> None:
    listed = re.findall(r"^\s+((?:msg|srv)/\w+\.(?:msg|srv))$", cmake(root), re.MULTILINE)
    present = [*root.glob("msg/*"), *root.glob("srv/*")]
    assert sorted(listed) == sorted(str(path.relative_to(root)) for path in present)


def cmake(root: Path) -> str:
    return (root / "CMakeLists.txt").read_text()


def test_executables_of_colcon_call_functions_that_exist(root: Path) -> None:
    installed = re.findall(r"scripts/(\w+)", cmake(root))
    assert sorted(installed) == ["fusion_node", "perception_node", "replay_node", "thfm"]
    for name in installed:
        script = root / "scripts" / name
        assert script.stat().st_mode & 0o111, f"{script} is not executable"
        module = re.search(r"from thfm_ros\.(\S+) import main", script.read_text())
        assert module is not None
        assert defines_main(root / "thfm_ros" / (module[1].replace(".", "/") + ".py"))


def test_commands_of_pip_call_functions_that_exist(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    commands = re.findall(r'^(thfm[\w-]*) = "thfm_ros\.([\w.]+):main"$', text, re.MULTILINE)
    assert {name for name, _ in commands} == {
        "thfm",
        "thfm-demo",
        "thfm-fusion-node",
        "thfm-perception-node",
        "thfm-replay-node",
    }
    for name, module in commands:
        assert defines_main(root / "thfm_ros" / (module.replace(".", "/") + ".py")), name


def defines_main(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in body)


@pytest.mark.parametrize(
    "name",
    ["demo.sh", "test.sh", ".ci/run", "scripts/develop.sh", "scripts/test_under_load.sh"],
)
def test_shell_scripts_are_executable_and_can_be_parsed(root: Path, name: str) -> None:
    path = root / name
    assert path.stat().st_mode & 0o111, f"{path} is not executable"
    for script in (path, root / "scripts" / "environment.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True, timeout=120)


def test_help_works_before_any_set_up(root: Path, tmp_path: Path) -> None:
    command = ["bash", str(root / "demo.sh"), "--help"]
    environment = {"PATH": "/usr/bin:/bin", "THFM_VENV": str(tmp_path / "venv")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "--camera N" in result.stdout
    assert not (tmp_path / "venv").exists()


def test_a_missing_video_is_reported_before_any_set_up(root: Path, tmp_path: Path) -> None:
    command = ["bash", str(root / "demo.sh"), "--video", "no such.mp4"]
    environment = {"PATH": "/usr/bin:/bin", "THFM_VENV": str(tmp_path / "venv")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and "There is no no such.mp4." in result.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_tools_are_reported_with_the_command_that_installs_them(
    root: Path, tmp_path: Path
) -> None:
    """A machine with a shell and Python, but neither CMake nor a compiler."""
    for tool in ("bash", "uname", "dirname", "cat", "env", "sed"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=True).stdout
        (tmp_path / tool).symlink_to(found.strip())
    (tmp_path / "python3").symlink_to(sys.executable)
    environment = {"PATH": str(tmp_path), "THFM_VENV": str(tmp_path / "venv")}
    command = [str(tmp_path / "bash"), str(root / "demo.sh")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert re.search(r"sudo apt install .*cmake g\+\+ make", result.stderr), result.stderr


def test_images_and_links_of_the_readme_exist(root: Path) -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", (root / "README.md").read_text())
    assert "docs/images/demo.jpg" in linked
    assert [name for name in linked if not (root / name).exists()] == []


def test_scripts_use_no_package_index_except_that_of_pytorch(root: Path) -> None:
    for path in [root / "demo.sh", root / "test.sh", *(root / "scripts").iterdir()]:
        hosts = re.findall(r"https?://([^/\s\"']+)", path.read_text())
        assert set(hosts) <= {"download.pytorch.org"}, path


@pytest.mark.ros
def test_weights_clip_and_configuration_are_installed() -> None:
    from thfm_ros.ros.dds_profile import share_folder

    package = Path(thfm_ros.__file__).parent
    assert (package / "clips" / "street.mp4").stat().st_size < 2_000_000
    weights = package / "weights" / "nano.safetensors"
    assert 100_000 < weights.stat().st_size < 16_000_000
    for name in ("launch/thfm.launch.py", "config/fastdds.xml", "config/thfm.yaml", "package.xml"):
        assert (share_folder() / name).is_file(), name


@pytest.mark.ros
def test_commands_are_installed() -> None:
    installed = {e.name: e.value for e in metadata.distribution("thfm_ros").entry_points}
    assert installed["thfm"] == "thfm_ros.commands.main:main"
    assert installed["thfm-perception-node"] == "thfm_ros.ros.node:main"
    assert installed["thfm-replay-node"] == "thfm_ros.ros.replay.node:main"
