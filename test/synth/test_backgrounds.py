# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The backgrounds file: written atomically, the same for the same seed."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.commands import synth as cli
from thfm_ros.contract import PerceptionError
from thfm_ros.synth.backgrounds import render_backgrounds
from thfm_ros.training.augmentation.backgrounds import Backgrounds


def render(path: Path, count: int = 3, seed: int = 1) -> np.ndarray:
    assert list(render_backgrounds(path, (), count, seed)) == list(range(count))
    out: np.ndarray = np.load(path)
    return out


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_an_image_depends_only_on_the_seed_and_its_index(tmp_path: Path) -> None:
    three, five = render(tmp_path / "a.npy"), render(tmp_path / "b.npy", 5)
    np.testing.assert_array_equal(three, five[:3])
    assert (render(tmp_path / "c.npy", seed=2) != three).mean() > 0.5


def test_training_can_read_the_file(tmp_path: Path) -> None:
    images = render(tmp_path / "a.npy")
    assert images.dtype == np.uint8 and images.shape == (3, 192, 256, 3)
    assert (images.std(axis=(1, 2, 3)) > 5).all(), "no image is a plain area"
    part = Backgrounds(tmp_path / "a.npy").draw(np.random.default_rng(0), 64, 48)
    assert part.shape == (48, 64, 3) and np.isfinite(part).all()


def test_an_interrupted_run_leaves_no_partial_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    before = render(path)
    images = render_backgrounds(path, (), 3, 2)
    assert next(images) == 0
    images.close()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.load(path), before)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npy"]


def test_a_file_that_cannot_be_written_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PerceptionError, match=r"a\.npy cannot be written.*--out"):
        next(render_backgrounds(tmp_path / "file" / "a.npy", (), 1, 1))
    with pytest.raises(PerceptionError, match="at least 1"):
        next(render_backgrounds(tmp_path / "b.npy", (), 0, 1))


def test_the_command_writes_the_file_and_reports_that_an_interrupted_run_starts_over(
    pack_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("backgrounds", "--pack", str(pack_path), "--count", "2")
    assert run(*words, "--out", str(tmp_path / "a.npy")) == 0
    assert np.load(tmp_path / "a.npy").shape == (2, 192, 256, 3)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("thfm_ros.synth.backgrounds.background", interrupted)
    assert run(*words, "--out", str(tmp_path / "b.npy")) == 130
    assert "starts over" in capsys.readouterr().err
    assert not list(tmp_path.glob("b.npy*"))
