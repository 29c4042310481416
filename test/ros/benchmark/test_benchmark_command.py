"""`thfm benchmark node`: its arithmetic, its page, and one short run with processes and DDS."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import property_tests  # noqa: F401  settings of hypothesis
import pytest
from a_measurement import measured
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from thfm_ros.commands import benchmark
from thfm_ros.commands import main as cli
from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark import runner as benchmark_run
from thfm_ros.ros.benchmark.clip import LENGTH, WALKS, people_clip, walker_clip
from thfm_ros.ros.benchmark.measurement import PEER, Phase
from thfm_ros.ros.benchmark.report import BEGIN, END, Report, lines, renewed
from thfm_ros.ros.benchmark.runner import Bench, environment_of
from thfm_ros.ros.benchmark.stage_timings import Stages
from thfm_ros.ros.benchmark.statistics import (
    NEVER_ARRIVED,
    ages,
    first_arrivals,
    last_of_all,
    latency,
    losses,
    rate_hz,
)
from thfm_ros.ros.benchmark.subprocesses import BenchmarkError, Servant
from thfm_ros.ros.benchmark.subscriber import stamp_of_bytes
from thfm_ros.ros.benchmark.targets import causes, goals

pytestmark = pytest.mark.ros

MS = 1_000_000

arrivals_of_a_run = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(1, 400)), min_size=2, max_size=40,
    unique_by=lambda each: each[0],
).map(lambda pairs: [(stamp * MS, (stamp + delay) * MS) for stamp, delay in pairs])  # fmt: skip


@given(arrivals_of_a_run)
def test_ages_are_those_of_a_clock_that_looks_every_instant(
    arrivals: list[tuple[int, int]],
) -> None:
    """The exact quantiles agree with looking a thousand times a second."""
    news = [at for stamp, at in arrivals if stamp == max(s for s, a in arrivals if a <= at)]
    looks = np.arange(min(news) // MS, max(news) // MS) * MS + MS // 2
    if not len(looks):
        return
    newest = [max(stamp for stamp, at in arrivals if at <= look) for look in looks]
    seen = (looks - newest) / MS

    low, middle, high = ages(arrivals, (0.0, 0.5, 1.0))

    assert low == pytest.approx(seen.min(), abs=0.51)
    assert high == pytest.approx(seen.max(), abs=0.51)
    assert np.mean(seen < middle - 1) <= 0.5 <= np.mean(seen < middle + 1)


@given(arrivals_of_a_run)
def test_no_age_is_less_than_the_least_latency(arrivals: list[tuple[int, int]]) -> None:
    (least,) = ages(arrivals, (0.0,))
    assert math.isnan(least) or least >= min(at - stamp for stamp, at in arrivals) / MS - 1e-9


def test_a_steady_stream_has_the_age_of_its_latency_and_half_a_period() -> None:
    steady = [(stamp * MS, (stamp + 30) * MS) for stamp in range(0, 5000, 100)]
    assert ages(steady, (0.0, 0.5, 1.0)) == pytest.approx((30, 80, 130))


def test_fewer_than_two_results_have_no_age() -> None:
    assert all(math.isnan(age) for age in ages([(0, MS)], (0.5, 1.0)))


@given(arrivals_of_a_run, st.data())
def test_percentiles_are_of_every_counted_frame(
    arrivals: list[tuple[int, int]], data: st.DataObject
) -> None:
    sent = sorted(stamp for stamp, _ in arrivals)
    counted = sent[data.draw(st.integers(0, len(sent) - 2)) :]
    ms = [(at - stamp) / MS for stamp, at in arrivals if stamp in counted]

    summary = latency(counted, data.draw(st.permutations(arrivals)))

    assert (summary.sent, summary.results) == (len(counted), len(counted))
    assert summary.max_ms == max(ms)
    assert summary.p50_ms == pytest.approx(np.median(ms))
    assert summary.p50_ms <= summary.p95_ms <= summary.p99_ms <= summary.max_ms
    assert summary.results_per_s == pytest.approx(rate_hz(counted))


def test_a_second_result_of_a_frame_and_results_of_others_do_not_count() -> None:
    arrivals = [(1, 50), (1, 20), (2, 30), (9, 40)]
    assert first_arrivals([1, 2, 3], arrivals) == [(1, 20), (2, 30)]


def test_a_frame_is_complete_with_its_last_topic_and_not_without_one() -> None:
    topics = {"bodies": [(1, 10), (2, 20)], "depth": [(1, 15), (3, 40)]}
    assert last_of_all(topics) == [(1, 15)]


def test_without_results_nothing_is_claimed() -> None:
    summary = latency([0, MS], [])
    assert summary.results == 0
    assert math.isnan(summary.p99_ms) and math.isnan(summary.age_p50_ms)


@given(
    st.dictionaries(st.sampled_from(["overtaken", "bad size"]), st.integers(0, 50)),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_losses_account_for_every_frame(counts: dict[str, int], results: int, lost: int) -> None:
    sent = results + lost + sum(counts.values())
    before = dict.fromkeys(counts, 7)
    after = {cause: 7 + count for cause, count in counts.items()}

    by_cause = losses(sent, results, before, after)

    assert sum(by_cause.values()) == sent - results
    assert by_cause.get(NEVER_ARRIVED, 0) == lost
    assert 0 not in by_cause.values()


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1), st.text("az/", max_size=9))
def test_the_stamp_is_read_off_a_serialised_message(seconds: int, rest: int, frame: str) -> None:
    image = Image(width=2, height=1, data=bytes(6))
    image.header.stamp.sec, image.header.stamp.nanosec = seconds, rest
    image.header.frame_id = frame
    assert stamp_of_bytes(serialize_message(image)) == seconds * 10**9 + rest


@pytest.mark.parametrize("people", [1, 2, 3, 4])
def test_the_clip_has_its_size_and_ends_where_it_begins(people: int) -> None:
    clip = people_clip(people, 320, 200)
    assert len(clip) == 2 * LENGTH - 2
    assert {each.shape for each in clip} == {(200, 320, 3)}
    steps = [np.abs(a.astype(int) - b).mean() for a, b in pairwise(clip)]
    assert min(steps) > 0.5, "no image twice in a row"
    assert np.abs(clip[-1].astype(int) - clip[0]).mean() <= max(steps)


def test_a_walker_alone_is_seen_as_in_the_clip_of_one_person() -> None:
    first, second = walker_clip(0, 160, 120), walker_clip(1, 160, 120)
    assert np.array_equal(first, people_clip(1, 160, 120)[:LENGTH])
    assert not np.array_equal(first, second)


def test_five_people_are_refused() -> None:
    with pytest.raises(PerceptionError, match=f"1 to {len(WALKS)}"):
        people_clip(5, 64, 48)


def test_another_python_gets_none_of_our_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib:/opt/vendor/lib")
    monkeypatch.setenv("AMENT_PREFIX_PATH", sys.prefix)
    environment = environment_of("/somewhere/bin/python")
    assert environment["LD_LIBRARY_PATH"] == "/opt/vendor/lib"
    assert "AMENT_PREFIX_PATH" not in environment
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in environment
    assert environment["PATH"].startswith("/somewhere/bin:")


def test_each_measurement_stands_beside_the_peers_under_the_same_load() -> None:
    ours, theirs = measured("thfm", 30.0, 20.0), measured(PEER, 15.0, 40.0)
    elsewhere = measured(PEER, 1.0, 1.0, phase=Phase(subject=PEER, sweep="rates", rate_hz=5.0))

    rows = lines([elsewhere, ours, theirs])

    assert [row[1] for row in rows] == [
        "MediaPipe pose", "thfm, all estimates", "ratio to MediaPipe", "MediaPipe pose",
    ]  # fmt: skip
    assert rows[2][3:5] == ("2.00", "0.50")


def test_goals_are_judged_in_their_direction() -> None:
    good = {row[0]: row[4] for row in goals([measured("thfm", 30.0, 20.0)], [])}
    poor = {row[0]: row[4] for row in goals([measured("thfm", 21.0, 90.0)], [])}
    assert set(good.values()) == {"goal"}
    assert poor["results/s"] == "passed"
    assert poor["skeleton, p50 ms"] == "missed"


def test_the_parts_of_the_processor_time_add_up() -> None:
    alone = Stages(
        tasks="estimates", frames=1, wall_ms={}, p99_total_ms=9, cpu_ms=8, network_cpu_ms=6,
        people_found=1,
    )  # fmt: skip
    (said,) = causes([measured("thfm", 30.0, 20.0)], [alone])  # which cost 10 CPU ms
    assert said.startswith("Of 10.0 CPU ms")
    assert "network takes 6.0" in said and "step 2.0" in said and "publishing 2.0" in said


def test_the_page_is_renewed_between_its_marks_only(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = Report(machine={"cores": 2}, when="today", measured=[measured("thfm", 30.0, 20.0)])
    (tmp_path / "latency.md").write_text(f"mine\n{BEGIN}\nold\n{END}\nmine too\n")

    report.write(tmp_path)
    once = (tmp_path / "latency.md").read_text()
    report.write(tmp_path)

    assert once.startswith("mine\n") and once.endswith("mine too\n") and "old" not in once
    assert (tmp_path / "latency.md").read_text() == once
    assert (tmp_path / "images" / "latency.png").stat().st_size > 5_000
    assert "NaN" not in (tmp_path / "latency.json").read_text()


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_its_marks_is_not_written_to(page: str) -> None:
    with pytest.raises(PerceptionError, match="must have"):
        renewed(page, "new")


def test_the_documents_page_can_be_written_by_the_command(root: Path) -> None:
    assert "\nnew\n" in renewed((root / "docs" / "latency.md").read_text(), "new")


def test_the_kind_is_asked_for_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["benchmark", "node", "--help"])
    assert ended.value.code == 0
    assert "--peer-python" in capsys.readouterr().out


def test_a_kind_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(benchmark.KINDS, "flops", ("no_such_module_anywhere", ""))
    with pytest.raises(PerceptionError, match="no_such_module_anywhere"):
        benchmark.run(argparse.Namespace(kind="flops", options=[]))


def test_a_process_that_ends_says_its_last_words(tmp_path: Path) -> None:
    servant = Servant("no_such_module_anywhere", tmp_path / "camera.log")
    try:
        with pytest.raises(BenchmarkError, match=r"camera(.|\n)*no_such_module_anywhere"):
            for _ in range(100):
                servant.ask({"do": "anything"}, 20)
    finally:
        servant.stop()


@pytest.fixture
def slow_bench(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[benchmark_run.Bench]:
    """The node with an engine that needs 40 ms for a look."""
    support = root / "test" / "support"
    monkeypatch.setenv("PYTHONPATH", str(support))
    before = dict(os.environ)
    with Bench(tmp_path, node=[sys.executable, str(support / "slow_node.py")]) as bench:
        yield bench
    os.environ.clear()
    os.environ.update(before)


def test_a_run_measures_what_the_node_does(slow_bench: Bench) -> None:
    phase = Phase(subject="thfm", rate_hz=10.0, seconds=2.0, warmup_s=1.0, width=160, height=120)

    result = slow_bench.measure(phase)

    assert result.skeleton.sent == 20
    assert result.sent_rate_hz == pytest.approx(10.0, rel=0.05)
    assert 10 <= result.skeleton.results <= 20
    assert 40 <= result.skeleton.p50_ms <= result.complete.p50_ms, "a look takes 40 ms"
    assert set(result.topic_p50_ms) == set(phase.subscribed)
    assert result.people_found == 1
    assert result.cpu_ms > 0 and result.rss_mb > 20
    assert slow_bench.engines["thfm"]["runs on"] == "waits 40 ms per look"
