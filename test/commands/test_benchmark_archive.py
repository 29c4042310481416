# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark archive`: what is derived from the measured seconds, and the table."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from thfm_ros.commands import benchmark_archive
from thfm_ros.commands.main import main

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install '.[archive]'")

MIB = {"first_quarter": 300.0, "last_quarter": 310.0}


Commands = list[Sequence[Sequence[str]]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What was to be run; nothing is, and its seconds depend on what it is."""
    run: Commands = []
    archives = iter((1.25, 1.75))  # of two workers, by round

    def timed(commands: Sequence[Sequence[str]], *, raw: bool = False) -> dict[str, Any]:
        before = [each for each in run if each == commands]  # the archive with nothing to do
        run.append(commands)
        if raw:
            wall_s = 99.0 if "--max-frames" in commands[0][-1] else 1.0
        elif "--workers 1" in " ".join(commands[0]):
            wall_s = 2.0
        elif before:
            wall_s = 0.1
        else:
            wall_s = 4.0 if "out short" in " ".join(commands[0]) else next(archives)
        return {"seconds": wall_s, "cpu_seconds": 2 * wall_s, "worker_mib": dict(MIB)}

    monkeypatch.setattr(benchmark_archive, "_timed", timed)
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 0.0, 0.0))
    return run


def test_rates_speed_up_overhead_and_the_day_follow_from_the_seconds(
    tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "archive.json"
    assert main(f"benchmark archive --bags 3 --frames 2 --short-bags 2 --out {out}".split()) == 0
    report = json.loads(out.read_text())
    rates = [values.get("frames_per_s") for values in report["measured"].values()]
    assert report["frames"] == 6 and rates == [3.0, 4.8, 6.0, None, 2.0]
    assert report["speed_up"] == pytest.approx(1.6)
    assert report["overhead"] == pytest.approx(0.25)
    assert report["cpu_overhead"] == pytest.approx(0.25)
    text = capsys.readouterr().out
    assert "| 2 workers | 1.2 | 2.5 | 4.8 | 300, 310 | 150 |" in text  # 2,592,000 / 4.8 / 3600
    assert "| 2 processes of thfm perceive | 1.0 | 2.0 | 6.0 |" in text
    assert "| 2 workers, nothing to do | 0.1 | 0.2 |" in text
    assert "the machine was not idle" in text
    # Two runs of the archive in folders of their own, and two shells that share the three bags.
    assert "| 2 workers, 2 bags of 4 frames | 4.0 | 8.0 | 2.0 | 300, 310 |" in text
    (one,), (two,) = commands[1:3]
    assert one[one.index("--out") + 1] != two[two.index("--out") + 1]
    shells = [command[-1].count(" perceive ") for command in commands[3]]
    assert shells == [2, 1]


def test_workers_and_plain_processes_take_turns_in_several_rounds(
    tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "archive.json"
    options = "--bags 2 --frames 2 --rounds 2 --overhead-only --short-bags 0"
    assert main(f"benchmark archive {options} --out {out}".split()) == 0
    report = json.loads(out.read_text())
    kinds = [command[0][0] for command in commands[1:]]  # after the warm-up
    assert kinds == ["archive", "sh", "sh", "archive", "archive"]  # the last has nothing to do
    assert report["overhead"] == pytest.approx(0.5) and report["speed_up"] is None
    assert [each["seconds"] for each in report["overheads"]] == pytest.approx([0.25, 0.75])
    text = capsys.readouterr().out
    assert "by round: 25.0% and 25.0%, 75.0% and 75.0%" in text and "times the" not in text


@pytest.mark.parametrize(
    "options",
    ["--workers 1", "--workers 3 --bags 2", "--frames 0", "--short-bags -1", "--rounds 0"],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "archive.json"
    assert main(f"benchmark archive {options} --out {out}".split()) == 2
    assert "give at least 2 workers" in caplog.text and not out.exists()
