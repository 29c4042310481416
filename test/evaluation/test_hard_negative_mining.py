"""Mistakes to learn from: what is found where nobody is, and nothing that shows a person."""

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, Person
from still_frames import LEFT, RIGHT, K, write_frames

from thfm_ros.config import Config
from thfm_ros.evaluation.hard_negative_mining import main, mistakes_of
from thfm_ros.evaluation.synthetic_frames import frame_clips
from thfm_ros.pipeline import PerceptionPipeline


def mistakes(folder: Path, there: list[Person], seen: list[Person]) -> list[np.ndarray]:
    write_frames(folder, there)
    pipeline = PerceptionPipeline(FakeEngine(K, lambda: seen), Config())
    return list(mistakes_of(pipeline, frame_clips(folder)))


def test_who_is_found_where_nobody_is_becomes_a_image(tmp_path: Path) -> None:
    (image,) = mistakes(tmp_path / "frames", [RIGHT], [LEFT, RIGHT])
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8


def test_a_crop_that_shows_somebody_is_no_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT]) == []


def test_nothing_found_is_no_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "frames", [], []) == []


def test_who_gathers_mistakes_without_frames_is_told_to_render_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["mistakes", "--frames", str(tmp_path), "--out", str(tmp_path / "m.npy")]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 2
    assert "no whole frames" in caplog.text and "--split train" in caplog.text
    assert not (tmp_path / "m.npy").exists()
