# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Hard negatives: crops around false positives, and none that shows a person."""

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, Person
from still_frames import LEFT, RIGHT, K, write_frames

from thfm_ros.config import Config
from thfm_ros.evaluation.hard_negative_mining import hard_negatives, main
from thfm_ros.evaluation.synthetic_frames import frame_clips
from thfm_ros.pipeline import PerceptionPipeline


def mined(folder: Path, present: list[Person], detected: list[Person]) -> list[np.ndarray]:
    write_frames(folder, present)
    pipeline = PerceptionPipeline(FakeEngine(K, lambda: detected), Config())
    return list(hard_negatives(pipeline, frame_clips(folder)))


def test_a_false_positive_becomes_a_crop(tmp_path: Path) -> None:
    (crop,) = mined(tmp_path / "frames", [RIGHT], [LEFT, RIGHT])
    assert crop.shape == (128, 128, 3) and crop.dtype == np.uint8


def test_a_crop_that_shows_a_person_is_no_hard_negative(tmp_path: Path) -> None:
    assert mined(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT]) == []


def test_without_detections_there_are_no_hard_negatives(tmp_path: Path) -> None:
    assert mined(tmp_path / "frames", [], []) == []


def test_without_frames_the_error_names_the_training_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "hard_negatives.npy"
    arguments = ["hard_negative_mining", "--frames", str(tmp_path), "--out", str(file)]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 2
    assert "no whole frames" in caplog.text and "--split train" in caplog.text
    assert not file.exists()
