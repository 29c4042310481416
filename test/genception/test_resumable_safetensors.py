"""A file that is written part by part: what stops it before it begins."""

import fcntl
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from thfm_ros.genception.resumable_safetensors import Entry, PartFile, PartFileError


class Usage(NamedTuple):
    free: int


def test_a_full_disk_is_noticed_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=5_000_000))
    entries = {"x": Entry("F32", (2, 1_000_000))}
    with (
        pytest.raises(PartFileError, match=r"needs 0\.01 GB more"),
        PartFile(tmp_path / "x.st", entries, {}, "source"),
    ):
        pass


def test_two_imports_do_not_write_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "x.st.part").touch()
    with (tmp_path / "x.st.part").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(PartFileError, match="another process"),
            PartFile(tmp_path / "x.st", {"x": Entry("F32", (1,))}, {}, "source"),
        ):
            pass
