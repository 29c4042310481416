# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive --ray` with the shipped network on two Ray nodes, of which parts are killed.

docs/results/archive_faults.md is the log of a run.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_engine import camera, image
from ray_start import started
from small_bags import START_NS, a_camera_info, images_of, write_bag

from thfm_ros.archive.destination import TEMPORARY
from thfm_ros.archive.outcome import read_manifest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]

K = camera(160, 120, 150.0)
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))
BAGS = 8


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for number in range(BAGS):
        frames = images_of([image(K)] * (24 - number), start_ns=START_NS + number)
        write_bag(folder / f"bag{number}", [INFO, *frames])
    return folder


@pytest.fixture(scope="module")
def undisturbed(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of a run in which nothing was killed, by processes on this machine."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert begin(bags, out).wait() == 0
    return results(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one CPU."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        cluster = started(lambda: Cluster(initialize_head=True, head_node_args=ONE_CPU))
    yield cluster
    cluster.shutdown()


@pytest.fixture
def second(cluster: Any) -> Iterator[Any]:
    """A second node with one CPU."""
    node = started(lambda: cluster.add_node(**ONE_CPU))
    yield node
    cluster.remove_node(node, allow_graceful=False)


ONE_CPU = {"num_cpus": 1, "include_dashboard": False}


def begin(bags: Path, out: Path, address: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "thfm_ros.commands.main", "archive", str(bags)]
    command += ["--out", str(out), "--workers", "2", "--format", "npz,mcap,parquet"]
    command += ["--ray", address] if address else []
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    log = (out.parent / f"{out.name}.log").open("a")
    return subprocess.Popen(command, stderr=log, stdout=log, text=True, env=environment)


def log_of(out: Path) -> str:
    return (out.parent / f"{out.name}.log").read_text()


def results(out: Path) -> dict[str, bytes]:
    kinds = (".npz", ".mcap", ".parquet")
    files = [path for path in sorted((out / "units").rglob("*")) if path.suffix in kinds]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def finished(out: Path) -> dict[str, int]:
    """When each unit that is done was written."""
    folders = [path for path in (out / "units").glob("*") if not path.name.startswith(".")]
    return {path.name: path.stat().st_mtime_ns for path in folders}


def wait_for_units(out: Path, count: int, driver: subprocess.Popen[str]) -> None:
    while len(finished(out)) < count:
        assert driver.poll() is None, log_of(out)
        time.sleep(0.05)


def stop_a_worker_in_mid_unit(
    out: Path, driver: subprocess.Popen[str], node: Any = None
) -> psutil.Process:
    """A worker, of that node if one is given, which has begun a unit and will not finish it.

    Those of other nodes wait for it, so that they do not finish all units before.
    """
    others: dict[int, psutil.Process] = {}
    while True:
        assert driver.poll() is None, log_of(out)
        for folder in (out / "units").glob(f"{TEMPORARY}*"):
            worker = psutil.Process(int(folder.name.rpartition("-")[2]))
            if worker.pid in others:
                continue
            worker.suspend()
            if node is not None and raylet_of(node) not in worker.parents():
                others[worker.pid] = worker
            elif folder.exists():
                for other in others.values():
                    other.resume()
                return worker
            else:
                worker.resume()  # it has just finished
        time.sleep(0.01)


def raylet_of(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def assert_all_done(out: Path, undisturbed: dict[str, bytes]) -> None:
    assert results(out) == undisturbed and len(undisturbed) == 4 * BAGS
    rows = read_manifest(out / "manifest.parquet").values()
    assert len(rows) == BAGS and {row.state for row in rows} == {"done"}
    assert not list((out / "units").glob(f"{TEMPORARY}*"))


@pytest.mark.usefixtures("second")
def test_a_killed_worker_of_ray_changes_no_byte(
    cluster: Any, bags: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = begin(bags, out, cluster.address)
    worker = stop_a_worker_in_mid_unit(out, driver)
    wait_for_units(out, 1, driver)  # of the other worker
    worker.kill()
    assert driver.wait() == 0, log_of(out)
    assert "1 units were lost with their workers; begun anew" in log_of(out)
    assert (
        len(list((out / "units").glob(f"{TEMPORARY}*"))) == 1
    )  # of the killed one; the next run removes it
    again = begin(bags, out, cluster.address)
    assert again.wait() == 0 and "0 to do" in log_of(out)
    assert_all_done(out, undisturbed)


def test_a_killed_node_of_ray_changes_no_byte(
    cluster: Any, second: Any, bags: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = begin(bags, out, cluster.address)
    worker = stop_a_worker_in_mid_unit(out, driver, second)
    wait_for_units(out, 1, driver)  # of the other worker
    raylet_of(second).kill()
    worker.kill()
    assert driver.wait() == 0, log_of(out)
    assert "units were lost with their workers; begun anew" in log_of(out)
    rows = read_manifest(out / "manifest.parquet").values()
    assert {row.state for row in rows} == {"done"} and results(out) == undisturbed


@pytest.mark.usefixtures("second")
def test_after_the_death_of_the_driver_on_ray_nothing_is_repeated(
    cluster: Any, bags: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = begin(bags, out, cluster.address)
    worker = stop_a_worker_in_mid_unit(out, driver)
    wait_for_units(out, 2, driver)  # of the other worker
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    worker.resume()  # Ray ends the workers of a driver that is gone
    worker.wait(timeout=300)
    before = finished(out)
    assert 2 <= len(before) < BAGS
    again = begin(bags, out, cluster.address)
    assert again.wait() == 0, log_of(out)
    assert before.items() <= finished(out).items()
    assert f"{BAGS} units: {len(before)} are done, 0 cannot be opened" in log_of(out)
    assert_all_done(out, undisturbed)
