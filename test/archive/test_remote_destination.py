# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive` from S3 to S3: a server of moto on this machine, reached over HTTP by s3fs."""

import importlib.util
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_engine import camera, image
from small_bags import START_NS, a_camera_info, images_of, write_bag

from thfm_ros.archive.destination import (
    MANIFEST,
    LocalDestination,
    RemoteDestination,
    destination_of,
)
from thfm_ros.archive.job import Job
from thfm_ros.archive.outcome import read_manifest
from thfm_ros.archive.units import Unit, bags_of
from thfm_ros.archive.work import Worker
from thfm_ros.contract import PerceptionError

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")
MISSING = [name for name in ("moto", "flask", "s3fs") if importlib.util.find_spec(name) is None]
needs_s3 = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} not installed: pip install s3fs 'moto[server]'"
)

K = camera(160, 120, 150.0)
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))
FORMATS = ("--format", "npz,mcap,parquet")

Thfm = Callable[..., int]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of an S3 that holds nothing."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system with an empty bucket `robot`, which addresses s3:// reach, too."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    fs.mkdir("robot")
    yield fs
    fs.rm("robot", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "bags" / "bag", [INFO, *images_of([image(K)] * 3)])


def files_of(folder: Path) -> dict[str, bytes]:
    """The results below a local folder, which must not depend on the run."""
    kinds = (".npz", ".mcap", ".parquet", ".jpg")
    paths = [path for path in (folder / "units").rglob("*") if path.suffix in kinds]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@needs_s3
