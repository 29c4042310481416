"""Mistakes to learn from: what is found where nobody is, and nothing that shows a person."""

from pathlib import Path

import numpy as np
from fake_engine import FakeEngine, Person
from still_frames import LEFT, RIGHT, K, write_frames

from thfm_ros.config import Config
from thfm_ros.evaluation.frames import held_out_clips
from thfm_ros.evaluation.mistakes import mistakes_of
from thfm_ros.pipeline import PerceptionPipeline


def mistakes(folder: Path, there: list[Person], seen: list[Person]) -> list[np.ndarray]:
    write_frames(folder, there)
    pipeline = PerceptionPipeline(FakeEngine(K, lambda: seen), Config())
    return list(mistakes_of(pipeline, held_out_clips(folder)))


def test_who_is_found_where_nobody_is_becomes_a_picture(tmp_path: Path) -> None:
    (picture,) = mistakes(tmp_path / "frames", [RIGHT], [LEFT, RIGHT])
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8


def test_a_crop_that_shows_somebody_is_no_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT]) == []


def test_nothing_found_is_no_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "frames", [], []) == []
