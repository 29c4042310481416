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


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Sequence[str]]]:
    """What was to be run; nothing is, and its seconds are those of the list."""
    run: list[Sequence[Sequence[str]]] = []
    # Warm-up, one worker, two, two plain processes, two workers with short bags.
    seconds = iter((99.0, 2.0, 1.25, 1.0, 4.0))

    def timed(commands: Sequence[Sequence[str]], *, raw: bool = False) -> dict[str, Any]:
        run.append(commands)
        wall_s = next(seconds)
        return {"seconds": wall_s, "cpu_seconds": 2 * wall_s, "worker_mib": dict(MIB)}

    monkeypatch.setattr(benchmark_archive, "_timed", timed)
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 0.0, 0.0))
    return run


def test_rates_speed_up_overhead_and_the_day_follow_from_the_seconds(
    tmp_path: Path,
    commands: list[Sequence[Sequence[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "archive.json"
    assert main(f"benchmark archive --bags 3 --frames 2 --short-bags 2 --out {out}".split()) == 0
    report = json.loads(out.read_text())
    rates = [values["frames_per_s"] for values in report["measured"].values()]
    assert report["frames"] == 6 and rates == [3.0, 4.8, 6.0, 2.0]
    assert report["speed_up"] == pytest.approx(1.6)
    assert report["overhead"] == pytest.approx(0.2)
    assert report["cpu_overhead"] == pytest.approx(0.25)
    text = capsys.readouterr().out
    assert "| 2 workers | 1.2 | 2.5 | 4.8 | 300, 310 | 150 |" in text  # 2,592,000 / 4.8 / 3600
    assert "| 2 processes of thfm perceive | 1.0 | 2.0 | 6.0 |" in text
    assert "the machine was not idle" in text
    # Two runs of the archive in folders of their own, and two shells that share the three bags.
    assert "| 2 workers, 2 bags of 4 frames | 4.0 | 8.0 | 2.0 | 300, 310 |" in text
    (one,), (two,) = commands[1:3]
    assert one[one.index("--out") + 1] != two[two.index("--out") + 1]
    shells = [command[-1].count(" perceive ") for command in commands[3]]
    assert shells == [2, 1]


@pytest.mark.parametrize(
    "options", ["--workers 1", "--workers 3 --bags 2", "--frames 0", "--short-bags -1"]
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, options: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "archive.json"
    assert main(f"benchmark archive {options} --out {out}".split()) == 2
    assert "give at least 2 workers" in caplog.text and not out.exists()
