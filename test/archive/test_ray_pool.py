# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers as actors of a real Ray on this machine."""

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from archive_workers import FragileWorker, a_unit
from ray_start import started

from thfm_ros.archive.outcome import DONE, ERROR, Outcome
from thfm_ros.archive.process_pool import MakeWorker
from thfm_ros.archive.ray_pool import _results, run_on_ray
from thfm_ros.archive.units import Unit
from thfm_ros.contract import PerceptionError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,  # importing it takes seconds
    reason="ray is not installed: pip install '.[archive]'",
)


@pytest.fixture
def on_ray(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Outcome]]:
    """Outcomes of units on a new Ray on this machine."""
    monkeypatch.setenv("PYTHONPATH", str(root / "test" / "support"))  # of the actors' processes
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # of 15, which a busy machine starves

    def run(units: Sequence[Unit], make_worker: MakeWorker, workers: int) -> list[Outcome]:
        return started(lambda: list(run_on_ray(units, make_worker, workers, "local")))

    return run


@needs_ray
def test_units_are_worked_on_by_actors_of_a_real_ray(
    tmp_path: Path, on_ray: Callable[..., list[Outcome]]
) -> None:
    outcomes = on_ray([a_unit("a"), a_unit("b")], partial(FragileWorker, tmp_path), 1)
    assert {(each.unit, each.state) for each in outcomes} == {("a", DONE), ("b", DONE)}
    (worker,) = {(tmp_path / unit).read_text() for unit in "ab"}  # made once
    assert worker != str(os.getpid())


@pytest.mark.slow
@needs_ray
def test_a_killed_actor_costs_one_more_attempt_and_a_deadly_unit_is_an_error_row(
    tmp_path: Path, on_ray: Callable[..., list[Outcome]], caplog: pytest.LogCaptureFixture
) -> None:
    units = [a_unit("a"), a_unit("b", "killed once"), a_unit("c", "killed always"), a_unit("d")]
    outcomes = on_ray(units, partial(FragileWorker, tmp_path), 2)
    states = {each.unit: each.state for each in outcomes}
    assert states == {"a": DONE, "b": DONE, "c": ERROR, "d": DONE}
    attempts = {unit.key: len((tmp_path / unit.key).read_text().split()) for unit in units}
    assert attempts == {"a": 1, "b": 2, "c": 3, "d": 1}
    assert "2 units were lost with their workers; begun anew" in caplog.text


def _unknown_to_actors() -> FragileWorker:
    """As on a machine without this package: actors cannot import the module of this test."""
    raise AssertionError


@pytest.mark.slow
@needs_ray
def test_a_worker_that_cannot_be_made_ends_the_run_with_its_reason(
    on_ray: Callable[..., list[Outcome]],
) -> None:
    with pytest.raises(PerceptionError, match=r"gave up \(.*No module named"):
        on_ray([a_unit("a")], _unknown_to_actors, 1)


class _Dataset:
    """One of Ray Data that has no rows, and is deprecated."""

    def map(self, *_: object, **__: object) -> "_Dataset":
        warnings.warn("`ray_remote_args` is deprecated", DeprecationWarning, stacklevel=2)
        return self

    def iter_rows(self) -> Iterator[dict[str, object]]:
        return iter(())


def test_what_ray_deprecates_and_plans_is_not_shown_to_users() -> None:
    data = SimpleNamespace(
        DataContext=SimpleNamespace(get_current=SimpleNamespace),
        from_items=lambda _, **__: _Dataset(),
        ActorPoolStrategy=SimpleNamespace,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ray, maker = SimpleNamespace(data=data), partial(FragileWorker, Path())
        assert list(_results(ray, [a_unit("a")], maker, 1, 0.0)) == []
    assert not logging.getLogger("ray.data").isEnabledFor(logging.INFO)


def test_an_address_without_a_cluster_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    data = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse, data=data))
    monkeypatch.setitem(sys.modules, "ray.data", data)
    with pytest.raises(PerceptionError, match=r"no cluster can be reached.*ray start --head"):
        list(run_on_ray([a_unit("a")], partial(FragileWorker, Path()), 1, "auto"))
