# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The set-up scripts, run with fake interpreters that record what they are asked to install."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

PYTORCH = "https://download.pytorch.org/whl/cpu"

# Replaces the interpreter of the virtual environment: answers `pip index versions` from INDEX or
# PYTORCH_ORG, records the arguments of `pip install`, and has PyTorch if HAS_TORCH is not empty.
PYTHON = """#!/bin/bash
case "$*" in
  *"pip index versions"*pytorch.org*) echo "Available versions: $PYTORCH_ORG" ;;
  *"pip index versions"*) echo "Available versions: $INDEX" ;;
  *"pip install"*) echo "$*" >>"$INSTALLED" ;;
  *"import torch"*) [ -n "$HAS_TORCH" ] ;;
  *'version("torch")'*) echo 2.13.0+cpu ;;
  *) echo Python 3.11 ;;
esac
"""


class Machine:
    """Runs environment.sh with the fake interpreter, without an NVIDIA GPU."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._log = folder / "installed"
        python = folder / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON)
        python.chmod(python.stat().st_mode | stat.S_IXUSR)

    def run(self, steps: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run shell functions of environment.sh as demo.sh and test.sh do."""
        script = f'set -Eeuo pipefail; . "{self._root}/scripts/environment.sh"; '
        script += f'SETUP_LOG="{self._folder}/setup.log"; nvidia-smi() {{ false; }}; {steps}'
        environment = {"PATH": os.environ["PATH"], "THFM_VENV": str(self._folder / "venv")}
        environment |= {"INDEX": "", "PYTORCH_ORG": "", "HAS_TORCH": "", **variables}
        environment["INSTALLED"] = str(self._log)
        command = ["bash", "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    def installed(self) -> str:
        """The arguments of every `pip install`."""
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def machine(root: Path, tmp_path: Path) -> Machine:
    return Machine(root, tmp_path)


def test_a_cpu_build_of_the_index_is_preferred_to_a_newer_cuda_build(machine: Machine) -> None:
    result = machine.run("install_torch", INDEX="2.15.0, 2.14.1, 2.13.0+cpu, 2.13.0, 2.12.1")
    assert result.returncode == 0, result.stderr
    assert "torch>=2.5,==2.13.0+cpu" in machine.installed()
    assert "index-url" not in machine.installed()


def test_otherwise_the_newest_cpu_build_of_pytorch_org_is_installed(machine: Machine) -> None:
    result = machine.run(
        "install_torch", INDEX="2.15.0, 2.14.1", PYTORCH_ORG="2.15.0+cpu, 2.14.1+cpu"
    )
    assert result.returncode == 0, result.stderr
    assert f"torch>=2.5,==2.15.0+cpu --index-url {PYTORCH}" in machine.installed()


def test_without_a_cpu_build_nothing_is_installed_and_alternatives_are_named(
    machine: Machine,
) -> None:
    result = machine.run("install_torch", INDEX="2.15.0, 2.14.1")
    assert result.returncode == 1
    assert machine.installed() == ""
    assert "download.pytorch.org cannot be reached" in result.stderr
    assert "PIP_FIND_LINKS" in result.stderr and "bin/pip install torch" in result.stderr


def test_an_installed_pytorch_is_kept(machine: Machine) -> None:
    result = machine.run("install_torch", HAS_TORCH="yes", INDEX="2.15.0")
    assert result.returncode == 0, result.stderr
    assert machine.installed() == ""


def test_later_requirements_cannot_replace_pytorch(machine: Machine, tmp_path: Path) -> None:
    result = machine.run("install_package '[dev]'", HAS_TORCH="yes")
    assert result.returncode == 0, result.stderr
    constraint = tmp_path / "venv" / "thfm-stamps" / "torch"
    assert f"--constraint {constraint}" in machine.installed()
    assert constraint.read_text() == "torch==2.13.0+cpu\n"


def test_develop_accepts_a_relative_path_of_the_interpreter(root: Path, tmp_path: Path) -> None:
    """It starts the interpreter from another folder, and replaces the installed modules only."""
    tree, installed = tmp_path / "tree", tmp_path / "site" / "thfm_ros"
    for folder in (tree / "scripts", tree / "venv", installed / "msg", installed / "ros"):
        folder.mkdir(parents=True)
    shutil.copy(root / "scripts" / "develop.sh", tree / "scripts")
    python = tree / "venv" / "python"
    python.write_text(f'#!/bin/sh\necho "{installed}"\n')
    python.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "PYTHON": "venv/python"}
    command = ["bash", "scripts/develop.sh"]
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in installed.iterdir()} == {"msg", "__init__.py"}
    assert f'"{tree}/thfm_ros"' in (installed / "__init__.py").read_text()