def test_from_s3_to_s3_gives_the_bytes_of_a_local_run(
    tmp_path: Path, bag: Path, thfm: Thfm, s3: Any, worked: list[str]
) -> None:
    s3.put(str(bag), "robot/2026/bag", recursive=True)
    assert thfm(bag.parent, "--out", tmp_path / "local", *FORMATS) == 0
    assert thfm("s3://robot/2026", "--out", "s3://robot/people", *FORMATS) == 0
    s3.get("robot/people", str(tmp_path / "remote"), recursive=True)
    local, remote = files_of(tmp_path / "local"), files_of(tmp_path / "remote")
    assert len(local) == 5 and remote == local
    (row,) = read_manifest(tmp_path / "remote" / "manifest.parquet").values()
    assert (row.source, row.state, row.frames) == ("s3://robot/2026/bag", "done", 3)
    page = (tmp_path / "remote" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 1 and page.count("<svg") == 1

    # A second run, over the whole bucket: what is done is not repeated, results are no input.
    worked.clear()
    assert thfm("s3://robot", "--out", "s3://robot/people", *FORMATS) == 0
    assert worked == []


@needs_s3
def test_broken_bags_in_s3_are_error_rows(tmp_path: Path, bag: Path, thfm: Thfm, s3: Any) -> None:
    s3.put(str(bag), "robot/in/bag", recursive=True)
    s3.pipe_file("robot/in/empty.db3", b"")
    s3.pipe_file("robot/in/torn.mcap", b"no bag")
    s3.call_s3("put_object", Bucket="robot", Key="in/", Body=b"")  # what consoles call a folder
    s3.call_s3("put_object", Bucket="robot", Key="in/bag/", Body=b"")
    assert thfm("s3://robot/in", "--out", "s3://robot/out") == 1
    s3.get_file("robot/out/manifest.parquet", str(tmp_path / "manifest.parquet"))
    rows = read_manifest(tmp_path / "manifest.parquet").values()
    states = {row.source.rpartition("/")[2]: (row.state, row.error) for row in rows}
    assert states["bag"] == ("done", "")
    assert states["empty.db3"][0] == "error"
    assert "s3://robot/in/empty.db3 is empty (0 bytes)" in states["empty.db3"][1]
    assert states["torn.mcap"][0] == "error" and len(states) == 3


@needs_s3
def test_a_bucket_that_is_missing_ends_the_run_before_any_work(
    bag: Path, thfm: Thfm, s3: Any, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert thfm(bag, "--out", "s3://missing/people") == 2
    assert "s3://missing/people" in caplog.text and "cannot be" in caplog.text and worked == []
    caplog.clear()
    assert thfm("s3://missing/bags", "--out", "s3://robot/people") == 2
    assert "s3://missing/bags" in caplog.text


@needs_s3
def test_a_unit_whose_upload_failed_is_an_error_row_and_is_tried_again(
    tmp_path: Path,
    bag: Path,
    thfm: Thfm,
    s3: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import s3fs

    original = s3fs.S3FileSystem.put_file

    def put_file(self: Any, local: str, remote: str) -> None:
        if remote.endswith("summary.json"):
            raise PermissionError("Access Denied")
        original(self, local, remote)

    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", None)  # TMPDIR is read anew
    (tmp_path / "scratch").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "put_file", put_file)
        assert thfm(bag, "--out", "s3://robot/people") == 1
    assert "summary.json cannot be written: Access Denied" in caplog.text
    # What was uploaded before is there; that the outcome, the last one, is not makes it unfinished.
    assert s3.glob("robot/people/units/*/people.parquet")
    assert not s3.glob("robot/people/units/*/outcome.json")
    assert thfm(bag, "--out", "s3://robot/people") == 0
    assert list((tmp_path / "scratch").iterdir()) == []  # nothing is left of either


@needs_s3
def test_a_destination_is_a_path_or_an_address(tmp_path: Path) -> None:
    local = LocalDestination(tmp_path)
    assert destination_of(str(tmp_path)) == local == destination_of(f"file://{tmp_path}")
    remote = destination_of("s3://robot/people/")
    assert str(remote) == "s3://robot/people"
    assert pickle.loads(pickle.dumps(remote)) == remote  # each worker gets one
    with pytest.raises(PerceptionError, match="nope"):
        destination_of("nope://robot/people")


@pytest.mark.parametrize("out", ["memory://robot/people", "simplecache::memory://robot/people"])
def test_results_in_the_memory_of_this_process_are_refused(
    out: str, bag: Path, thfm: Thfm, worked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("fsspec")
    assert thfm(bag, "--out", out) == 2
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert out in line and "would be lost" in line and "--out s3://BUCKET/people" in line
    assert worked == []


@pytest.mark.parametrize("remote", [False, True])
def test_a_worker_that_does_not_see_the_drivers_manifest_does_no_unit(
    remote: bool, tmp_path: Path, bag: Path
) -> None:
    """Such as a machine of a Ray cluster where OUT is another folder of the same name."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    folder = tmp_path / "people"
    out = RemoteDestination("memory:///elsewhere") if remote else LocalDestination(folder)
    job = Job((("engine.checkpoint", "nano"),))
    unit = Unit("key", str(bag), "bag", "/camera/image_raw", 3)
    outcome = Worker(job, out, 1 << 30).run(unit)
    assert outcome.state == "error" and not outcome.frames and not folder.exists()
    assert "does not see" in outcome.error and "manifest.parquet" in outcome.error
    (tmp_path / MANIFEST).write_bytes(b"of the driver")
    if remote:
        out.publish(tmp_path, MANIFEST)
    else:
        folder.mkdir()
        (folder / MANIFEST).touch()
    try:
        out.check_shared()
    finally:
        if remote:
            memory.rm("/elsewhere", recursive=True)


def test_a_storage_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(PerceptionError, match=f"zip://a::file://{tmp_path}/none"):
        destination_of(f"zip://a::file://{tmp_path}/none.zip")


def test_bags_at_file_addresses_are_local_and_results_among_them_are_left_out(bag: Path) -> None:
    pytest.importorskip("fsspec")
    folder = bag.parent
    assert bags_of([f"file://{folder}"]) == [bag] == bags_of([str(folder)])
    other = write_bag(folder / "out" / "bag", [INFO])
    assert bags_of([f"file://{folder}"], f"file://{folder}/out") == [bag]
    assert bags_of([f"file://{folder}"], str(folder / "out")) == [bag]
    assert other in bags_of([str(folder)])
