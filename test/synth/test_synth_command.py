# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""``thfm synth``: files that it writes, and its error messages."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from thfm_ros.commands import synth as cli
from thfm_ros.synth.dataset import read_shard, shard_paths


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_render_writes_crops_and_whole_frames_and_can_be_repeated(
    pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "render", "--pack", str(pack_path), "--clips", "4", "--shard", "2", "--frames", "2,1",
        "--size", "32", "--samples", "1", "--split", "all", "--out", str(tmp_path),
    )  # fmt: skip
    assert run(*words) == 0
    names = [path.name for path in shard_paths(tmp_path)]
    assert names == ["crop-all-1-00000.npz", "frame-all-1-00000.npz"]
    crop, frame = (read_shard(path) for path in shard_paths(tmp_path))
    assert crop["rgb"].shape == (3, 32, 32, 3) and frame["rgb"].shape == (3, 36, 48, 3)
    assert list(crop["clip_length"]) == [2, 2, 1] and list(crop["frame_index"]) == [0, 1, 0]
    assert (crop["view"] == 0).all() and (frame["view"] == 1).all()
    assert "frames/s" in capsys.readouterr().err  # the progress bar
    stamps = [path.stat().st_mtime_ns for path in shard_paths(tmp_path)]
    assert run(*words) == 0
    assert [path.stat().st_mtime_ns for path in shard_paths(tmp_path)] == stamps


def test_sample_writes_a_sheet_with_a_row_per_clip(pack_path: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = ("--pack", str(pack_path), "--clips", "3", "--frames", "2", "--size", "32")
    assert run("sample", *words, "--view", "crop", "--samples", "1", "--sheet", str(sheet)) == 0
    image = cv2.imread(str(sheet))
    assert image is not None and image.shape == (3 * 34, 9 * 32, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_crops_and_whole_frames_share_a_sheet_that_may_be_a_jpeg(
    pack_path: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "deep" / "sheet.jpg"
    words = ("--pack", str(pack_path), "--clips", "2", "--frames", "1", "--size", "32")
    assert run("sample", *words, "--samples", "1", "--sheet", str(sheet)) == 0
    image = cv2.imread(str(sheet))
    # The row of crops (9 x 32 pixels wide) is enlarged to that of whole frames (9 x 48).
    assert image is not None and image.shape == (48 + 2 + 36 + 2, 9 * 48, 3)


def test_a_sheet_with_another_file_ending_is_refused_before_rendering(
    pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.pdf"
    assert run("sample", "--pack", str(pack_path), "--sheet", str(sheet)) == 1
    assert "end in .png" in capsys.readouterr().err and not sheet.exists()


@pytest.mark.parametrize("command", ["render", "backgrounds"])
def test_a_folder_that_cannot_be_created_is_named_in_the_error(
    command: str, pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "data"
    count = "--clips" if command == "render" else "--count"
    assert run(command, "--pack", str(pack_path), count, "1", "--out", str(out)) == 1
    error = capsys.readouterr().err
    assert str(out) in error and "another --out" in error


def test_a_missing_pack_is_reported_by_the_parent_of_several_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("render", "--pack", "nowhere.npz", "--clips", "4", "--shard", "1", "--workers", "2")
    assert run(*words, "--out", str(tmp_path)) == 1
    assert "thfm synth bake" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pack", "nowhere.npz", "--clips", "1"), "thfm synth bake"),
        (("--clips", "0"), "--clips 0: it must be from 1 to"),
        (("--clips", "1", "--striding", "2"), "from 0 to 1"),
        (("--clips", "1", "--striding", "nan"), "from 0 to 1"),
        (("--clips", "1", "--artefacts", "-0.1"), "from 0 to 1"),
        (("--clips", "1", "--frames", "four"), "8 or 4,2,1"),
        (("--clips", "1", "--frames", "4,0"), "--frames 0: it must be from 1"),
        (("--clips", "1", "--size", "3"), "from 16 to"),
        (("--clips", "1", "--size", "99999999"), "from 16 to"),
        (("--clips", "1", "--samples", "1000"), "from 1 to 16"),
        (("--clips", "1", "--shard", "0"), "--shard 0: it must be from 1"),
        (("--clips", "1", "--shard", "-3"), "--shard -3: it must be from 1"),
        (("--clips", "1", "--workers", "-1"), "--workers -1: it must be from 1"),
        (("--clips", "1", "--seed", "-1"), "--seed -1: it must be from 0"),
    ],
)
def test_invalid_options_are_refused_with_advice(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("render", *words, "--out", str(tmp_path)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.fault("process", "SIGINT while people are rendered")
def test_ctrl_c_ends_with_advice_on_how_to_continue(
    pack_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thfm_ros.synth.generate.render_shard", interrupted)
    words = ("render", "--pack", str(pack_path), "--clips", "1", "--out", str(tmp_path))
    assert run(*words) == 130
    assert "continues from here" in capsys.readouterr().err
