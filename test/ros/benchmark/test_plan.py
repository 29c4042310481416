# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node`: its plan, repetitions, and when it refuses to measure."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
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
from thfm_ros.ros.benchmark.measurement import (
    MEDIAPIPE,
    WITHOUT_MASK,
    Measurement,
    Scenario,
    baseline_subject,
    is_mediapipe,
    subject_settings,
)
from thfm_ros.ros.benchmark.plan import SWEEPS, full_plan, plan_text, scenarios
from thfm_ros.ros.benchmark.report import BEGIN, END, Report, measurement_rows
from thfm_ros.ros.benchmark.resource_usage import background_cores
from thfm_ros.ros.benchmark.runner import check_mediapipe, mediapipe_options
from thfm_ros.ros.benchmark.targets import target_rows

pytestmark = pytest.mark.ros


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


def test_every_sweep_varies_one_condition_and_overload_follows_the_capacity() -> None:
    args = arguments("--mediapipe-python", "python", "--rates", "15", "30", "--overload", "2", "10")
    measurements = [a_measurement("thfm", 40.0, 20.0)]
    planned = {sweep: list(scenarios(sweep, args, measurements)) for sweep in SWEEPS}
    assert [s.rate_hz for s in planned["overload"]] == [80, 400]
    assert {(s.subject, s.topics, s.rate_hz) for s in planned["rates"]} == {
        (subject, topics, rate)
        for rate in (15, 30)
        for topics, baseline in (("estimates", MEDIAPIPE), ("bodies", WITHOUT_MASK))
        for subject in ("thfm", baseline)
    }
    assert [(s.subject, s.people) for s in planned["people"]] == [
        ("thfm", 2), ("mediapipe_poses_2", 2),
        ("thfm", 4), ("mediapipe_poses_4", 4), ("thfm_budget_0", 4),
        ("thfm", 8), ("mediapipe_poses_8", 8), ("thfm_budget_0", 8),
    ]  # fmt: skip
    (worst,) = planned["worst"]
    assert (worst.subject, worst.topics, worst.people) == ("thfm_every_1", "all", 8)
    subjects = [s.subject for s in planned["detection_intervals"]]
    assert subjects == [f"thfm_every_{frames}" for frames in (1, 5, 10)]


def test_mediapipe_is_measured_right_after_the_node_under_the_same_load() -> None:
    plan = full_plan(arguments("--mediapipe-python", "python", "--sweeps", *SWEEPS))
    for ours, baseline in pairwise(plan):
        if is_mediapipe(baseline.subject):
            assert ours.subject == "thfm" and baseline.subject == baseline_subject(ours)
            assert (ours.rate_hz, ours.people, ours.width) == (
                baseline.rate_hz, baseline.people, baseline.width,
            )  # fmt: skip


def test_the_default_plan_takes_about_six_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mediapipe-python", "python", "--plan"]
    assert cli.main(["benchmark", "node", *words]) == 0
    *each, total = capsys.readouterr().out.splitlines()
    assert len(each) == len(full_plan(arguments(*words))) == 14
    longest = int(total.partition("at most ")[2].partition(",")[0])
    assert longest <= 7


def test_the_options_of_mediapipe_follow_from_the_name_of_the_subject() -> None:
    assert mediapipe_options(MEDIAPIPE) == []
    assert mediapipe_options(WITHOUT_MASK) == ["--without-mask"]
    assert mediapipe_options("mediapipe_poses_4") == ["--cells", "1", "4"]
    assert mediapipe_options("mediapipe_poses_8") == ["--cells", "2", "4"]
    assert Scenario(subject=WITHOUT_MASK, topics="bodies").subscribed == {"skeleton": "MarkerArray"}


def group(subject: str, people: int, **more: object) -> Measurement:
    scenario = Scenario(subject=subject, people=people, sweep="people")
    return a_measurement("thfm", 29.0, 40.0, scenario=scenario, **more)


def test_targets_of_groups_name_the_budget_and_the_people_it_misses() -> None:
    measurements = [
        group("thfm", 4, people_detected=3.7, measured_p95_ms=90.0),
        group("thfm_budget_0", 4, people_detected=4.0, measured_p95_ms=130.0),
    ]
    rows = {row[0]: (row[3], row[4]) for row in target_rows(measurements, [])}
    assert rows["4 people: results/s"] == ("29.0", "target met")
    assert rows["4 people: last measurement, p95 ms"] == ("90", "target met")
    assert rows["4 people: fewer people found"] == ("0.30", "missed")
    unlimited = "4 people, all people in every step"
    assert rows[f"{unlimited}: last measurement, p95 ms"] == ("130", "missed")
    assert f"{unlimited}: fewer people found" not in rows
    text = Report({}, "", measurements=measurements).markdown()
    assert "### Age of each person's last measurement" in text


def test_ratios_compare_only_what_gives_the_same_outputs() -> None:
    bodies = Scenario(subject="thfm", topics="bodies", sweep="rates")
    measurements = [
        a_measurement("thfm", 30.0, 20.0),
        a_measurement(MEDIAPIPE, 30.0, 10.0),
        a_measurement("thfm", 30.0, 20.0, scenario=bodies),
        a_measurement("thfm", 30.0, 20.0, scenario=replace(bodies, subject=WITHOUT_MASK)),
    ]
    rows = {row[0]: row[3:] for row in target_rows(measurements, [])}
    assert rows["CPU ms per result: ratio to MediaPipe"] == ("10.0 / 5.0", "missed", "2.00")
    name = "CPU ms per result, only bodies: ratio to MediaPipe"
    assert rows[name] == ("10.0 / 10.0", "accepted", "1.00")


def test_the_share_of_the_demos_images_with_a_result_is_a_target() -> None:
    for results, verdict in ((200, "target met"), (110, "missed")):
        (row,) = target_rows([], [], {"results": results, "input_images": 204})
        assert row[3:5] == (f"{results} of 204", verdict)


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
        ("thfm_budget_50", "50 ms per step", {"regions.budget_ms": 50.0}),
        ("thfm_budget_0", "all people in every step", {"regions.budget_ms": 0.0}),
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
