# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How the scripts run this suite, seen by programs that record with what they are started."""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

RECORD = '#!/bin/sh\nprintf "%s\\n" "$*" >>"$RECORDS/${0##*/}"\n'
SET_UP = "VENV=$PWD/venv\nprepare_environment() { :; }\nsay() { :; }\ndie() { exit 1; }\n"


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """A tree with the scripts, a set-up that does nothing, and an environment that records."""
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(root / "test.sh", tree)
    shutil.copy(root / "scripts" / "test_under_load.sh", tree / "scripts")
    (tree / "scripts" / "environment.sh").write_text(SET_UP)
    (tree / "venv" / "bin").mkdir(parents=True)
    for name in ("ruff", "mypy", "pytest", "thfm", "python"):
        program(tree, name, RECORD)
    return tree


def program(tree: Path, name: str, text: str) -> None:
    """Put an executable into the environment."""
    path = tree / "venv" / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def run(tree: Path, *command: str) -> list[list[str]]:
    """Run a script to its end; the arguments of each run of pytest."""
    environment = {
        "PATH": f"{tree / 'venv' / 'bin'}:{os.environ['PATH']}",
        "THFM_VENV": str(tree / "venv"),
        "RECORDS": str(tree),
    }
    subprocess.run(["bash", *command], cwd=tree, env=environment, check=True, timeout=300)
    return [line.split() for line in (tree / "pytest").read_text().splitlines()]


@pytest.mark.parametrize(("cores", "processes"), [(1, "0"), (2, "2"), (64, "2")])
def test_the_suite_runs_in_two_processes_where_there_are_two_cores(
    tree: Path, cores: int, processes: str
) -> None:
    program(tree, "nproc", f"#!/bin/sh\necho {cores}\n")
    assert run(tree, "test.sh") == [["-n", processes]]


def test_arguments_for_pytest_come_last_so_that_they_win(tree: Path) -> None:
    program(tree, "nproc", "#!/bin/sh\necho 2\n")
    (arguments,) = run(tree, "test.sh", "-n", "0", "test/test_lens.py")
    assert arguments == ["-n", "2", "-n", "0", "test/test_lens.py"]


def test_under_load_all_runs_are_in_two_processes_and_all_but_the_first_in_random_order(
    tree: Path,
) -> None:
    # The first run waits for both busy processes.
    program(tree, "python", RECORD + "exec sleep 300\n")
    wait = 'until [ "$(cat "$RECORDS/python" 2>/dev/null | wc -l)" -eq 2 ]; do sleep 0.01; done\n'
    program(tree, "pytest", RECORD + wait)
    runs = run(tree, "scripts/test_under_load.sh", "--busy", "2", "--runs", "3", "-x")
    assert len(runs) == 3
    for arguments in runs:
        assert arguments[arguments.index("-n") + 1] == "2" and arguments[-1] == "-x"
    assert ["--random-order" in arguments for arguments in runs] == [False, True, True]
    log = (tree / "build" / "test_under_load.log").read_text()
    assert "2 busy processes" in log and log.endswith("0 of 3 runs failed\n")
    assert re.search(r"run 3 of 3, random order, seed \d+: exit code 0", log)


def test_under_load_a_run_that_fails_is_counted_and_is_the_exit_code(tree: Path) -> None:
    program(tree, "pytest", RECORD + '[ "$(wc -l <"$RECORDS/pytest")" -ne 2 ]\n')
    with pytest.raises(subprocess.CalledProcessError):
        run(tree, "scripts/test_under_load.sh", "--busy", "1", "--runs", "3")
    log = (tree / "build" / "test_under_load.log").read_text()
    assert log.endswith("1 of 3 runs failed\n")


def test_coverage_and_the_workflow_use_two_processes_as_well(root: Path) -> None:
    script = runpy.run_path(str(root / "scripts" / "test_coverage.py"))
    command = script["COMMAND"]
    assert command[command.index("-n") + 1] == "2"
    workflow = yaml.safe_load((root / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    runs = [step for step in steps if "-m pytest" in step or "./test.sh" in step]
    assert len(runs) == 2
    assert all("./test.sh" in each or "-m pytest -n 2 " in each for each in runs)
    assert any("pytest-xdist" in step for step in steps)
