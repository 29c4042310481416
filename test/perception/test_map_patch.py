# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Maps of another size than the image, against those of the image's size."""

import cv2
import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import Person, box_of
from hypothesis import given
from hypothesis import strategies as st
from perfect_detection import SIZE, K, perfect_detection

from thfm_ros.contract import PixelMap, Task
from thfm_ros.geometry import resize_intrinsics
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.dense_maps import Canvas, scaled_size
from thfm_ros.perception.map_patch import patch_of, sampled_patch_of

ONE_32ND = 1 / 32  # of a cell, to which OpenCV rounds positions

regions = st.builds(
    lambda units, x, y: PixelMap(units / 128, float(x), float(y), 128, 128),
    st.integers(40, 700),
    st.integers(-300, 600),
    st.integers(-300, 400),
)


def painted(*detections: Detection, scale: float) -> dict[str, np.ndarray]:
    canvas = Canvas(
        *SIZE, frozenset(Task), metric=True, threshold=0.5, arrays=ArrayPool(), scale=scale
    )
    return canvas.paint(list(enumerate(detections)))


def chosen_cells(seed: int) -> np.ndarray:
    cells = np.zeros((64, 64), bool)
    rng = np.random.default_rng(seed)
    y, x = rng.integers(0, 60, 2)
    cells[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] = True
    return cells


@given(regions, st.integers(0, 1000))
def test_sampling_at_the_image_size_equals_the_exact_resize(region: PixelMap, seed: int) -> None:
    cells = chosen_cells(seed)
    exact, sampled = patch_of(region, cells, SIZE), sampled_patch_of(region, cells, SIZE, SIZE)
    if exact is None or sampled is None:
        return
    # A ramp over the cells shows the position of each pixel.
    ramp = np.add.outer(np.arange(64.0), 100 * np.arange(64.0)).astype(np.float32)
    maps = np.full((2, *SIZE[::-1]), np.nan, np.float32)
    maps[0, exact.rows, exact.columns] = exact.resample(ramp)
    maps[1, sampled.rows, sampled.columns] = sampled.resample(ramp)
    # The patches end at different pixels; beyond the centre of its last cell each repeats it.
    inner = np.isfinite(maps).all(axis=0)
    margin = 2 * int(np.ceil(2 * region.scale)) + 1
    inner = cv2.erode(inner.astype(np.uint8), np.ones((2 * margin + 1,) * 2), borderValue=1) > 0
    difference = np.abs(maps[0] - maps[1])[inner]
    assert difference.size == 0 or difference.max() <= 101 * ONE_32ND


@given(st.floats(0.05, 1), st.floats(-0.3, 0.3), st.floats(2.5, 6))
def test_maps_of_any_size_show_the_person_where_the_scaled_camera_sees_them(
    scale: float, x: float, z: float
) -> None:
    person = Person(x * z, 0, z)
    maps = painted(perfect_detection(person), scale=scale)
    size = scaled_size(*SIZE, scale)
    assert {each.shape[1::-1] for each in maps.values()} == {size}
    k = resize_intrinsics(K, *size)
    rows, columns = np.nonzero(maps["instances"] == 0)
    depth = maps["depth_m"][rows, columns]
    np.testing.assert_allclose(depth, z, atol=0.03)
    # The camera of the maps sees the person's box at these pixels.
    x0, y0, x1, y1 = np.clip(box_of(person, K), 0, [*SIZE, *SIZE]) / np.tile(SIZE, 2)
    expected = [x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]]
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    cell = 1.5 * k.fy * person.height_m / z / 64
    np.testing.assert_allclose(found, expected, atol=1 + cell)


@pytest.mark.parametrize("scale", [0.5, 0.37])
def test_scaled_maps_agree_with_those_of_the_image_size(scale: float) -> None:
    people = perfect_detection(Person(-0.4, 0.05, 3.5)), perfect_detection(Person(0.5, 0, 5))
    full, scaled = painted(*people, scale=1.0), painted(*people, scale=scale)
    width, height = scaled_size(*SIZE, scale)
    rows = ((np.arange(height) + 0.5) / height * SIZE[1]).astype(int)
    columns = ((np.arange(width) + 0.5) / width * SIZE[0]).astype(int)
    nearest = {name: each[np.ix_(rows, columns)] for name, each in full.items()}
    same = scaled["instances"] == nearest["instances"]
    assert same.mean() > 0.99
    for name in ("parts", "instances"):
        assert (scaled[name] == nearest[name]).mean() > 0.99
    known = same & (scaled["instances"] < 2)
    for name, bound in (("depth_m", 0.02), ("normals", 0.02)):
        assert np.abs(scaled[name] - nearest[name])[known].max() < bound
    assert np.abs(scaled["mask"] - nearest["mask"]).mean() < 0.01


def test_a_patch_between_two_pixels_of_small_maps_is_none() -> None:
    cells = np.zeros((64, 64), bool)
    cells[30, 30] = True
    tiny = PixelMap(0.125, 100.0, 100.0, 128, 128)
    assert sampled_patch_of(tiny, cells, SIZE, (6, 5)) is None
    assert sampled_patch_of(tiny, np.zeros((64, 64), bool), SIZE, SIZE) is None
