# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node`: its plan, repetitions, and when it refuses to measure."""

import argparse
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from a_measurement import a_measurement

from thfm_ros.commands import main as cli
from thfm_ros.config import config_from
from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark import command
from thfm_ros.ros.benchmark.measurement import MEDIAPIPE, Scenario, subject_settings
from thfm_ros.ros.benchmark.plan import SWEEPS, full_plan, plan_text, scenarios
from thfm_ros.ros.benchmark.report import BEGIN, END, Report, measurement_rows
from thfm_ros.ros.benchmark.resource_usage import background_cores
from thfm_ros.ros.benchmark.runner import check_mediapipe

pytestmark = pytest.mark.ros


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


def test_every_sweep_varies_one_condition_and_overload_follows_the_capacity() -> None:
    args = arguments("--mediapipe-python", "python", "--rates", "15", "30")
    measurements = [a_measurement("thfm", 40.0, 20.0)]
    planned = {sweep: list(scenarios(sweep, args, measurements)) for sweep in SWEEPS}
    assert [s.rate_hz for s in planned["overload"]] == [80, 200, 400]
    assert {(s.subject, s.topics, s.rate_hz) for s in planned["rates"]} == {
        (subject, topics, rate) for rate in (15, 30)
        for subject, topics in (
            ("thfm", "estimates"), (MEDIAPIPE, "estimates"), ("thfm", "bodies")
        )
    }  # fmt: skip
    assert {(s.subject, s.people) for s in planned["people"]} == {
        (subject, people) for subject in ("thfm", MEDIAPIPE) for people in (2, 3, 4)
    }
    subjects = [s.subject for s in planned["detection_intervals"]]
    assert subjects == [f"thfm_every_{frames}" for frames in (1, 5, 10)]


def test_mediapipe_is_measured_right_after_the_node_under_the_same_load() -> None:
    plan = full_plan(arguments("--mediapipe-python", "python"))
    for ours, baseline in pairwise(plan):
        if baseline.subject == MEDIAPIPE:
            assert ours.subject == "thfm"
            assert (ours.rate_hz, ours.people, ours.width) == (
                baseline.rate_hz, baseline.people, baseline.width,
            )  # fmt: skip
    assert {s.rate_hz for s in plan if s.subject == MEDIAPIPE} >= {15, 30}


def test_the_full_plan_takes_less_than_twenty_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mediapipe-python", "python", "--plan"]
    assert cli.main(["benchmark", "node", *words]) == 0
    *each, total = capsys.readouterr().out.splitlines()
    assert len(each) == len(full_plan(arguments(*words))) > 30
    images_s = sum(s.warmup_s + s.seconds for s in full_plan(arguments(*words)))
    assert 5 * 60 < images_s < 15 * 60
    longest = int(total.partition("at most ")[2].partition(",")[0])
    assert images_s / 60 < longest < 20


def test_planned_duration_grows_with_the_length_of_the_measurements() -> None:
    short, long = ([Scenario(subject="thfm", seconds=s)] * 10 for s in (1.0, 61.0))
    texts = [plan_text(plan, repeats=0).splitlines()[-1] for plan in (short, long)]
    minutes = [int(text.partition("about ")[2].partition(" ")[0]) for text in texts]
    assert minutes[1] - minutes[0] == 10


@pytest.mark.parametrize(
    ("subject", "label", "parameters"),
    [
        ("thfm", "", {}),
        ("thfm_torch", "torch", {"engine.kind": "torch"}),
        ("thfm_onnx_2", "onnx, 2 threads", {"engine.kind": "onnx", "engine.threads": 2}),
        (
            "thfm_every_10",
            "detection pass every 10 frames",
            {"regions.frame_pass_every": 10, "regions.frame_pass_period_s": 0.0},
        ),
    ],
)
def test_the_name_of_a_subject_selects_its_parameters(
    subject: str, label: str, parameters: dict[str, object]
) -> None:
    assert subject_settings(subject) == (label, parameters)
    config_from(parameters)  # raises for a parameter that does not exist


def test_measurements_of_a_busy_machine_are_not_written_to_the_documents(tmp_path: Path) -> None:
    (tmp_path / "latency.md").write_text(f"{BEGIN}\n{END}\n")
    args = argparse.Namespace(docs=tmp_path, even_if_busy=False)
    busy = a_measurement("thfm", 30.0, 20.0, background_cores=0.5)
    assert command._publish(Report({}, "", measurements=[busy]), args) == command.EXIT_BUSY
    assert (tmp_path / "latency.md").read_text() == f"{BEGIN}\n{END}\n"


def test_invalid_measurements_are_marked_in_the_report() -> None:
    idle = a_measurement("thfm", 30.0, 20.0)
    busy = a_measurement("thfm", 9.0, 90.0, background_cores=0.5)
    (first,), (second,) = measurement_rows([idle]), measurement_rows([busy])
    assert "INVALID" in second[1] and "INVALID" not in first[1]
    text = Report({}, "", measurements=[idle, busy]).markdown()
    assert "**1 measurements are invalid**" in text


def test_an_invalid_measurement_is_repeated_and_the_least_disturbed_one_kept() -> None:
    scenario = Scenario(subject="thfm")
    busy, stolen, idle = (
        a_measurement("thfm", 30.0, 20.0, background_cores=background, stolen_cores=stolen)
        for background, stolen in ((0.5, 0.0), (0.1, 0.3), (0.0, 0.0))
    )

    runner = MagicMock(**{"measure.side_effect": [busy, stolen, idle]})
    assert command.measure_undisturbed(runner, scenario, 4) == (idle, 2)

    runner = MagicMock(**{"measure.side_effect": [busy, stolen]})
    assert command.measure_undisturbed(runner, scenario, 1) == (stolen, 0)

    runner = MagicMock(**{"measure.side_effect": [busy]})
    assert command.measure_undisturbed(runner, scenario, 0) == (busy, 0)


@pytest.fixture
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(command, "background_cores", lambda _: 1.5)
    monkeypatch.setattr(command, "IDLE_TIMEOUT_S", 0.0)
    yield


@pytest.mark.usefixtures("busy_machine")
def test_nothing_is_measured_for_the_documents_on_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def started(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(command, "measure_stages", started)
    assert command.run(arguments("--docs", str(tmp_path))) == command.EXIT_BUSY
    assert "other processes use 1.5 cores" in caplog.text and "--even-if-busy" in caplog.text
    for options in (["--even-if-busy", "--docs", str(tmp_path)], []):
        with pytest.raises(InterruptedError):
            command.run(arguments(*options))


def test_background_load_excludes_the_cpu_time_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine_s = iter([(10.0, 1.0), (10.5, 1.25)])
    own_s, clock_s = iter([3.0, 3.25]), iter([0.0, 2.0])
    monkeypatch.setattr("thfm_ros.ros.benchmark.resource_usage._machine_s", lambda: next(machine_s))
    monkeypatch.setattr("time.process_time", lambda: next(own_s))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock_s))
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert background_cores(2.0) == pytest.approx((0.5 + 0.25 - 0.25) / 2)


def test_a_missing_interpreter_is_reported_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=r"not executable(.|\n)*pip install mediapipe"):
        command.run(arguments("--mediapipe-python", str(tmp_path / "python")))


@pytest.mark.skipif(find_spec("mediapipe") is not None, reason="mediapipe is installed here")
def test_an_interpreter_without_mediapipe_is_reported_with_its_output() -> None:
    with pytest.raises(PerceptionError, match=r"No module named(.|\n)*--mediapipe-python"):
        check_mediapipe(sys.executable)
