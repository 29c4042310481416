# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
from itertools import pairwise

import cv2
import numpy as np
import property_tests  # noqa: F401
import pytest
from fake_engine import camera, region_of
from fake_engine import frame as coordinate_frame
from hypothesis import assume, given
from hypothesis import strategies as st

from thfm_ros.config import RegionConfig
from thfm_ros.contract import PADDING_GREY, Frame, PixelMap
from thfm_ros.perception.crop_region import (
    LARGE_TILES,
    SMALL_TILES,
    TALL_HYSTERESIS,
    crop_image,
    follow_box,
    frame_tiles,
    region_around,
    source_rectangle,
    whole_frame,
)

CROP, FRAME = (128, 128), (192, 144)
sizes = st.tuples(st.integers(8, 2500), st.integers(8, 2000))
boxes = st.tuples(
    st.floats(-200, 900), st.floats(-200, 700), st.floats(5, 600), st.floats(5, 600)
).map(lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]], np.float32))


def corners(region: PixelMap) -> tuple[float, float, float, float]:
    return (
        region.offset_x,
        region.offset_y,
        region.offset_x + region.scale * region.width,
        region.offset_y + region.scale * region.height,
    )


@given(sizes)
def test_the_whole_frame_contains_every_pixel_and_pads_at_most_one_axis(
    size: tuple[int, int],
) -> None:
    x0, y0, x1, y1 = corners(whole_frame(*size, FRAME))
    assert x0 <= 0.5 and y0 <= 0.5 and x1 >= size[0] - 0.5 and y1 >= size[1] - 0.5
    assert min((x1 - x0) - size[0], (y1 - y0) - size[1]) < 4  # one step of the 4:3 grid


@given(sizes, st.sampled_from([LARGE_TILES, SMALL_TILES]))
def test_tiles_cover_a_large_image_and_overlap(size: tuple[int, int], share: float) -> None:
    tiles = [corners(tile) for tile in frame_tiles(*size, FRAME, share)]
    if max(size[0] / 192, size[1] / 144) < 1.5:
        assert tiles == []
        return
    for axis in (0, 1):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        assert spans[0][0] <= 0.5 and spans[-1][1] >= size[axis] - 0.5
        for (_, end), (begin, later) in pairwise(spans):
            assert end - begin >= 0.3 * (later - begin) - 2  # whole pixels
    assert len(tiles) <= (6 if share == LARGE_TILES else 9)
    assert len({tile[2] - tile[0] for tile in tiles}) == 1
    whole = corners(whole_frame(*size, FRAME))
    assert tiles[0][2] - tiles[0][0] <= 0.75 * (whole[2] - whole[0])


@pytest.mark.parametrize("size", [(640, 480), (768, 576), (1280, 960)])
def test_an_image_of_the_same_aspect_ratio_is_not_padded(size: tuple[int, int]) -> None:
    assert corners(whole_frame(*size, FRAME)) == (0, 0, *size)


@given(boxes, st.floats(1, 3))
def test_a_crop_is_square_centred_on_the_box_and_has_the_configured_margin(
    box: np.ndarray, margin: float
) -> None:
    config = RegionConfig(margin=margin)
    x0, y0, x1, y1 = corners(region_around(box, CROP, config))
    longer = max(box[2] - box[0], box[3] - box[1])
    assert x1 - x0 == pytest.approx(y1 - y0)
    assert x1 - x0 == pytest.approx(max(margin * longer, config.min_person_px), rel=0.06, abs=1)
    assert (x0 + x1) / 2 == pytest.approx((box[0] + box[2]) / 2, abs=1)
    assert (y0 + y1) / 2 == pytest.approx((box[1] + box[3]) / 2, abs=1)


@given(boxes)
def test_regions_lie_on_whole_source_pixels(box: np.ndarray) -> None:
    region = region_around(box, CROP, RegionConfig())
    assert source_rectangle(region) == pytest.approx(corners(region), abs=1e-6)


@given(boxes, st.floats(-0.03, 0.03), st.floats(-0.03, 0.03), st.floats(0.88, 1.05))
def test_a_crop_does_not_move_while_the_box_is_well_inside(
    box: np.ndarray, dx: float, dy: float, growth: float
) -> None:
    config = RegionConfig(max_shift=0.08, max_resize=1.2, min_person_px=4)
    box = box * np.float32(4)  # large enough that rounding to pixels does not matter
    region = region_around(box, CROP, config)
    side = region.scale * 128
    centre, half = (
        (box[:2] + box[2:]) / 2 + np.array([dx, dy]) * side * 0.9,
        (box[2:] - box[:2]) / 2,
    )
    moved = np.array([*(centre - half * growth), *(centre + half * growth)], np.float32)
    assert follow_box(region, moved, config) is region


@given(boxes, st.sampled_from([(0, -1), (0, 1), (-1, 0), (1, 0)]))
def test_a_crop_moves_before_the_box_reaches_its_edge(
    box: np.ndarray, direction: tuple[int, int]
) -> None:
    config = RegionConfig(max_shift=0.08, max_resize=1.2, min_person_px=4)
    region = region_around(box * np.float32(4), CROP, config)
    side = region.scale * 128
    centre = np.array(source_rectangle(region)).reshape(2, 2).mean(0)
    grown = np.array([*(centre - 0.46 * side), *(centre + 0.46 * side)], np.float32)
    assert follow_box(region, grown, config) is region
    moved = grown + 0.05 * np.array([*direction, *direction], np.float32) * side
    found = follow_box(region, moved, config)
    assert found == region_around(moved, CROP, config) and found is not region
    x0, y0, x1, y1 = source_rectangle(found)
    assert x0 < moved[0] and y0 < moved[1] and moved[2] < x1 and moved[3] < y1


