"""Somebody who does not move, before a camera that trembles."""

from pathlib import Path

import numpy as np
import pytest
from still_frames import LEFT, RIGHT, write_frames

from thfm_ros.evaluation import held
from thfm_ros.evaluation.frames import Rendered, frame_clips


@pytest.fixture
def clips(tmp_path: Path) -> list[list[Rendered]]:
    write_frames(tmp_path / "frames", [LEFT, RIGHT])
    return list(held.held_clips(frame_clips(tmp_path / "frames")))


def test_every_label_trembles_as_the_picture_does(clips: list[list[Rendered]]) -> None:
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
    assert np.ptp(steps, axis=1).max() < 1e-3  # the whole picture moves alike


def test_places_without_people_are_left_out(tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [])
    assert not list(held.held_clips(frame_clips(tmp_path / "frames")))
