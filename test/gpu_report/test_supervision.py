# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A report's steps run in processes of their own: none can cost the results of another."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import gpu_report_steps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.commands import main as program
from thfm_ros.contract import PerceptionError
from thfm_ros.gpu_report import command, plan, supervisor
from thfm_ros.gpu_report.plan import STEPS, Step, missing_packages, time_limit

SUPPORT = Path(__file__).resolve().parents[1] / "support"
Values = dict[str, Any]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Child processes find the steps of the tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*filter(None, sys.path), str(SUPPORT)]))
    monkeypatch.setenv("THFM_TEST_FOLDER", str(tmp_path))


def step(name: str, limit_s: float = 30.0, needs: tuple[str, ...] = ()) -> Step:
    return Step(name, f"The step {name}", f"gpu_report_steps:{name}", limit_s, needs)


def report(folder: Path, *steps: Step, budget_s: float = 300.0, stand_in: bool = False) -> int:
    return command.write_report(folder, [step("gpu"), *steps], budget_s, stand_in=stand_in)


def read(folder: Path) -> Values:
    values: Values = json.loads((folder / "gpu.json").read_text())
    return values


def test_results_and_reasons_of_all_steps_are_kept(tmp_path: Path) -> None:
    names = ("die", "die_while_writing", "out_of_memory", "fail", "absent", "succeed")
    assert report(tmp_path / "out", *map(step, names)) == 1
    values = read(tmp_path / "out")
    assert values["complete"] and not values["stand_in"]
    steps = values["steps"]
    assert {name: steps[name]["status"] for name in names} == {
        **dict.fromkeys(names[:4], "failed"),
        **{"absent": "skipped", "succeed": "done"},
    }
    assert steps["die"]["reason"] == "ended by SIGSEGV"
    assert steps["die_while_writing"]["reason"] == "exit code 7"
    expected = "out of memory: CUDA out of memory. Tried to allocate 3 GiB."
    assert steps["out_of_memory"]["reason"] == expected
    assert steps["fail"]["reason"] == "ValueError: ~/private/file is odd"
    assert steps["absent"]["reason"] == "this machine has no such provider"
    for name in names[:3]:
        assert steps[name]["records"] == [gpu_report_steps.RESULT], name
    assert any("gpu_report_steps.py" in line for line in steps["out_of_memory"]["log"])
    assert steps["succeed"]["records"][1] == {"error": "nan", "errors": ["inf"]}
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert "ended by SIGSEGV" in page and "a GPU of a test" in page
    assert os.path.expanduser("~") + "/private" not in page


@pytest.mark.fault("process", "a step of the GPU report hangs")
def test_a_step_that_hangs_is_killed_with_its_children_and_the_next_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, monotonic = tmp_path / "child", time.monotonic

    def clock() -> float:
        """Hours go by once the step hangs, however long it took to come so far."""
        return monotonic() + (1e4 if child.exists() else 0.0)

    monkeypatch.setattr(supervisor, "time", types.SimpleNamespace(monotonic=clock))
    assert report(tmp_path / "out", step("hang", limit_s=100.0), step("succeed")) == 1
    steps = read(tmp_path / "out")["steps"]
    assert steps["hang"]["status"] == "failed"
    assert steps["hang"]["reason"].startswith("killed at its time limit of")
    assert steps["hang"]["records"] == [gpu_report_steps.RESULT]
    assert _has_ended(int(child.read_text()))
    assert steps["succeed"]["status"] == "done"


def test_a_step_that_hangs_says_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "thfm_ros.gpu_report.worker", "gpu_report_steps:hang"]
    command += ["--records", str(tmp_path / "records"), "--work", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--limit-s", "0.5"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        assert any(" in hang" in line for line in process.stderr)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for its parent to take note."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_report_is_written_while_a_step_runs(tmp_path: Path) -> None:
    code = (
        "from test_steps import *\n"
        "command.write_report(Path('out'), [step('gpu'), step('hang')], 300.0)\n"
    )
    (tmp_path / "test_steps.py").write_text(
        "from pathlib import Path\n"
        "from thfm_ros.gpu_report import command\n"
        "from thfm_ros.gpu_report.plan import Step\n"
        "def step(name): return Step(name, name, 'gpu_report_steps:' + name, 60.0)\n"
    )
    paths = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": paths}
    )
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (tmp_path / "out" / "gpu.json").exists():
            hang = read(tmp_path / "out")["steps"]["hang"]
            if hang["records"] and (tmp_path / "child").exists():
                break
        time.sleep(0.05)
    assert hang["status"] == "running" and hang["records"] == [gpu_report_steps.RESULT]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not read(tmp_path / "out")["complete"]
    assert _has_ended(int((tmp_path / "child").read_text())), "no step is left behind"


