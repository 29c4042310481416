# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node`: statistics, report, and one short run with processes and DDS."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import property_tests  # noqa: F401  settings of hypothesis
import pytest
from a_measurement import a_measurement
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from thfm_ros.commands import benchmark
from thfm_ros.commands import main as cli
from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.clip import LENGTH, PEDESTRIANS, pedestrian_clip, people_clip
from thfm_ros.ros.benchmark.measurement import MEDIAPIPE, Scenario
from thfm_ros.ros.benchmark.report import (
    BEGIN,
    END,
    Report,
    measurement_rows,
    replace_measured_section,
)
from thfm_ros.ros.benchmark.runner import BenchmarkRunner, environment_of
from thfm_ros.ros.benchmark.stage_timings import StageTimings
from thfm_ros.ros.benchmark.statistics import (
    LOST_IN_TRANSPORT,
    age_quantiles,
    completion_times,
    first_arrivals,
    latency_statistics,
    losses_by_cause,
    rate_hz,
)
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, WorkerProcess
from thfm_ros.ros.benchmark.subscriber import stamp_of_bytes
from thfm_ros.ros.benchmark.targets import cpu_breakdown, target_rows

pytestmark = pytest.mark.ros

MS = 1_000_000

arrivals_of_a_run = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(1, 400)), min_size=2, max_size=40,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [(stamp * MS, (stamp + delay) * MS) for stamp, delay in pairs])  # fmt: skip


@given(arrivals_of_a_run)
def test_age_quantiles_equal_those_of_dense_sampling(arrivals: list[tuple[int, int]]) -> None:
    """The closed form agrees with a thousand samples of the age per second."""
    updates = [at for stamp, at in arrivals if stamp == max(s for s, a in arrivals if a <= at)]
    times = np.arange(min(updates) // MS, max(updates) // MS) * MS + MS // 2
    if not len(times):
        return
    newest = [max(stamp for stamp, at in arrivals if at <= time) for time in times]
    sampled = (times - newest) / MS

    low, median, high = age_quantiles(arrivals, (0.0, 0.5, 1.0))

    assert low == pytest.approx(sampled.min(), abs=0.51)
    assert high == pytest.approx(sampled.max(), abs=0.51)
    assert np.mean(sampled < median - 1) <= 0.5 <= np.mean(sampled < median + 1)


@given(arrivals_of_a_run)
def test_no_age_is_below_the_smallest_latency(arrivals: list[tuple[int, int]]) -> None:
    (lowest,) = age_quantiles(arrivals, (0.0,))
    assert math.isnan(lowest) or lowest >= min(at - stamp for stamp, at in arrivals) / MS - 1e-9


def test_median_age_of_a_steady_stream_is_its_latency_and_half_a_period() -> None:
    steady = [(stamp * MS, (stamp + 30) * MS) for stamp in range(0, 5000, 100)]
    assert age_quantiles(steady, (0.0, 0.5, 1.0)) == pytest.approx((30, 80, 130))


def test_age_of_fewer_than_two_results_is_nan() -> None:
    assert all(math.isnan(age) for age in age_quantiles([(0, MS)], (0.5, 1.0)))


@given(arrivals_of_a_run, st.data())
def test_percentiles_include_every_counted_frame(
    arrivals: list[tuple[int, int]], data: st.DataObject
) -> None:
    sent = sorted(stamp for stamp, _ in arrivals)
    counted = sent[data.draw(st.integers(0, len(sent) - 2)) :]
    ms = [(at - stamp) / MS for stamp, at in arrivals if stamp in counted]

    latency = latency_statistics(counted, data.draw(st.permutations(arrivals)))

    assert (latency.sent, latency.results) == (len(counted), len(counted))
    assert latency.max_ms == max(ms)
    assert latency.p50_ms == pytest.approx(np.median(ms))
    assert latency.p50_ms <= latency.p95_ms <= latency.p99_ms <= latency.max_ms
    assert latency.results_per_s == pytest.approx(rate_hz(counted))


def test_repeated_results_and_results_of_other_frames_do_not_count() -> None:
    arrivals = [(1, 50), (1, 20), (2, 30), (9, 40)]
    assert first_arrivals([1, 2, 3], arrivals) == [(1, 20), (2, 30)]


def test_a_frame_is_complete_when_its_last_topic_arrives() -> None:
    topics = {"bodies": [(1, 10), (2, 20)], "depth": [(1, 15), (3, 40)]}
    assert completion_times(topics) == [(1, 15)]


def test_latency_and_age_without_results_are_nan() -> None:
    latency = latency_statistics([0, MS], [])
    assert latency.results == 0
    assert math.isnan(latency.p99_ms) and math.isnan(latency.age_p50_ms)


@given(
    st.dictionaries(st.sampled_from(["overtaken", "bad size"]), st.integers(0, 50)),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_losses_sum_to_the_frames_without_a_result(
    counts: dict[str, int], results: int, lost: int
) -> None:
    sent = results + lost + sum(counts.values())
    before = dict.fromkeys(counts, 7)
    after = {cause: 7 + count for cause, count in counts.items()}

    losses = losses_by_cause(sent, results, before, after)

    assert sum(losses.values()) == sent - results
    assert losses.get(LOST_IN_TRANSPORT, 0) == lost
    assert 0 not in losses.values()


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1), st.text("az/", max_size=9))
def test_stamp_is_read_from_a_serialised_message(seconds: int, rest: int, frame: str) -> None:
    image = Image(width=2, height=1, data=bytes(6))
    image.header.stamp.sec, image.header.stamp.nanosec = seconds, rest
    image.header.frame_id = frame
    assert stamp_of_bytes(serialize_message(image)) == seconds * 10**9 + rest


