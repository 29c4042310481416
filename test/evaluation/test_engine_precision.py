# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The tables of engine.precision, from engines whose outputs are known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from a_detection import K
from fake_engine import Person, perfect_outputs
from fake_engine import box_of as box_in_image

from thfm_ros.config import RegionConfig
from thfm_ros.evaluation.engine_precision import (
    images_of,
    predictions,
    second_step,
    time_table,
)
from thfm_ros.perception.crop_region import region_around


def test_crops_of_a_batch_become_images_of_an_engine() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 6, 3), dtype=np.uint8)
    batch: Any = SimpleNamespace(image=torch.from_numpy(rgb).permute(0, 1, 4, 2, 3).float())
    np.testing.assert_array_equal(images_of([batch, batch]), np.concatenate([rgb[:, 0]] * 2))


def test_keypoints_are_shares_of_the_crop_and_maps_are_those_of_the_outputs() -> None:
    person = Person(0, 0, 3.0)
    box = box_in_image(person, K)
    region = region_around(box.astype(np.float32), (128, 128), RegionConfig())
    raw = perfect_outputs(region, K, [person], True)
    found = predictions([raw, raw])
    assert raw.dense is not None
    k, rows, columns = raw.body.heatmaps.shape
    assert found.keypoints.shape == (2, k, 2)
    peak = raw.body.heatmaps.reshape(k, -1).argmax(axis=1)
    cells = np.stack([peak % columns, peak // columns], axis=1)
    shares = (cells + 0.5) / [columns, rows]
    np.testing.assert_allclose(found.keypoints[1], shares, atol=1.0 / columns)
    np.testing.assert_array_equal(found.mask[0], raw.dense.mask > 0)
    assert found.normals.shape == (*found.mask.shape, 3)
    assert found.parts.max() < 17


def test_accuracy_is_that_of_the_second_step_because_the_first_one_is_never_in_int8() -> None:
    steps: list[object] = []

    def step(image: Any, state: object, *, dense: bool) -> tuple[Any, str]:
        steps.append(state)
        return len(steps), "a state"

    engine: Any = SimpleNamespace(step=step)
    outputs: Any = second_step(engine, np.zeros((8, 8, 3), np.uint8))
    assert outputs == 2
    assert steps == [None, "a state"]


def test_the_time_table_has_a_row_for_each_graph() -> None:
    engine: Any = SimpleNamespace(
        card=SimpleNamespace(frame_size=(32, 24)),
        step=lambda image, state, *, dense: (np.linalg.inv(np.eye(20)), None),
        detect=lambda image: np.linalg.inv(np.eye(20)),
    )
    lines = time_table([engine, engine], np.zeros((8, 8, 3), np.uint8)).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "step, all estimates", "step, only bodies", "detection pass",
    ]  # fmt: skip
