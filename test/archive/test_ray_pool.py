# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers as actors of a real Ray on this machine; starting it takes half a minute."""

import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from archive_workers import FragileWorker, a_unit

from thfm_ros.archive.outcome import DONE, ERROR
from thfm_ros.archive.ray_pool import run_on_ray
from thfm_ros.contract import PerceptionError

HAS_RAY = importlib.util.find_spec("ray") is not None  # importing it takes seconds


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="ray is not installed: pip install '.[archive]'")
def test_a_killed_actor_costs_one_more_attempt_and_a_deadly_unit_is_an_error_row(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "test" / "support"))  # of the actors' processes
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    units = [a_unit("a"), a_unit("b", "killed once"), a_unit("c", "killed always"), a_unit("d")]
    outcomes = list(run_on_ray(units, partial(FragileWorker, tmp_path), 2, "local"))
    assert {each.unit: each.state for each in outcomes} == {
        "a": DONE,
        "b": DONE,
        "c": ERROR,
        "d": DONE,
    }
    assert len((tmp_path / "b").read_text().split()) == 2


def test_an_address_without_a_cluster_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    data = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse, data=data))
    monkeypatch.setitem(sys.modules, "ray.data", data)
    with pytest.raises(PerceptionError, match=r"no cluster can be reached.*ray start --head"):
        list(run_on_ray([a_unit("a")], partial(FragileWorker, Path()), 1, "auto"))
