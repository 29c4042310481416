"""Build thfm_ros for pip: CMake makes the message types and lays the package out, as for colcon.

colcon never comes here (package.xml says ament_cmake); ``pip install .`` does.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).resolve().parent
CURE = "Install them with `pip install -r requirements-ros.txt`, or source your ROS 2 first."


def prefixes() -> list[str]:
    """Where ament and CMake packages lie: what is sourced, then this environment."""
    found = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    return found if sys.prefix in found else [*found, sys.prefix]


def build_folder() -> Path:
    """One folder for each interpreter and ROS 2, since CMake remembers both."""
    key = "\n".join([str(HERE), sys.executable, *prefixes()])
    return HERE / "build" / f"pip-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def environment() -> dict[str, str]:
    """The environment as the user has it, without what pip's build isolation puts before it.

    ament and rosidl are Python packages of that environment; CMake's children must see them.
    """
    env = dict(os.environ)
    for name in ("PYTHONPATH", "PATH"):
        parts = [p for p in env.get(name, "").split(os.pathsep) if p and "pip-build-env" not in p]
        env[name] = os.pathsep.join(parts)
    if not env["PYTHONPATH"]:
        del env["PYTHONPATH"]
    env.pop("PYTHONNOUSERSITE", None)
    env["AMENT_PREFIX_PATH"] = os.pathsep.join(prefixes())
    return env


def run_cmake() -> Path:
    """Configure, build and install into a staging folder, which is returned."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        raise SystemExit("thfm_ros needs a C++ compiler and CMake: sudo apt install cmake g++")
    if not any(Path(p, "share", "rosidl_default_generators").is_dir() for p in prefixes()):
        raise SystemExit(f"No ROS 2 message generators in {', '.join(prefixes())}. {CURE}")
    build, env = build_folder(), environment()
    stage = build / "stage"
    configure = [
        *("cmake", "-S", str(HERE), "-B", str(build)),
        f"-DCMAKE_INSTALL_PREFIX={stage}",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
        f"-DPython3_EXECUTABLE={sys.executable}",
        f"-DCMAKE_PREFIX_PATH={';'.join(prefixes())}",
    ]
    if sys.prefix != sys.base_prefix:
        configure.append("-DPython3_FIND_VIRTUALENV=ONLY")
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    subprocess.run(configure, check=True, env=env)
    subprocess.run(["cmake", "--build", str(build), "-j", jobs], check=True, env=env)
    shutil.rmtree(stage, ignore_errors=True)
    quiet = subprocess.DEVNULL
    subprocess.run(["cmake", "--install", str(build)], check=True, env=env, stdout=quiet)
    return stage


def outside_the_package(stage: Path) -> list[tuple[str, list[str]]]:
    """Files for the environment's prefix: typesupport libraries, the ament index, launch files."""
    files: dict[str, list[str]] = {}
    for path in sorted(found for found in stage.rglob("*") if found.is_file()):
        parts = path.relative_to(stage).parts
        in_lib = parts[0] == "lib" and (len(parts) == 2 or parts[1] == "thfm_ros")
        if in_lib or parts[0] in ("share", "include"):
            files.setdefault(str(Path(*parts).parent), []).append(str(path.relative_to(HERE)))
    return sorted(files.items())


class BuildWithMessages(build_py):
    """Take what CMake laid out instead of collecting Python files."""

    def run(self) -> None:
        stage = run_cmake()
        laid_out = (path.parent for path in stage.rglob("thfm_ros/msg"))
        made = [path for path in laid_out if (path / "__init__.py").is_file()]
        if len(made) != 1:
            raise SystemExit(f"CMake laid thfm_ros out in {len(made)} places, expected 1: {made}")
        target = Path(self.build_lib) / "thfm_ros"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.c")
        shutil.copytree(made[0], target, ignore=ignored)
        self.distribution.data_files = outside_the_package(stage)


class NoEditableWheel(editable_wheel):
    """The built messages and the sources lie in two folders, which pip's links cannot join."""

    def run(self) -> None:
        raise SystemExit(
            "thfm_ros has no editable install. Use `pip install .`, then `scripts/develop.sh`, "
            "which replaces the installed modules by links to these sources."
        )


class BinaryDistribution(Distribution):
    """Compiled for one Python and one machine."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    cmdclass={"build_py": BuildWithMessages, "editable_wheel": NoEditableWheel},
    data_files=[("share", [])],
    distclass=BinaryDistribution,
)
