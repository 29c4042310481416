"""What is declared, shipped and built: package.xml, pyproject.toml, CMake and the scripts agree."""

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

import thfm_ros

# Import name -> what a distribution or rosdep calls it, where the two differ.
PIP_NAMES = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "rerun": "rerun-sdk"}
ROS_KEYS = {
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "yaml": "python3-yaml",
    "tqdm": "python3-tqdm",
    "torch": "python3-pytorch-pip",
    "onnxruntime": "python3-onnxruntime-pip",
}
# Written by ROS itself, or part of another package that is declared.
ROS_MODULES = {"builtin_interfaces": "std_msgs", "rcl_interfaces": "rclpy"}
# Used where they are installed, never needed.
OPTIONAL = {"hri_msgs", "vision_msgs", "tensorrt", "mediapipe", "psutil", "rosbags", "beartype"}


def imported_modules(folder: Path) -> dict[str, str]:
    """Top-level names that the Python files import, and one place where."""
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
    return {name: where for name, where in found.items() if name not in own}


def declared_keys(root: Path) -> set[str]:
    package = ElementTree.parse(root / "package.xml").getroot()
    kinds = ("depend", "exec_depend", "buildtool_depend", "test_depend")
    return {(element.text or "") for kind in kinds for element in package.iter(kind)}


def ros_packages(root: Path) -> set[str]:
    """Declared names that are ROS packages: importable names with no python3- in front."""
    return {key for key in declared_keys(root) if "-" not in key}


def test_every_ros_package_that_is_imported_is_declared(root: Path) -> None:
    declared = ros_packages(root)
    python = {PIP_NAMES.get(name, name).lower().replace("_", "-") for name in pip_names(root)}
    for folder in ("thfm_ros", "launch"):
        for name, where in imported_modules(root / folder).items():
            if PIP_NAMES.get(name, name).lower().replace("_", "-") not in python:
                assert ROS_MODULES.get(name, name) in declared, f"{where} imports {name}"


def pip_names(root: Path) -> set[str]:
    """Distributions in the requirements of pyproject.toml, extras too."""
    text = (root / "pyproject.toml").read_text().split("[project.scripts]")[0]
    return set(re.findall(r'"([A-Za-z][\w-]*)(?:[<>=!~][^"]*)?"[,\]\s]', text))


def test_every_python_package_that_is_imported_is_required(root: Path) -> None:
    required = {name.lower().replace("_", "-") for name in pip_names(root)}
    ros = ros_packages(root) | set(ROS_MODULES)
    for name, where in imported_modules(root / "thfm_ros").items():
        if name not in ros:
            wanted = PIP_NAMES.get(name, name).lower().replace("_", "-")
            assert wanted in required, f"{where} imports {name}"


@pytest.mark.parametrize("module", ROS_KEYS)
def test_python_packages_with_a_rosdep_key_are_declared_by_it(root: Path, module: str) -> None:
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


def test_the_executables_of_colcon_call_functions_that_exist(root: Path) -> None:
    installed = re.findall(r"scripts/(\w+)", cmake(root))
    assert sorted(installed) == ["perception_node", "replay_node", "thfm"]
    for name in installed:
        script = root / "scripts" / name
        assert script.stat().st_mode & 0o111, f"{script} is not executable"
        module = re.search(r"from thfm_ros\.(\S+) import main", script.read_text())
        assert module is not None
        assert defines_main(root / "thfm_ros" / (module[1].replace(".", "/") + ".py"))


def test_the_commands_of_pip_call_functions_that_exist(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    commands = re.findall(r'^(thfm[\w-]*) = "thfm_ros\.([\w.]+):main"$', text, re.MULTILINE)
    assert {name for name, _ in commands} == {
        "thfm",
        "thfm-demo",
        "thfm-perception-node",
        "thfm-replay-node",
    }
    for name, module in commands:
        assert defines_main(root / "thfm_ros" / (module.replace(".", "/") + ".py")), name


def defines_main(path: Path) -> bool:
    body = ast.parse(path.read_text()).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in body)


@pytest.mark.parametrize("name", ["demo.sh", "test.sh", ".ci/run", "scripts/develop.sh"])
def test_shell_scripts_can_be_parsed_and_run(root: Path, name: str) -> None:
    path = root / name
    assert path.stat().st_mode & 0o111, f"{path} is not executable"
    for script in (path, root / "scripts" / "environment.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)


def test_help_needs_no_setup(root: Path, tmp_path: Path) -> None:
    command = ["bash", str(root / "demo.sh"), "--help"]
    environment = {"PATH": "/usr/bin:/bin", "THFM_VENV": str(tmp_path / "venv")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0 and "--camera N" in result.stdout
    assert not (tmp_path / "venv").exists()


def test_a_video_that_is_not_there_is_told_before_any_setup(root: Path, tmp_path: Path) -> None:
    command = ["bash", str(root / "demo.sh"), "--video", "no such.mp4"]
    environment = {"PATH": "/usr/bin:/bin", "THFM_VENV": str(tmp_path / "venv")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1 and "There is no no such.mp4." in result.stderr
    assert not (tmp_path / "venv").exists()


def test_missing_tools_are_named_with_the_command_that_installs_them(
    root: Path, tmp_path: Path
) -> None:
    """A machine with a shell and Python, but neither CMake nor a compiler."""
    for tool in ("bash", "uname", "dirname", "cat", "env", "sed"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=True).stdout
        (tmp_path / tool).symlink_to(found.strip())
    (tmp_path / "python3").symlink_to(sys.executable)
    environment = {"PATH": str(tmp_path), "THFM_VENV": str(tmp_path / "venv")}
    command = [str(tmp_path / "bash"), str(root / "demo.sh")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert re.search(r"sudo apt install .*cmake g\+\+ make", result.stderr), result.stderr


def test_what_the_first_page_shows_and_links_to_is_there(root: Path) -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", (root / "README.md").read_text())
    assert "docs/images/demo.jpg" in linked
    assert [name for name in linked if not (root / name).exists()] == []


def test_the_scripts_name_no_package_index_but_pytorch_s(root: Path) -> None:
    for path in [root / "demo.sh", root / "test.sh", *(root / "scripts").iterdir()]:
        hosts = re.findall(r"https?://([^/\s\"']+)", path.read_text())
        assert set(hosts) <= {"download.pytorch.org"}, path


@pytest.mark.ros
def test_weights_clip_launch_and_profile_are_installed() -> None:
    from thfm_ros.ros.dds_profile import share_folder

    package = Path(thfm_ros.__file__).parent
    assert (package / "clips" / "street.mp4").stat().st_size < 2_000_000
    weights = package / "weights" / "nano.safetensors"
    assert 100_000 < weights.stat().st_size < 16_000_000
    for name in ("launch/thfm.launch.py", "config/fastdds.xml", "config/thfm.yaml", "package.xml"):
        assert (share_folder() / name).is_file(), name


@pytest.mark.ros
def test_the_commands_are_installed() -> None:
    installed = {e.name: e.value for e in metadata.distribution("thfm_ros").entry_points}
    assert installed["thfm"] == "thfm_ros.commands.main:main"
    assert installed["thfm-perception-node"] == "thfm_ros.ros.node:main"
    assert installed["thfm-replay-node"] == "thfm_ros.ros.replay.node:main"