@given(boxes, st.sampled_from([(0.3, 0, 1), (0, -0.3, 1), (0, 0, 1.5), (0, 0, 0.6)]))
def test_a_crop_follows_a_box_that_leaves_its_centre_or_changes_size(
    box: np.ndarray, change: tuple[float, float, float]
) -> None:
    config = RegionConfig(min_person_px=4)
    box = box * np.float32(4)
    region = region_around(box, CROP, config)
    dx, dy, growth = change
    side = region.scale * 128
    centre, half = (box[:2] + box[2:]) / 2 + np.array([dx, dy]) * side, (box[2:] - box[:2]) / 2
    moved = np.array([*(centre - half * growth), *(centre + half * growth)], np.float32)
    assert follow_box(region, moved, config) == region_around(moved, CROP, config)


@given(boxes)
def test_a_crop_shows_the_region_of_its_pixel_map(box: np.ndarray) -> None:
    k = camera()
    region = region_around(box, CROP, RegionConfig(min_person_px=40))
    image = crop_image(coordinate_frame(k), region)
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8
    x0, y0, x1, y1 = source_rectangle(region)
    inside = max(0, min(x1, 640) - max(x0, 0)) * max(0, min(y1, 480) - max(y0, 0))
    if inside < 0.1 * (x1 - x0) * (y1 - y0):
        return  # too few pixels of the image for the straight-line fit
    found = region_of(image, k)
    # the colours are 8 bits of 640 and 480 pixels
    assert found.scale == pytest.approx(region.scale, rel=0.05, abs=0.05)
    assert found.offset_x == pytest.approx(region.offset_x, abs=3)
    assert found.offset_y == pytest.approx(region.offset_y, abs=3)


def test_a_downscaled_crop_is_the_area_mean_of_its_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    region = PixelMap(2.0, 16, 32, 32, 32)
    image = crop_image(Frame(rgb, 0, "c"), region)
    expected = rgb[32:96, 16:80].reshape(32, 2, 32, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(image, expected, atol=0.51)


def test_a_crop_is_padded_with_grey_outside_the_image() -> None:
    frame = Frame(np.zeros((100, 100, 3), np.uint8), 0, "c")
    crop = crop_image(frame, PixelMap(1.0, 0, -64, 128, 128))
    assert (crop[:64] == PADDING_GREY).all() and (crop[:, 100:] == PADDING_GREY).all()
    assert (crop[64:, :100] == 0).all()
    for x, y in ((-500, 0), (500, 0), (0, -500), (0, 500), (-128, 0), (0, 100)):
        padding = crop_image(frame, PixelMap(1.0, x, y, 128, 128))
        assert padding.shape == (128, 128, 3) and (padding == PADDING_GREY).all()


@pytest.mark.parametrize("offset", [(10, 20), (-30, -40), (60, 50)])
def test_crops_do_not_depend_on_the_strides_of_the_image(offset: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (90, 110, 3), dtype=np.uint8)
    region = PixelMap(0.6, *offset, 128, 128)
    expected = crop_image(Frame(rgb, 0, "c"), region)
    bgr = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    rgba = np.dstack([rgb, np.zeros((90, 110, 1), np.uint8)])[..., :3]
    padded_rows = np.zeros((90, 128, 3), np.uint8)
    padded_rows[:, :110] = rgb
    for view in (bgr, rgba, padded_rows[:, :110]):
        image = crop_image(Frame(view, 0, "c"), region)
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, expected)


def test_an_enlarged_crop_is_interpolated() -> None:
    ramp = np.repeat(np.arange(0, 120, 3, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    image = crop_image(Frame(ramp, 0, "c"), PixelMap(0.25, 4, 4, 128, 128))
    steps = np.diff(image[64, :, 0].astype(int))
    assert steps.min() >= 0 and steps.max() <= 1  # nearest-neighbour interpolation has steps of 3
    expected = cv2.resize(ramp[4:36, 4:36], CROP, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(image, expected)


SIZES = ((128, 128), (96, 160))


@given(boxes)
def test_the_shape_of_a_crop_follows_the_box_with_hysteresis(box: np.ndarray) -> None:
    config = RegionConfig()
    square, tall = (region_around(box, size, config) for size in SIZES)
    aspect = float((box[3] - box[1]) / (box[2] - box[0]))
    limits = config.tall_aspect, config.tall_aspect * TALL_HYSTERESIS
    assume(all(abs(aspect / limit - 1) > 1e-5 for limit in limits))  # not for rounding to decide
    found = follow_box(square, box, config, SIZES)
    assert (found.width, found.height) == SIZES[int(aspect >= config.tall_aspect)]
    found = follow_box(tall, box, config, SIZES)
    assert (found.width, found.height) == SIZES[int(aspect >= config.tall_aspect * TALL_HYSTERESIS)]
    if found == tall:
        assert follow_box(tall, box, config, SIZES) is tall


@given(boxes)
def test_a_tall_crop_contains_the_box_with_a_margin(box: np.ndarray) -> None:
    x0, y0, x1, y1 = corners(region_around(box, SIZES[1], RegionConfig()))
    assert x0 <= box[0] and y0 <= box[1] and box[2] <= x1 and box[3] <= y1
    assert (x1 - x0) * 5 == (y1 - y0) * 3


@pytest.mark.parametrize("config", [RegionConfig(tall_aspect=0.0), RegionConfig(tall_aspect=20.0)])
def test_crops_can_be_kept_square(config: RegionConfig) -> None:
    box = np.array([10, 10, 40, 110], np.float32)
    region = region_around(box, SIZES[0], config)
    assert follow_box(region, box, config, SIZES) is region