@pytest.mark.parametrize("people", [1, 4, 8])
def test_clip_has_the_requested_size_and_loops_without_a_jump(people: int) -> None:
    clip = people_clip(people, 320, 200)
    assert len(clip) == 2 * LENGTH - 2
    assert {image.shape for image in clip} == {(200, 320, 3)}
    differences = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(clip)]
    assert min(differences) > 0.5, "consecutive images differ"
    assert np.abs(clip[-1].astype(int) - clip[0]).mean() <= max(differences)


def test_pedestrian_clip_equals_the_forward_half_of_the_clip_of_one_person() -> None:
    first, second = pedestrian_clip(0, 160, 120), pedestrian_clip(1, 160, 120)
    assert np.array_equal(first, people_clip(1, 160, 120)[:LENGTH])
    assert not np.array_equal(first, second)


def test_more_people_than_the_clip_has_are_refused() -> None:
    with pytest.raises(PerceptionError, match=f"1 to {2 * len(PEDESTRIANS)}"):
        people_clip(9, 64, 48)


def test_another_interpreter_gets_no_paths_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib:{sys.prefix}2/lib:/opt/vendor/lib")
    monkeypatch.setenv("AMENT_PREFIX_PATH", sys.prefix)
    environment = environment_of("/somewhere/bin/python")
    assert environment["LD_LIBRARY_PATH"] == f"{sys.prefix}2/lib:/opt/vendor/lib"
    assert "AMENT_PREFIX_PATH" not in environment
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in environment
    assert environment["PATH"].startswith("/somewhere/bin:")


def test_a_measurement_is_compared_with_mediapipe_under_the_same_load() -> None:
    ours, baseline = a_measurement("thfm", 30.0, 20.0), a_measurement(MEDIAPIPE, 15.0, 40.0)
    at_5_hz = Scenario(subject=MEDIAPIPE, sweep="rates", rate_hz=5.0)
    other_load = a_measurement(MEDIAPIPE, 1.0, 1.0, scenario=at_5_hz)

    rows = measurement_rows([other_load, ours, baseline])

    assert [row[1] for row in rows] == [
        "MediaPipe Pose", "thfm, all estimates", "ratio to MediaPipe", "MediaPipe Pose",
    ]  # fmt: skip
    assert rows[2][3:5] == ("2.00", "0.50")


def test_targets_respect_whether_higher_or_lower_is_better() -> None:
    good = {row[0]: row[4] for row in target_rows([a_measurement("thfm", 30.0, 20.0)], [])}
    poor = {row[0]: row[4] for row in target_rows([a_measurement("thfm", 21.0, 90.0)], [])}
    assert set(good.values()) == {"target met"}
    assert poor["results/s"] == "accepted"
    assert poor["skeleton, p50 ms"] == "missed"


