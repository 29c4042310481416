"""`thfm benchmark node`: what it measures, how long that takes, and when it does not begin."""

import argparse
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from a_measurement import measured

from thfm_ros.commands import main as cli
from thfm_ros.config import config_from
from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark import command as benchmark_node
from thfm_ros.ros.benchmark.measurement import PEER, Phase, variant
from thfm_ros.ros.benchmark.plan import SWEEPS, described, phases, whole
from thfm_ros.ros.benchmark.report import BEGIN, END, Report, lines
from thfm_ros.ros.benchmark.resource_usage import others_cores
from thfm_ros.ros.benchmark.runner import check_peer

pytestmark = pytest.mark.ros


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    benchmark_node.add_arguments(parser)
    return parser.parse_args(list(words))


def test_every_sweep_varies_one_thing_and_overload_follows_the_capacity() -> None:
    args = arguments("--peer-python", "peer", "--rates", "15", "30")
    seen = [measured("thfm", 40.0, 20.0)]
    planned = {sweep: list(phases(sweep, args, seen)) for sweep in SWEEPS}
    assert [p.rate_hz for p in planned["overload"]] == [80, 200, 400]
    assert {(p.subject, p.topics, p.rate_hz) for p in planned["rates"]} == {
        (subject, topics, rate) for rate in (15, 30)
        for subject, topics in (("thfm", "estimates"), (PEER, "estimates"), ("thfm", "bodies"))
    }  # fmt: skip
    assert {(p.subject, p.people) for p in planned["people"]} == {
        (subject, people) for subject in ("thfm", PEER) for people in (2, 3, 4)
    }
    assert [p.subject for p in planned["schedules"]] == [f"thfm_every_{n}" for n in (1, 5, 10)]


def test_the_peer_gets_its_turn_right_after_the_node_under_the_same_load() -> None:
    plan = whole(arguments("--peer-python", "peer"))
    for ours, theirs in pairwise(plan):
        if theirs.subject == PEER:
            assert ours.subject == "thfm"
            assert (ours.rate_hz, ours.people, ours.width) == (
                theirs.rate_hz, theirs.people, theirs.width,
            )  # fmt: skip
    assert {p.rate_hz for p in plan if p.subject == PEER} >= {15, 30}


def test_all_of_it_fits_into_twenty_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--peer-python", "peer", "--plan"]
    assert cli.main(["benchmark", "node", *words]) == 0
    *each, total = capsys.readouterr().out.splitlines()
    assert len(each) == len(whole(arguments(*words))) > 30
    args = arguments(*words)
    least_s = sum(phase.warmup_s + phase.seconds for phase in whole(args))
    assert 5 * 60 < least_s < 15 * 60
    most = int(total.partition("at most ")[2].partition(",")[0])
    assert least_s / 60 < most < 20


def test_a_longer_measurement_makes_a_longer_plan() -> None:
    short, long = ([Phase(subject="thfm", seconds=s)] * 10 for s in (1.0, 61.0))
    texts = [described(plan, again=0).splitlines()[-1] for plan in (short, long)]
    minutes = [int(text.partition("about ")[2].partition(" ")[0]) for text in texts]
    assert minutes[1] - minutes[0] == 10


@pytest.mark.parametrize(
    ("subject", "parameters"),
    [
        ("thfm", {}),
        ("thfm_torch", {"engine.kind": "torch"}),
        ("thfm_onnx_2", {"engine.kind": "onnx", "engine.threads": 2}),
        ("thfm_every_10", {"regions.frame_pass_every": 10, "regions.frame_pass_period_s": 0.0}),
    ],
)
def test_a_nodes_name_says_which_settings_it_gets(
    subject: str, parameters: dict[str, object]
) -> None:
    words, found = variant(subject)
    assert found == parameters
    assert bool(words) == bool(parameters)
    config_from(found)  # it has such parameters


def test_figures_of_a_busy_machine_are_kept_out_of_the_documents(tmp_path: Path) -> None:
    (tmp_path / "latency.md").write_text(f"{BEGIN}\n{END}\n")
    args = argparse.Namespace(docs=tmp_path, even_if_busy=False)
    busy = Report(machine={}, when="", measured=[measured("thfm", 30.0, 20.0, others_cores=0.5)])
    assert benchmark_node._publish(busy, args) == 3
    assert (tmp_path / "latency.md").read_text() == f"{BEGIN}\n{END}\n"


def test_figures_of_a_busy_machine_that_are_written_all_the_same_are_marked() -> None:
    idle, busy = measured("thfm", 30.0, 20.0), measured("thfm", 9.0, 90.0, others_cores=0.5)
    (first,), (second,) = lines([idle]), lines([busy])
    assert "NOT VALID" in second[1] and "NOT VALID" not in first[1]
    text = Report(machine={}, when="", measured=[idle, busy]).markdown()
    assert "**1 measurements are not valid**" in text


@pytest.fixture
def never_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(benchmark_node, "others_cores", lambda _: 1.5)
    monkeypatch.setattr(benchmark_node, "QUIET_WITHIN_S", 0.0)
    yield


@pytest.mark.usefixtures("never_quiet")
def test_on_a_busy_machine_nothing_is_measured_for_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def begun(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(benchmark_node, "stages", begun)
    assert benchmark_node.run(arguments("--docs", str(tmp_path))) == 3
    assert "others use 1.5 cores" in caplog.text and "--even-if-busy" in caplog.text
    for more in (["--even-if-busy", "--docs", str(tmp_path)], []):
        with pytest.raises(InterruptedError):
            benchmark_node.run(arguments(*more))


def test_use_of_the_processor_by_this_process_is_not_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine_s = iter([(10.0, 1.0), (10.5, 1.25)])
    mine_s, clock_s = iter([3.0, 3.25]), iter([0.0, 2.0])
    monkeypatch.setattr("thfm_ros.ros.benchmark.resource_usage._machine_s", lambda: next(machine_s))
    monkeypatch.setattr("time.process_time", lambda: next(mine_s))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock_s))
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert others_cores(2.0) == pytest.approx((0.5 + 0.25 - 0.25) / 2)


def test_a_peer_that_is_not_there_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=r"no program(.|\n)*pip install mediapipe"):
        benchmark_node.run(arguments("--peer-python", str(tmp_path / "python")))


def test_a_peer_without_mediapipe_is_told_with_what_it_said() -> None:
    if _has_mediapipe():
        pytest.skip("mediapipe is installed here")
    with pytest.raises(PerceptionError, match=r"No module named(.|\n)*--peer-python"):
        check_peer(sys.executable)


def _has_mediapipe() -> bool:
    from importlib.util import find_spec

    return find_spec("mediapipe") is not None
