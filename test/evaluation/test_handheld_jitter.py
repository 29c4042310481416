# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Jitter on a person who does not move, before a simulated hand-held camera."""

from pathlib import Path

import numpy as np
import pytest
from perceived import a_flat_body
from still_frames import LEFT, RIGHT, write_frames

from thfm_ros.evaluation.handheld_jitter import FRAMES, handheld_clips, jitter_scores
from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches, Match
from thfm_ros.evaluation.synthetic_frames import LabelledFrame, frame_clips
from thfm_ros.metrics.score import Score
from thfm_ros.skeleton import Joint


@pytest.fixture
def clips(tmp_path: Path) -> list[list[LabelledFrame]]:
    write_frames(tmp_path / "frames", [LEFT, RIGHT])
    return list(handheld_clips(frame_clips(tmp_path / "frames")))


def test_all_labels_move_with_the_image(clips: list[list[LabelledFrame]]) -> None:
    (clip,) = clips
    assert len(clip) == FRAMES and clip[0].rgb.shape == (480, 640, 3)
    for frame in clip:
        for number in (1, 2):
            rows, columns = np.nonzero(frame.instances == number)
            x, y = frame.keypoints2d[number - 1].T
            assert x.min() > columns.min() - 2 and x.max() < columns.max() + 3
            assert y.min() > rows.min() - 2 and y.max() < rows.max() + 3
        rays = frame.keypoints3d[0] / frame.keypoints3d[0, :, 2:]
        focal, centre = frame.intrinsics[:2], frame.intrinsics[2:]
        projected = rays[:, :2] * focal + centre
        np.testing.assert_allclose(projected, frame.keypoints2d[0], atol=0.05)


def test_the_camera_shakes_by_a_few_pixels(clips: list[list[LabelledFrame]]) -> None:
    keypoints = np.stack([frame.keypoints2d[0] for frame in clips[0]])
    steps = np.linalg.norm(np.diff(keypoints, axis=0), axis=-1)
    assert 0.02 < steps.mean() < 4
    assert np.ptp(steps, axis=1).max() < 1e-3  # all of the image moves by the same


def test_clips_without_people_are_left_out(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [])
    assert not list(handheld_clips(frame_clips(tmp_path / "frames")))


def tracked(offsets: np.ndarray, track_ids: tuple[int, ...] = (1,) * 7) -> list[ImageMatches]:
    """Seven frames of a person 100 pixels tall whose keypoints have these errors, pixels."""
    keypoints, box = np.random.default_rng(0).uniform(0, 100, (len(Joint), 2)), [0.0, 0, 100, 100]
    labelled = np.ones(len(Joint), bool)
    pairs = (Match(0, 0),)
    frames = []
    for track_id, offset in zip(track_ids, offsets, strict=True):
        body = a_flat_body("a", box, keypoints + offset)
        person = GroundTruthPerson(track_id, np.array(box), 5e3, keypoints, labelled, ignore=False)
        frames.append(ImageMatches(0, 300, 200, (person,), (body,), pairs, (), Score(np.nan)))
    return frames


def test_drift_is_jitter_and_a_constant_error_is_not() -> None:
    constant = jitter_scores([tracked(np.full(7, 9.0))])
    assert constant.jitter.value == pytest.approx(0, abs=1e-6)
    drift = np.arange(7.0)  # 1 pixel a frame along both axes: from two frames 0.01, in truth 0.03
    expected = np.sqrt(2) * np.std(drift, ddof=1) / 100
    assert jitter_scores([tracked(drift)]).jitter.value == pytest.approx(expected, rel=1e-3)


def test_frozen_keypoints_have_the_jitter_of_the_true_motion() -> None:
    scores = jitter_scores([tracked(np.zeros(7))])
    assert scores.people == 1
    assert scores.frozen_jitter == pytest.approx(0, abs=1e-9)  # nothing moves here


def test_people_who_are_not_detected_throughout_are_not_measured() -> None:
    scores = jitter_scores([tracked(np.zeros(7), (1, 1, 1, 2, 1, 1, 1))])
    assert scores.people == 0 and np.isnan(scores.jitter.value)
