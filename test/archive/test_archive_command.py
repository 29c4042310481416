# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive`: units, error rows, runs that go on, the manifest and the report."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archive_bags import INFO, K, a_bag
from fake_engine import image
from full_disk import full_disk
from small_bags import START_NS, images_of, write_bag

from thfm_ros.archive import work
from thfm_ros.archive.outcome import read_manifest
from thfm_ros.archive.units import bags_of
from thfm_ros.contract import PerceptionError

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")

Thfm = Callable[..., int]


def results(out: Path) -> dict[str, bytes]:
    """The files of results below a folder, which must not depend on the run."""
    kinds = (".npz", ".mcap", ".parquet")
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted((out / "units").rglob("*"))
        if path.suffix in kinds
    }


def test_all_units_are_done_the_longest_first(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str]
) -> None:
    assert thfm(bags, "--out", tmp_path / "out") == 0
    assert worked == ["bag1", "bag2", "bag0"]
    rows = list(read_manifest(tmp_path / "out" / "manifest.parquet").values())
    assert [(Path(row.source).name, row.state, row.frames, row.people) for row in rows] == [
        ("bag0", "done", 2, 1),
        ("bag1", "done", 4, 1),
        ("bag2", "done", 3, 1),
    ]


def test_two_runs_give_the_same_bytes(tmp_path: Path, bags: Path, thfm: Thfm) -> None:
    formats = ("--format", "npz,mcap,parquet")
    assert thfm(bags, "--out", tmp_path / "one", *formats) == 0
    assert (
        thfm(bags / "bag2", bags / "bag0", bags / "bag1", "--out", tmp_path / "two", *formats) == 0
    )
    assert len(results(tmp_path / "one")) == 12
    assert results(tmp_path / "one") == results(tmp_path / "two")


def test_a_second_run_does_only_what_is_missing(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert thfm(bags, "--out", out) == 0
    before = results(out)
    a_bag(bags / "new", 2, START_NS + 99)
    worked.clear()
    (out / "manifest.parquet").unlink()
    assert thfm(bags, "--out", out) == 0
    assert worked == ["new"] and before.items() <= results(out).items()
    assert len(read_manifest(out / "manifest.parquet")) == 4


def test_other_settings_do_all_anew_beside_the_old_results(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str]
) -> None:
    out = tmp_path / "out"
    assert thfm(bags, "--out", out) == 0
    worked.clear()
    assert thfm(bags, "--out", out, "--set", "decode.mask_threshold=0.6") == 0
    assert len(worked) == 3 and len(results(out)) == 12
    assert len(read_manifest(out / "manifest.parquet")) == 6


def test_a_moved_bag_is_the_same_unit(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str]
) -> None:
    assert thfm(bags, "--out", tmp_path / "out") == 0
    worked.clear()
    bags.rename(tmp_path / "moved")
    assert thfm(tmp_path / "moved", "--out", tmp_path / "out") == 0
    assert worked == []


def test_broken_bags_are_error_rows_and_the_others_are_done(
    tmp_path: Path, bags: Path, thfm: Thfm
) -> None:
    a_bag(bags / "truncated", 2, START_NS + 7)
    (file,) = (bags / "truncated").glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-40])
    (bags / "empty.db3").write_bytes(b"")
    write_bag(bags / "no images", [INFO])
    larger = images_of([np.zeros((240, 320, 3), np.uint8)], start_ns=START_NS + 10**9)
    write_bag(bags / "two sizes", [INFO, *images_of([image(K)] * 2), *larger])
    zero = images_of([image(K)] * 2, start_ns=0, period_ns=0)
    write_bag(bags / "zero", [(topic, START_NS + n, m) for topic, n, m in zero])
    assert thfm(bags, "--out", tmp_path / "out") == 1
    rows = read_manifest(tmp_path / "out" / "manifest.parquet").values()
    errors = {Path(row.source).name: row.error for row in rows if row.state == "error"}
    expected = {
        "truncated": "mcap recover",
        "empty.db3": "empty (0 bytes)",
        "no images": "holds no images",
        "two sizes": "from 160x120 to 320x240",
        "zero": "--stamps received",
    }
    assert errors.keys() == expected.keys()
    for name, text in expected.items():
        assert text in errors[name], name
    assert sum(row.state == "done" for row in rows) == 3
    # A unit has all of its results, or none.
    folders = [path for path in (tmp_path / "out" / "units").iterdir()]
    assert len(folders) == 3 and not any(path.name.startswith(".") for path in folders)


