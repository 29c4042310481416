# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fixtures of the tests of archives: an engine that knows the scene, units in this process."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from archive_bags import a_bag
from fake_engine import FakeEngine, Person, camera
from small_bags import START_NS

from thfm_ros.archive import work
from thfm_ros.archive.outcome import Outcome
from thfm_ros.archive.units import Unit
from thfm_ros.commands import archive
from thfm_ros.commands.main import main
from thfm_ros.config import Config
from thfm_ros.pipeline import PerceptionPipeline


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """A folder with three good bags, the largest in the middle."""
    folder = tmp_path / "bags"
    folder.mkdir()
    for number, count in enumerate((2, 4, 3)):
        a_bag(folder / f"bag{number}", count, START_NS + number)
    return folder


@pytest.fixture
def worked() -> list[str]:
    """The sources that were worked on, in order."""
    return []


@pytest.fixture
def thfm(monkeypatch: pytest.MonkeyPatch, worked: list[str]) -> Callable[..., int]:
    """`thfm archive` with an engine that knows the scene, and its worker in this process."""

    def pipeline(config: Config) -> PerceptionPipeline:
        engine = FakeEngine(camera(160, 120, 150.0), lambda: [Person(0.1, 0.05, 3)])
        return PerceptionPipeline(engine, config)

    def in_this_process(
        units: Sequence[Unit], make_worker: Callable[[], work.Worker], workers: int
    ) -> Iterator[Outcome]:
        worker = make_worker()
        for unit in units:
            worked.append(Path(unit.source).name)
            yield worker.run(unit)

    monkeypatch.setattr(work, "load_pipeline", pipeline)
    monkeypatch.setattr(archive, "run_in_processes", in_this_process)
    return lambda *arguments: main(["archive", *map(str, arguments)])
