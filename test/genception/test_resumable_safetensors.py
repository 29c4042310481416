# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A file that is written tensor by tensor: checks before it starts."""

import fcntl
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from thfm_ros.genception.resumable_safetensors import (
    ResumableWriteError,
    ResumableWriter,
    TensorEntry,
)


class Usage(NamedTuple):
    free: int


@pytest.mark.fault("disk", "too little space for imported weights")
def test_full_disk_is_detected_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free=5_000_000))
    entries = {"x": TensorEntry("F32", (2, 1_000_000))}
    with (
        pytest.raises(ResumableWriteError, match=r"needs 0\.01 GB more"),
        ResumableWriter(tmp_path / "x.st", entries, {}, "source"),
    ):
        pass


def test_concurrent_writers_of_one_file_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.st.part").touch()
    with (tmp_path / "x.st.part").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            pytest.raises(ResumableWriteError, match="another process"),
            ResumableWriter(tmp_path / "x.st", {"x": TensorEntry("F32", (1,))}, {}, "source"),
        ):
            pass
