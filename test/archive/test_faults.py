# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive` with the shipped network, whose worker and whose driver are killed in mid-run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_engine import camera, image
from small_bags import START_NS, a_camera_info, images_of, write_bag

from thfm_ros.archive.outcome import read_manifest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")
pytestmark = pytest.mark.slow

K = camera(160, 120, 150.0)
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))


def begin(bags: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "thfm_ros.commands.main", "archive", str(bags)]
    command += ["--out", str(out), "--workers", "2", "--format", "npz,mcap,parquet"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def results(out: Path) -> dict[str, bytes]:
    kinds = (".npz", ".mcap", ".parquet")
    files = [path for path in sorted((out / "units").rglob("*")) if path.suffix in kinds]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def workers_of(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(driver.pid).children(recursive=True)
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def wait_for_units(out: Path, count: int, driver: subprocess.Popen[str]) -> None:
    while sum(not path.name.startswith(".") for path in (out / "units").glob("*")) < count:
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        time.sleep(0.05)


def test_after_the_deaths_of_a_worker_and_of_the_driver_all_results_are_the_same(
    tmp_path: Path,
) -> None:
    bags = tmp_path / "bags"
    bags.mkdir()
    for number in range(6):
        frames = images_of([image(K)] * (12 - number), start_ns=START_NS + number)
        write_bag(bags / f"bag{number}", [INFO, *frames])
    undisturbed = begin(bags, tmp_path / "undisturbed")
    assert undisturbed.wait() == 0

    out = tmp_path / "disturbed"
    driver = begin(bags, out)
    wait_for_units(out, 1, driver)
    os.kill(workers_of(driver)[0].pid, signal.SIGKILL)
    wait_for_units(out, 3, driver)
    left = workers_of(driver)
    driver.kill()
    driver.wait()
    psutil.wait_procs(left, timeout=300)
    before = results(out)
    times = {path.name: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    assert 6 <= len(before) < len(results(tmp_path / "undisturbed"))

    again = begin(bags, out)
    assert again.wait() == 0
    assert results(out) == results(tmp_path / "undisturbed")
    kept = [name for name in times if not name.startswith(".")]
    assert all((out / "units" / name).stat().st_mtime_ns == times[name] for name in kept)
    rows = read_manifest(out / "manifest.parquet").values()
    assert len(rows) == 6 and {row.state for row in rows} == {"done"}
