# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whole-frame samples, composed and rendered."""

from pathlib import Path

import numpy as np
import pytest

from thfm_ros.training import frame_samples
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.frame_samples import empty_sample, frame_sample, rendered_sample
from thfm_ros.training.shard_store import Store


def test_a_composed_frame_labels_only_what_is_known(data: Path, store: Store) -> None:
    backgrounds = Backgrounds(data / "backgrounds.npy")
    rng = np.random.default_rng(5)
    samples = [frame_sample(store, backgrounds, rng, (96, 64)) for _ in range(40)]
    people = [len(np.unique(s.instances)) - 1 for s in samples]
    assert max(people) >= 2 and min(people) == 0
    for sample in samples:
        assert sample.image.shape == (1, 64, 96, 3)
        assert not sample.depth_known.any() and not sample.cue.any()
        assert np.isnan(sample.presence).all() and np.isnan(sample.log_width).all()
        assert ((sample.parts[0] > 0) == (sample.instances[0] > 0)).all()


def test_a_rendered_frame_keeps_parts_and_outline_together(store: Store) -> None:
    for seed in range(12):
        sample = rendered_sample(store, np.random.default_rng(seed), (96, 64))
        person = sample.instances[0] > 0
        assert person.any()
        assert ((sample.parts[0] > 0) == person).all()
        assert sample.normals[0][person][:, 2].mean() == pytest.approx(-0.8, abs=0.02)
        # The right arm (5) is painted on the left; a mirror moves and renames it.
        columns = [np.flatnonzero((sample.parts[0] == part).any(0)).mean() for part in (5, 4)]
        assert columns[0] < columns[1]


def test_busy_surfaces_are_behind_people(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """painted_store paints people with 200 of red; the surface is white here."""
    monkeypatch.setattr(
        frame_samples, "apply_photometric", lambda image, *_: image.astype(np.uint8)
    )
    monkeypatch.setattr(frame_samples, "draw_busy_surfaces", lambda _, image: image.fill(255))
    monkeypatch.setattr(frame_samples, "BUSY_SHARE", 1.0)
    for seed in range(10):
        sample = rendered_sample(store, np.random.default_rng(seed), (64, 48))
        person = sample.instances[0] > 0
        white = (sample.image[0] == 255).all(-1).reshape(24, 2, 32, 2).sum((1, 3))
        assert (white[person] <= 2).all() and (white[~person] > 2).all()


def test_an_empty_sample_has_no_target() -> None:
    sample = empty_sample(np.zeros((48, 64, 3), np.uint8))
    assert sample.presence.tolist() == [0.0] and not sample.instances.any()