def test_without_a_gpu_there_is_one_line_and_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [step("no_gpu"), step("succeed")]
    assert command.write_report(tmp_path / "out", steps, 300.0) == 3
    printed = capsys.readouterr()
    assert printed.err == "PyTorch 0.0 finds no NVIDIA GPU.\n" and not printed.out
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_cannot_be_examined_is_an_error_with_the_needed_packages(
    tmp_path: Path,
) -> None:
    with pytest.raises(PerceptionError, match=r"SIGSEGV.*numpy, jaxtyping"):
        command.write_report(tmp_path / "out", [step("die"), step("succeed")], 300.0)


def test_a_stand_in_report_says_so_and_has_no_page(tmp_path: Path) -> None:
    assert report(tmp_path, step("succeed"), stand_in=True) == 0
    assert read(tmp_path)["stand_in"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json"]


def test_a_second_run_keeps_the_first_report_under_another_name(tmp_path: Path) -> None:
    for _ in range(3):
        assert report(tmp_path, step("succeed")) == 0
    report(tmp_path, step("succeed"), stand_in=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len([name for name in names if name.endswith(".json")]) == 4
    assert len([name for name in names if name.endswith(".md")]) == 3
    assert "gpu.md" not in names, "of an earlier run, beside the results of a stand-in"


@pytest.mark.parametrize("folder", ["/proc/no/such", "a file/below"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(PerceptionError, match=r"cannot be written .*--out"):
        report(tmp_path / folder, step("succeed"))


def test_a_part_that_differs_from_the_cpu_makes_the_exit_code_1(tmp_path: Path) -> None:
    assert report(tmp_path, step("differ")) == 1
    assert "| NO |" in (tmp_path / "gpu.md").read_text()


def test_steps_that_cannot_run_are_named_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "LEAST_S", 1e6)  # more than the whole budget, on any machine
    steps = [step("succeed", needs=("diffusers_of_nowhere",)), step("hang", limit_s=1e6)]
    assert report(tmp_path, *steps) == 0
    found = read(tmp_path)["steps"]
    reason = "diffusers_of_nowhere is not installed: pip install diffusers_of_nowhere"
    assert (found["succeed"]["status"], found["succeed"]["reason"]) == ("skipped", reason)
    assert found["hang"]["reason"] == "earlier steps used up the time budget"


def test_steps_that_are_not_chosen_are_named(tmp_path: Path) -> None:
    steps = [step("gpu"), step("succeed"), step("fail")]
    assert command.write_report(tmp_path, steps, 300.0, only=["succeed"]) == 0
    assert read(tmp_path)["steps"]["fail"]["reason"] == "not chosen with --only"


def test_the_limits_stay_within_the_budget() -> None:
    assert sum(each.limit_s for each in STEPS) <= plan.BUDGET_S <= 300


@given(
    limits=st.lists(st.floats(1, 100), min_size=1, max_size=12),
    used=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    budget_s=st.floats(0, 600),
)
@settings(max_examples=50, deadline=None)
def test_steps_share_the_budget(limits: list[float], used: list[float], budget_s: float) -> None:
    steps = [step(f"step{number}", limit_s) for number, limit_s in enumerate(limits)]
    left_s = budget_s
    for number, share in enumerate(used[: len(steps)]):
        limit_s = time_limit(steps, number, left_s)
        if limit_s is None:
            assert left_s < plan.LEAST_S
            continue
        assert limit_s <= left_s
        if sum(limits) <= budget_s:
            assert limit_s >= limits[number] - 1e-6, "never less than its own limit"
        left_s -= share * limit_s


def test_missing_packages_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: None if name == "cv2" else object())
    training = next(each for each in STEPS if each.name == "training")
    text = "cv2 is not installed: pip install opencv-python-headless"
    assert missing_packages(training) == text


def test_the_command_line_names_the_steps_and_reports_errors_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        program.main(["benchmark", "gpu", "--help"])
    text = capsys.readouterr().out
    assert all(each.name in text for each in STEPS) and "--out DIR" in text
    for budget in ("0", "-5", "nan", "inf", "much"):
        with pytest.raises(SystemExit):
            program.main(["benchmark", "gpu", "--out", "out", "--budget-s", budget])
    monkeypatch.setattr(command, "STEPS", (step("gpu"), step("succeed")))
    caplog.set_level(logging.ERROR)
    assert program.main(["benchmark", "gpu", "--out", "/proc/no/such"]) == 2
    assert "cannot be written" in caplog.text
    assert program.main(["benchmark", "gpu", "--out", str(tmp_path)]) == 0