@pytest.mark.parametrize("name", ["npz", "mcap", "parquet"])
def test_units_that_do_not_fit_on_the_disk_are_error_rows_and_tried_again(
    name: str, tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str]
) -> None:
    out = tmp_path / "out"
    with full_disk(after_bytes=8000):  # the manifest fits, no unit does
        assert thfm(bags, "--out", out, "--format", name) == 1
    rows = read_manifest(out / "manifest.parquet").values()
    assert len(rows) == 3 and all("File too large" in row.error for row in rows)
    assert list((out / "units").iterdir()) == []
    worked.clear()
    assert thfm(bags, "--out", out, "--format", name) == 0
    assert len(worked) == 3


def test_a_run_that_is_stopped_goes_on(
    tmp_path: Path, bags: Path, thfm: Thfm, monkeypatch: pytest.MonkeyPatch, worked: list[str]
) -> None:
    original, count = work.Worker.run, iter(range(9))

    def run(self: work.Worker, *arguments: object) -> object:
        if next(count) == 1:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(work.Worker, "run", run)
        assert thfm(bags, "--out", tmp_path / "out") == 130
    assert len(read_manifest(tmp_path / "out" / "manifest.parquet")) == 1
    (tmp_path / "out" / "units" / ".unit-left-1").mkdir()  # of a worker that was killed
    worked.clear()
    assert thfm(bags, "--out", tmp_path / "out") == 0
    assert worked == ["bag2", "bag0"]
    assert len(list((tmp_path / "out" / "units").iterdir())) == 3


def test_a_second_run_in_the_same_folder_is_refused(
    tmp_path: Path, bags: Path, thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    codes: list[int] = []
    original = work.Worker.run

    def run(self: work.Worker, *arguments: object) -> object:
        if not codes:
            codes.append(thfm(bags, "--out", out))
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Worker, "run", run)
    assert thfm(bags, "--out", out) == 0
    assert codes == [2]


def test_every_camera_is_a_unit(tmp_path: Path, thfm: Thfm) -> None:
    rear = images_of([image(K)] * 2, "/rear/image_raw")
    bag = write_bag(tmp_path / "bag", [INFO, *images_of([image(K)] * 3), *rear])
    assert thfm(bag, "--out", tmp_path / "out") == 1  # which camera is meant is not said
    assert thfm(bag, "--out", tmp_path / "out", "--topic", "all") == 0
    rows = read_manifest(tmp_path / "out" / "manifest.parquet").values()
    # That the first run could not tell which camera was meant is no error any more.
    done = {row.topic: (row.state, row.frames) for row in rows}
    assert done == {"/camera/image_raw": ("done", 3), "/rear/image_raw": ("done", 2)}


def test_a_bag_without_the_named_topic_is_an_error_row(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str]
) -> None:
    out = tmp_path / "out"
    assert (
        thfm(bags / "bag0", "--out", out, "--topic", "/none", "--topic", "/camera/image_raw") == 1
    )
    rows = read_manifest(out / "manifest.parquet").values()
    errors = {row.topic: row.error for row in rows}
    assert "no topic /none" in errors["/none"] and errors["/camera/image_raw"] == ""
    assert worked == ["bag0"]


