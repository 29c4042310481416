"""Whole frames through the real pipeline, with an engine that knows the truth."""

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, Person
from still_frames import LEFT, RIGHT, K, write_frames

from thfm_ros.config import Config
from thfm_ros.evaluation import report_tables as lines
from thfm_ros.evaluation.frame_metrics import scores_of
from thfm_ros.evaluation.handheld_jitter import strays_of
from thfm_ros.evaluation.matching import ImageMatches, match, relief_of
from thfm_ros.evaluation.matching import Person as Truth
from thfm_ros.evaluation.synthetic_frames import frame_clips, judged_clips
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import Joint


def judged(folder: Path, there: list[Person], seen: list[Person]) -> list[ImageMatches]:
    write_frames(folder, there)
    engine = FakeEngine(K, lambda: seen)
    return judged_clips(PerceptionPipeline(engine, Config()), frame_clips(folder), 9)


def test_a_perfect_engine_gets_everything_right(tmp_path: Path) -> None:
    verdicts = judged(tmp_path / "frames", [LEFT, RIGHT], [LEFT, RIGHT])
    assert [len(verdict.hits) for verdict in verdicts] == [2, 2, 2]
    scores = scores_of(verdicts)
    for key in ("right_number", "recall", "precision", "pck10", "pck10_all", "oks_ap50"):
        assert scores[key] == pytest.approx(1.0), key
    assert scores["mask_iou"] > 0.9 and scores["depth_near"] == 1.0
    assert scores["root_z"] < 0.02 and scores["depth_metric_abs_rel"] < 0.02
    assert scores["followed"] == 4 and scores["switches"] == 0
    assert scores["swapped_pairs"] == 0
    assert scores["right_number_one"] == 0.0
    scores |= strays_of([verdicts])
    assert "| recall of people, IoU >= 0.5 | 1.000 |" in lines.whole_tables(scores, lines.FRAMES)


def test_who_is_overlooked_costs_recall_and_who_is_invented_precision(tmp_path: Path) -> None:
    blind = scores_of(judged(tmp_path / "a", [LEFT, RIGHT], [LEFT]))
    assert (blind["recall"], blind["precision"], blind["right_number"]) == (0.5, 1.0, 0.0)
    assert blind["pck10"] == 1.0 and blind["pck10_all"] == 0.5
    dreaming = scores_of(judged(tmp_path / "b", [LEFT], [LEFT, RIGHT]))
    assert (dreaming["recall"], dreaming["precision"]) == (1.0, 0.5)


def test_somebody_found_in_an_empty_room_is_counted(tmp_path: Path) -> None:
    verdicts = judged(tmp_path / "frames", [], [LEFT])
    scores = scores_of(verdicts)
    scores |= strays_of([verdicts])
    assert scores["false_per_empty"] == 1.0 and scores["empty"] == 3
    assert np.isnan(scores["recall"]) and np.isnan(scores["mask_iou"])
    assert "not measured" in lines.whole_tables(scores, lines.FRAMES)


def truth(box: list[float], counts: bool = True) -> Truth:
    joints = np.zeros((len(Joint), 2))
    return Truth(1, np.array(box, float), 100.0, joints, np.zeros(len(Joint), bool), counts)


def test_each_box_is_one_persons_and_a_crowd_excuses_what_lies_on_it() -> None:
    people = [truth([0, 0, 10, 20]), truth([100, 0, 200, 100], counts=False)]
    boxes = [[1, 0, 11, 20], [0, 0, 10, 19], [120, 20, 130, 40], [300, 0, 310, 20]]
    pairs, wrong = match(people, [np.array(box, float) for box in boxes])
    assert pairs == ((0, 1),)
    assert wrong == (0, 3)  # a second box on the same person is wrong too


def test_depth_that_is_off_by_one_factor_is_right_once_aligned() -> None:
    depth = np.linspace(2, 3, 100)
    relief = relief_of(1.3 * depth, depth, metric=True)
    assert relief is not None
    assert relief.abs_rel == pytest.approx(0, abs=1e-9) and relief.near == 1.0
    assert relief.metric_abs_rel == pytest.approx(0.3)
    # A flat person at 2.5: mean |2.5 - z| / z over 2..3.
    assert relief.flat_abs_rel == pytest.approx(float((np.abs(2.5 - depth) / depth).mean()))
    assert relief_of(depth[:20], depth[:20], metric=True) is None
