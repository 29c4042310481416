# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Input clips of the full-size network: letterbox, window sizes, each frame published once."""

import math

import numpy as np
import property_tests  # noqa: F401  settings of hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.contract import PADDING_GREY
from thfm_ros.genception.clip_input import (
    ClipWindow,
    as_released,
    check_size,
    check_window,
    frames_to_network,
    letterbox,
    maps_to_source,
    pass_inputs,
)
from thfm_ros.genception.config import GenceptionError
from thfm_ros.geometry import to_network as points_to_network

SIDES = st.integers(1, 1200)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda s: (16 * s[0], 16 * s[1]))
WINDOWS = st.integers(1, 4).map(lambda k: 1 + 4 * k)


@given(width=SIDES, height=SIDES, size=SIZES)
def test_letterbox_shows_the_whole_image_centred(
    width: int, height: int, size: tuple[int, int]
) -> None:
    box = letterbox(width, height, size)
    exact = (box.scale * size[0], box.scale * size[1])
    extent = (round(exact[0]), round(exact[1]))
    assert exact == pytest.approx(extent, abs=1e-6)  # whole source pixels
    left, top = -box.offset_x, -box.offset_y
    right, below = extent[0] - left - width, extent[1] - top - height
    assert min(left, top, right, below) >= 0
    assert abs(left - right) <= 1
    assert abs(top - below) <= 1
    # One side fills the network image, up to rounding to whole source pixels.
    divisor = math.gcd(*size)
    assert left + right < size[0] / divisor or top + below < size[1] / divisor


@settings(deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 2**16))
def test_source_points_map_through_the_letterbox(w: int, h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(4, w - 4)), int(rng.integers(4, h - 4))
    frame = np.zeros((h, w, 3), np.uint8)
    frame[y - 2 : y + 3, x - 2 : x + 3] = 255
    box = letterbox(w, h, (96, 64))
    clip = frames_to_network([frame], box)[0, :, 0]
    spot = ((clip[0] + 1) / 2 - (PADDING_GREY / 255) * _bar_weights(w, h)).clamp(min=0)
    rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    centre = [(spot * axis).sum() / spot.sum() for axis in (columns, rows)]
    expected = points_to_network(np.array([x + 0.5, y + 0.5]), box)
    np.testing.assert_allclose(centre, expected, atol=0.3 + 0.2 / box.scale)


def _bar_weights(w: int, h: int) -> torch.Tensor:
    """1 in the grey bars, 0 inside the image: how a black image is letterboxed."""
    black = frames_to_network([np.zeros((h, w, 3), np.uint8)], letterbox(w, h, (96, 64)))
    return (black[0, 0, 0] + 1) / 2 * 255 / PADDING_GREY


def test_letterbox_bars_are_grey_and_image_colours_unchanged() -> None:
    frame = np.full((48, 48, 3), (255, 0, 51), np.uint8)
    clip = frames_to_network([frame, frame], letterbox(48, 48, (96, 48)))
    assert clip.shape == (1, 3, 2, 48, 96)
    grey = PADDING_GREY / 127.5 - 1
    torch.testing.assert_close(clip[0, :, 1, 20, 5], torch.full((3,), grey))
    torch.testing.assert_close(clip[0, :, 1, 20, 48], torch.tensor([1.0, -1.0, -0.6]))


def test_resizing_is_antialiased_as_in_the_official_code() -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, ::2] = 255  # stripes that alias without antialiasing
    clip = frames_to_network([frame], letterbox(64, 32, (32, 16)))
    assert clip[0, :, 0, 4:-4, 4:-4].std() < 1e-3


def test_maps_return_to_the_source_without_blending() -> None:
    w, h, size = 50, 40, (64, 32)
    box = letterbox(w, h, size)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    back = maps_to_source(torch.stack((columns, rows))[None], box, w, h)[0]
    assert back.shape == (2, h, w)
    centres = points_to_network(np.array([[10.5, 20.5], [49.5, 39.5]]), box)
    for (x, y), (column, row) in zip([(10, 20), (49, 39)], centres, strict=True):
        assert back[:, y, x].tolist() == [math.floor(column), math.floor(row)]


def test_frames_of_different_sizes_are_rejected() -> None:
    frames = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)]
    with pytest.raises(GenceptionError, match=r"uint8 \[32, 48, 3\]"):
        frames_to_network(frames, letterbox(32, 32, (32, 32)))


@pytest.mark.parametrize(("count", "length"), [(3, 9), (9, 9), (30, 9)])
def test_as_released_pads_with_the_last_frame_and_subsamples_evenly(
    count: int, length: int
) -> None:
    video = (
        np.zeros((count, 20, 30, 3), np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    clip = as_released(video, length, (32, 16))
    assert clip.shape == (1, 3, length, 16, 32)
    indices = ((clip[0, 0, :, 8, 16] + 1) / 2 * 255).round().int().tolist()
    assert indices[0] == 0
    assert indices[-1] == count - 1
    if count <= length:
        assert indices == list(range(count)) + [count - 1] * (length - count)
    else:
        assert max(np.diff(indices)) - min(np.diff(indices)) <= 1


@pytest.mark.parametrize("length", [0, 1, 4, 6, 80])
def test_invalid_window_length_is_rejected_with_valid_suggestions(length: int) -> None:
    with pytest.raises(GenceptionError, match=r"use \d+ or \d+") as error:
        check_window(length)
    for suggestion in str(error.value).split("use ")[1].split(".")[0].split(" or "):
        check_window(int(suggestion))


@given(width=st.integers(0, 2000), height=st.integers(0, 2000))
def test_invalid_size_is_rejected_with_a_valid_suggestion(width: int, height: int) -> None:
    try:
        check_size(width, height)
        assert width % 16 == height % 16 == 0
    except GenceptionError as error:
        wide, tall = str(error).split("Use ")[1].split(";")[0].split("x")
        check_size(int(wide), int(tall))


@given(count=st.integers(0, 70), length=WINDOWS, data=st.data())
def test_every_frame_is_published_once_and_in_order(
    count: int, length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    inputs = pass_inputs(range(count), length, stride)
    assert [each.items[i] for each in inputs for i in each.new] == list(range(count))
    for each in inputs:
        assert len(each.items) == length
        assert each.skipped == 0
        unique = [*dict.fromkeys(each.items)]
        assert unique == list(range(unique[0], unique[0] + len(unique)))  # consecutive
        assert each.items[len(unique) :] == (unique[-1],) * (length - len(unique))
    assert all(len(each.new) == stride for each in inputs[1:-1])


@given(length=WINDOWS, data=st.data())
def test_late_take_skips_the_oldest_frames_and_counts_them(
    length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    bursts = data.draw(st.lists(st.integers(0, 3 * length), max_size=6))
    window, published, skipped, number = ClipWindow[int](length, stride), [], 0, 0
    for burst in bursts:
        for _ in range(burst):
            window.push(number)
            number += 1
        if taken := window.take():
            assert taken.items[-1] == number - 1
            published += [taken.items[i] for i in taken.new]
            skipped += taken.skipped
            assert len(published) + skipped == number
    assert published == sorted(set(published))


def test_empty_stream_has_no_remaining_frames() -> None:
    assert ClipWindow[int](5, 2).take(flush=True) is None


@pytest.mark.parametrize("stride", [0, 6])
def test_stride_out_of_range_is_rejected(stride: int) -> None:
    with pytest.raises(GenceptionError, match="stride"):
        ClipWindow[int](5, stride)