def test_parts_of_the_cpu_time_add_up() -> None:
    timings = StageTimings(
        tasks="estimates", frames=1, wall_ms={}, p99_total_ms=9, cpu_ms=8, network_cpu_ms=6,
        people_detected=1,
    )  # fmt: skip
    (sentence,) = cpu_breakdown([a_measurement("thfm", 30.0, 20.0)], [timings])  # 10 CPU ms in all
    assert sentence.startswith("Of 10.0 CPU ms")
    assert "network takes 6.0" in sentence
    assert "pipeline 2.0" in sentence and "publishing 2.0" in sentence


def test_only_the_measured_section_of_the_page_is_replaced(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = Report({"cores": 2}, "today", measurements=[a_measurement("thfm", 30.0, 20.0)])
    (tmp_path / "latency.md").write_text(f"before\n{BEGIN}\noutdated\n{END}\nafter\n")

    report.write(tmp_path)
    once = (tmp_path / "latency.md").read_text()
    report.write(tmp_path)

    assert once.startswith("before\n") and once.endswith("after\n") and "outdated" not in once
    assert (tmp_path / "latency.md").read_text() == once
    assert (tmp_path / "images" / "latency.png").stat().st_size > 5_000
    assert "NaN" not in (tmp_path / "latency.json").read_text()


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_a_measured_section_is_refused(page: str) -> None:
    with pytest.raises(PerceptionError, match="must have"):
        replace_measured_section(page, "new")


def test_help_of_a_kind_lists_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["benchmark", "node", "--help"])
    assert ended.value.code == 0
    assert "--mediapipe-python" in capsys.readouterr().out


def test_a_missing_package_of_a_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(benchmark.KINDS, "flops", ("no_such_module_anywhere", ""))
    with pytest.raises(PerceptionError, match="no_such_module_anywhere"):
        benchmark.run(argparse.Namespace(kind="flops", options=[]))


def test_the_error_of_an_ended_process_includes_its_output(tmp_path: Path) -> None:
    worker = WorkerProcess("no_such_module_anywhere", tmp_path / "camera.log")
    try:
        with pytest.raises(BenchmarkError, match=r"camera(.|\n)*no_such_module_anywhere"):
            for _ in range(100):
                worker.request({"command": "anything"}, 120)
    finally:
        worker.stop()


@pytest.fixture
def slow_node_runner(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BenchmarkRunner]:
    """Runs the node with an engine that takes 40 ms per inference."""
    support = root / "test" / "support"
    monkeypatch.setenv("PYTHONPATH", str(support))
    before = dict(os.environ)
    node = [sys.executable, str(support / "slow_node.py")]
    domain = int(os.environ["ROS_DOMAIN_ID"])
    with BenchmarkRunner(tmp_path, node=node, domain_id=domain) as runner:
        yield runner
    os.environ.clear()
    os.environ.update(before)


def test_a_run_measures_latency_losses_and_usage_of_the_node(
    slow_node_runner: BenchmarkRunner,
) -> None:
    scenario = Scenario(
        subject="thfm", rate_hz=10.0, seconds=2.0, warmup_s=1.0, width=160, height=120
    )

    result = slow_node_runner.measure(scenario)

    assert result.skeleton.sent == 20
    assert result.sent_rate_hz > 0
    assert 1 <= result.skeleton.results <= 20, "fewer on a busy machine"
    assert min(result.skeleton.p50_ms, result.complete.p50_ms) >= 40, "an inference takes 40 ms"
    assert set(result.topic_p50_ms) == set(scenario.subscribed)
    assert result.people_detected == 1
    assert 40 <= result.measured_p50_ms <= result.measured_p99_ms
    assert result.cpu_ms_per_person == result.cpu_ms
    assert result.cpu_ms > 0 and result.rss_mb > 20
    assert slow_node_runner.engines["thfm"]["runs on"].startswith("waits 40 ms per ")

    slow_node_runner.stop("thfm")
    again = slow_node_runner.measure(replace(scenario, seconds=1.0, warmup_s=0.5))
    assert 1 <= again.skeleton.results <= 10, "a node that starts anew is waited for"
