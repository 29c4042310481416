from pathlib import Path

import numpy as np
import pytest

from thfm_ros.archive import GrowingArchive
from thfm_ros.video import Video, VideoWriter, fitted, picture_files


def test_a_growing_archive_is_what_numpy_would_have_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 300, 17)).astype(np.float16)
    rows[5:30] = np.nan  # compresses a thousandfold: read back in portions
    large = np.zeros((64, 1 << 20), np.uint8)
    archive = GrowingArchive(tmp_path / "a.npz")
    for row in rows:
        archive.append("rows", row)
    for row in large:
        archive.append("large", row)
    archive.close(whole=np.arange(3))
    loaded = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded["rows"], rows)
    np.testing.assert_array_equal(loaded["large"], large)
    assert loaded["whole"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_rows_of_an_archive_must_be_alike(tmp_path: Path) -> None:
    archive = GrowingArchive(tmp_path / "a.npz")
    archive.append("rows", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="rows"):
        archive.append("rows", np.zeros(4, np.float32))
    archive.abandon()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 5) as writer:
        writer.write(np.full((61, 81, 3), 200, np.uint8))
        writer.write(np.full((300, 100, 3), 200, np.uint8))
    frames = [each.rgb for each in Video(tmp_path / "v.mp4")]
    assert [each.shape for each in frames] == [(62, 82, 3)] * 2
    assert fitted(np.ones((10, 20, 3), np.uint8), (20, 10)).shape == (10, 20, 3)


def test_pictures_come_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in picture_files(tmp_path)] == ["a.png", "b.JPG"]
