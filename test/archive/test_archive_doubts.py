# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive`: what is not as it should be, but no reason to give a bag up, is seen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from archive_bags import INFO, K
from fake_engine import image
from small_bags import images_of, write_bag

from thfm_ros.archive.outcome import read_manifest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")

Thfm = Callable[..., int]


def test_one_calibration_is_not_used_for_several_cameras_of_a_bag(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    rear = images_of([image(K)] * 2, "/rear/image_raw")
    write_bag(bags / "two", [INFO, *images_of([image(K)] * 3), *rear])
    options = ("--out", tmp_path / "out", "--topic", "all", "--camera-info", INFO[0])
    assert thfm(bags, *options) == 1
    assert "two" not in worked and len(worked) == 3
    assert "--camera-info /camera/camera_info would be used for 2 cameras" in caplog.text


def test_what_is_left_out_or_not_metric_is_in_the_manifest_and_in_the_report(
    tmp_path: Path, bags: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    torn = images_of([image(K)] * 3)
    torn[1][2].data = torn[1][2].data[:7]
    write_bag(bags / "torn", [INFO, *torn])
    write_bag(bags / "uncalibrated", images_of([image(K)] * 2))
    assert thfm(bags, "--out", tmp_path / "out") == 0
    rows = read_manifest(tmp_path / "out" / "manifest.parquet").values()
    warnings = {Path(row.source).name: row.warning for row in rows if row.warning}
    assert warnings.keys() == {"torn", "uncalibrated"}
    assert "1 of 3 images are left out; the first is image 1: The image has 7" in warnings["torn"]
    assert "nothing is metric: there is no message on /camera" in warnings["uncalibrated"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("are left out; the first is image 1") == 1
    assert "units with warnings</th><td class='number'>2</td>" in page
    assert f"{bags}/torn, /camera/image_raw: 1 of 3 images" in caplog.text
    caplog.clear()
    assert thfm(bags, "--out", tmp_path / "out") == 0  # still known, though nothing is done
    rows = read_manifest(tmp_path / "out" / "manifest.parquet").values()
    assert sum(bool(row.warning) for row in rows) == 2


def test_options_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert thfm(bags, "--out", tmp_path / "out", "--max-frames", "-1") == 2
    assert "--max-frames -1: give 1 or more" in caplog.text
    assert thfm(bags / "bag0", "--out", bags) == 2
    assert f"All bags of {bags}/bag0 are in --out {bags}" in caplog.text and worked == []