def test_bags_are_named_by_folders_globs_and_lists(tmp_path: Path, bags: Path) -> None:
    def names(*inputs: str) -> list[str]:
        return [path.name for path in bags_of(inputs) if isinstance(path, Path)]

    listed = tmp_path / "list.txt"
    listed.write_text(f"# of today\n{bags}/bag0\n\n{bags}/*1\n")
    assert names(f"@{listed}") == ["bag0", "bag1"]
    assert names(f"{tmp_path}/**/bag?") == ["bag0", "bag1", "bag2"]
    assert names(str(tmp_path), str(bags / "bag1")) == [
        "bag0",
        "bag1",
        "bag2",
    ]
    for name in ("/none", "@/none", "nope://bucket/bag"):
        with pytest.raises(PerceptionError, match=r"names no rosbag|cannot be read|not known"):
            bags_of([name])
    assert bags_of([str(tmp_path)], out=str(bags / "bag1")) == [bags / "bag0", bags / "bag2"]


def test_remote_bags_are_the_same_units_and_large_ones_are_error_rows(
    tmp_path: Path, bags: Path, thfm: Thfm, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.put(str(bags / "bag0"), "/robot/bag0", recursive=True)
    (file,) = (bags / "bag1").glob("*.mcap")
    memory.put(str(file), "/robot/single.mcap")
    try:
        assert thfm("memory://robot", "--out", tmp_path / "remote") == 0
        assert thfm(bags / "bag0", "--out", tmp_path / "local") == 0
        assert results(tmp_path / "local").items() <= results(tmp_path / "remote").items()
        worked.clear()
        assert thfm("memory://robot/*.mcap", "--out", tmp_path / "remote") == 0
        assert worked == []  # done before
        assert thfm("memory://robot", "--out", tmp_path / "x", "--scratch-gib", "1e-6") == 1
        assert "raise --scratch-gib" in caplog.text
    finally:
        memory.rm("/robot", recursive=True)


def test_the_report_has_everything_in_it(tmp_path: Path, bags: Path, thfm: Thfm) -> None:
    (bags / "<b>.mcap").write_bytes(b"no bag")
    assert thfm(bags, "--out", tmp_path / "out") == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3 and page.count("<svg") == 3
    assert "&lt;b&gt;.mcap" in page and "<b>" not in page
    assert not re.search(r"(src|href)='(?!data:)", page) and "<script" not in page
    assert "units that failed</th><td class='number'>1</td>" in page


def test_lines_of_progress_come_while_a_unit_takes_long(
    tmp_path: Path,
    bags: Path,
    thfm: Thfm,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("thfm_ros.archive.run._LINE_EVERY_S", 0.01)
    original = work.Worker.run

    def run(self: work.Worker, *arguments: object) -> object:
        while "0 of 3 units" not in caplog.text:
            time.sleep(0.01)
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Worker, "run", run)
    caplog.set_level("INFO")
    assert thfm(bags, "--out", tmp_path / "out") == 0
    assert "3 of 3 units, 9 frames" in caplog.text


def test_without_camera_images_the_report_shows_no_pixel(
    tmp_path: Path, bags: Path, thfm: Thfm
) -> None:
    setting = "publish_camera_images=false"
    assert thfm(bags, "--out", tmp_path / "out", "--set", setting) == 0
    assert "data:image" not in (tmp_path / "out" / "report.html").read_text()
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_a_missing_package_ends_the_run_before_any_work(
    tmp_path: Path,
    bags: Path,
    thfm: Thfm,
    worked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("thfm_ros.archive.run._PACKAGES", {"rrd": "no_such_package"})
    assert thfm(bags, "--out", tmp_path / "out", "--format", "rrd") == 2
    assert "--format rrd needs no_such_package: pip install" in caplog.text and worked == []


def test_a_folder_without_bags_is_an_error(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    assert thfm(tmp_path, "--out", tmp_path / "out") == 2
    assert "names no rosbag" in caplog.text and not (tmp_path / "out").exists()
