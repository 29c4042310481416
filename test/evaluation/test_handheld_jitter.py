"""Somebody who does not move, before a camera that trembles."""

from pathlib import Path

import numpy as np
import pytest
from perceived import a_flat_body
from still_frames import LEFT, RIGHT, write_frames

from thfm_ros.evaluation import handheld_jitter as held
from thfm_ros.evaluation.matching import ImageMatches, Person
from thfm_ros.evaluation.synthetic_frames import Rendered, frame_clips
from thfm_ros.skeleton import Joint


@pytest.fixture
def clips(tmp_path: Path) -> list[list[Rendered]]:
    write_frames(tmp_path / "frames", [LEFT, RIGHT])
    return list(held.held_clips(frame_clips(tmp_path / "frames")))


def test_every_label_trembles_as_the_image_does(clips: list[list[Rendered]]) -> None:
    (clip,) = clips
    assert len(clip) == held.FRAMES and clip[0].rgb.shape == (480, 640, 3)
    for rendered in clip:
        for number in (1, 2):
            rows, columns = np.nonzero(rendered.instances == number)
            joints = rendered.keypoints2d[number - 1]
            assert joints[:, 0].min() > columns.min() - 2 and joints[:, 0].max() < columns.max() + 3
            assert joints[:, 1].min() > rows.min() - 2 and joints[:, 1].max() < rows.max() + 3
        seen = rendered.keypoints3d[0] / rendered.keypoints3d[0, :, 2:]
        lens = rendered.intrinsics
        np.testing.assert_allclose(
            seen[:, :2] * lens[:2] + lens[2:], rendered.keypoints2d[0], atol=0.05
        )


def test_the_tremor_is_a_few_pixels_and_never_still(clips: list[list[Rendered]]) -> None:
    joints = np.stack([rendered.keypoints2d[0] for rendered in clips[0]])
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert 0.02 < steps.mean() < 4
    assert np.ptp(steps, axis=1).max() < 1e-3  # the whole image moves alike


def test_places_without_people_are_left_out(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [])
    assert not list(held.held_clips(frame_clips(tmp_path / "frames")))


def watched(offsets: np.ndarray, names: tuple[int, ...] = (1,) * 7) -> list[ImageMatches]:
    """Seven frames of somebody 100 pixels tall whose joints are said to be off by so much."""
    joints, box = np.random.default_rng(0).uniform(0, 100, (len(Joint), 2)), [0.0, 0, 100, 100]
    frames = []
    for name, offset in zip(names, offsets, strict=True):
        found = a_flat_body("a", box, joints + offset)
        there = Person(name, np.array(box), 5e3, joints, np.ones(len(Joint), bool), True)
        frames.append(ImageMatches(0, 200, (there,), (found,), ((0, 0),), (), np.nan, np.nan))
    return frames


def test_drift_is_jitter_and_a_constant_error_is_not() -> None:
    assert held.strays_of([watched(np.full(7, 9.0))])["jitter_held"] == pytest.approx(0, abs=1e-6)
    drift = np.arange(7.0)  # 1 pixel a frame along both axes: from two frames 0.01, in truth 0.03
    expected = np.sqrt(2) * np.std(drift, ddof=1) / 100
    assert held.strays_of([watched(drift)])["jitter_held"] == pytest.approx(expected, rel=1e-3)


def test_joints_that_stay_in_their_pixels_stray_by_what_the_person_moves() -> None:
    scores = held.strays_of([watched(np.zeros(7))])
    assert scores["people_held"] == 1
    assert scores["jitter_frozen_held"] == pytest.approx(0, abs=1e-9)  # nothing moves here


def test_who_is_not_found_throughout_is_not_measured() -> None:
    scores = held.strays_of([watched(np.zeros(7), (1, 1, 1, 2, 1, 1, 1))])
    assert scores["people_held"] == 0 and np.isnan(scores["jitter_held"])
