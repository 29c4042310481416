# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Build thfm_ros for pip: CMake compiles the messages and installs the package, as for colcon.

Only ``pip install .`` runs this; colcon runs CMake itself (build type ament_cmake).
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
INSTALL_HINT = (
    "Install them with `pip install -r requirements-ros.txt`, or source your ROS 2 first."
)


def prefixes() -> list[str]:
    """Prefixes of ament and CMake packages: the sourced ones, then this environment."""
    found = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    return found if sys.prefix in found else [*found, sys.prefix]


def build_folder() -> Path:
    """One folder per interpreter and ROS 2, since CMake caches the paths of both."""
    key = "\n".join([str(HERE), sys.executable, *prefixes()])
    return HERE / "build" / f"pip-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def environment() -> dict[str, str]:
    """The user's environment variables, without what pip's build isolation adds to them.

    ament and rosidl are Python packages there, which processes started by CMake import.
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
    """Configure, build and install into a staging folder; return that folder."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        raise SystemExit("thfm_ros needs a C++ compiler and CMake: sudo apt install cmake g++")
    if not any(Path(p, "share", "rosidl_default_generators").is_dir() for p in prefixes()):
        raise SystemExit(f"No ROS 2 message generators in {', '.join(prefixes())}. {INSTALL_HINT}")
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
    """Files to install below the environment's prefix, by folder, for setuptools' data_files.

    They are typesupport libraries, the ament index, launch files and executables.
    """
    files: dict[str, list[str]] = {}
    for path in sorted(found for found in stage.rglob("*") if found.is_file()):
        parts = path.relative_to(stage).parts
        in_lib = parts[0] == "lib" and (len(parts) == 2 or parts[1] == "thfm_ros")
        if in_lib or parts[0] in ("share", "include"):
            files.setdefault(str(Path(*parts).parent), []).append(str(path.relative_to(HERE)))
    return sorted(files.items())


class BuildWithMessages(build_py):
    """Copy the package that CMake installed, instead of collecting Python files."""

    def run(self) -> None:
        stage = run_cmake()
        folders = (path.parent for path in stage.rglob("thfm_ros/msg"))
        packages = [path for path in folders if (path / "__init__.py").is_file()]
        if len(packages) != 1:
            raise SystemExit(f"CMake must install thfm_ros into one folder, not into {packages}")
        target = Path(self.build_lib) / "thfm_ros"
        shutil.rmtree(target, ignore_errors=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.c")
        shutil.copytree(packages[0], target, ignore=ignored)
        self.distribution.data_files = outside_the_package(stage)


class NoEditableWheel(editable_wheel):
    """Refused: pip cannot link one package to two folders, that of messages and that of sources."""

    def run(self) -> None:
        raise SystemExit(
            "thfm_ros has no editable install. Use `pip install .`, then `scripts/develop.sh`, "
            "which replaces the installed modules by links to these sources."
        )


class BinaryDistribution(Distribution):
    """Marks the wheel as compiled for one Python and one platform."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    cmdclass={"build_py": BuildWithMessages, "editable_wheel": NoEditableWheel},
    data_files=[("share", [])],
    distclass=BinaryDistribution,
)
