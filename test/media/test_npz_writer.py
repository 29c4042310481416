# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The .npz writer."""

from pathlib import Path

import numpy as np
import pytest

from thfm_ros.media.npz_writer import NpzWriter


def test_numpy_reads_what_the_writer_wrote(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 300, 17)).astype(np.float16)
    rows[5:30] = np.nan  # compresses a thousandfold: decompressed in chunks
    large = np.zeros((20, 1 << 20), np.uint8)  # decompressed by 16 MB
    writer = NpzWriter(tmp_path / "a.npz")
    for row in rows:
        writer.append("rows", row)
    for row in large:
        writer.append("large", row)
    writer.close(whole=np.arange(3))
    loaded = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded["rows"], rows)
    np.testing.assert_array_equal(loaded["large"], large)
    assert loaded["whole"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_rows_of_one_array_must_have_one_shape(tmp_path: Path) -> None:
    writer = NpzWriter(tmp_path / "a.npz")
    writer.append("rows", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="rows"):
        writer.append("rows", np.zeros(4, np.float32))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("disk", "the disk is full while arrays are written")
def test_a_full_disk_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer = NpzWriter(tmp_path / "a.npz")
    writer.append("rows", np.zeros(3, np.float32))
    monkeypatch.setattr("thfm_ros.media.npz_writer.zipfile.ZipFile", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert list(tmp_path.iterdir()) == []
