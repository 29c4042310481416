"""Clips that fit the full-size network, and each frame published once."""

import math

import numpy as np
import property_tests  # noqa: F401  settings of hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.genception.clip_input import (
    OUTSIDE,
    ClipWindow,
    as_released,
    batches,
    check_size,
    check_window,
    letterbox,
    to_network,
    to_source,
)
from thfm_ros.genception.config import GenceptionError
from thfm_ros.geometry import to_network as points_to_network

SIDES = st.integers(1, 1200)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda s: (16 * s[0], 16 * s[1]))
WINDOWS = st.integers(1, 4).map(lambda k: 1 + 4 * k)


@given(width=SIDES, height=SIDES, size=SIZES)
def test_a_letterbox_shows_the_whole_image_in_the_middle(
    width: int, height: int, size: tuple[int, int]
) -> None:
    box = letterbox(width, height, size)
    exact = (box.scale * size[0], box.scale * size[1])
    covered = (round(exact[0]), round(exact[1]))
    assert exact == pytest.approx(covered, abs=1e-6)  # whole source pixels
    left, top = -box.offset_x, -box.offset_y
    right, below = covered[0] - left - width, covered[1] - top - height
    assert min(left, top, right, below) >= 0
    assert abs(left - right) <= 1
    assert abs(top - below) <= 1
    # One side fills the image, but for what rounding to whole source pixels costs.
    step = math.gcd(*size)
    assert left + right < size[0] / step or top + below < size[1] / step


@settings(deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 2**16))
def test_a_point_of_the_source_is_where_the_letterbox_says(w: int, h: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(4, w - 4)), int(rng.integers(4, h - 4))
    frame = np.zeros((h, w, 3), np.uint8)
    frame[y - 2 : y + 3, x - 2 : x + 3] = 255
    box = letterbox(w, h, (96, 64))
    clip = to_network([frame], box)[0, :, 0]
    inside = ((clip[0] + 1) / 2 - (OUTSIDE / 255) * _bars(w, h)).clamp(min=0)
    rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    middle = [(inside * axis).sum() / inside.sum() for axis in (columns, rows)]
    wanted = points_to_network(np.array([x + 0.5, y + 0.5]), box)
    np.testing.assert_allclose(middle, wanted, atol=0.3 + 0.2 / box.scale)


def _bars(w: int, h: int) -> torch.Tensor:
    """What a black image leaves grey: only what is no bar counts as the spot."""
    black = to_network([np.zeros((h, w, 3), np.uint8)], letterbox(w, h, (96, 64)))
    return (black[0, 0, 0] + 1) / 2 * 255 / OUTSIDE


def test_bars_are_grey_and_the_image_keeps_its_colours() -> None:
    frame = np.full((48, 48, 3), (255, 0, 51), np.uint8)
    clip = to_network([frame, frame], letterbox(48, 48, (96, 48)))
    assert clip.shape == (1, 3, 2, 48, 96)
    grey = OUTSIDE / 127.5 - 1
    torch.testing.assert_close(clip[0, :, 1, 20, 5], torch.full((3,), grey))
    torch.testing.assert_close(clip[0, :, 1, 20, 48], torch.tensor([1.0, -1.0, -0.6]))


def test_resizing_is_antialiased_as_in_the_official_code() -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, ::2] = 255  # a comb that plain bilinear sampling would turn into stripes
    clip = to_network([frame], letterbox(64, 32, (32, 16)))
    assert clip[0, :, 0, 4:-4, 4:-4].std() < 1e-3


def test_maps_come_back_to_the_source_with_nothing_mixed() -> None:
    w, h, size = 50, 40, (64, 32)
    box = letterbox(w, h, size)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    back = to_source(torch.stack((columns, rows))[None], box, w, h)[0]
    assert back.shape == (2, h, w)
    centres = points_to_network(np.array([[10.5, 20.5], [49.5, 39.5]]), box)
    for (x, y), (column, row) in zip([(10, 20), (49, 39)], centres, strict=True):
        assert back[:, y, x].tolist() == [math.floor(column), math.floor(row)]


def test_frames_of_two_sizes_are_no_clip() -> None:
    frames = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 48, 3), np.uint8)]
    with pytest.raises(GenceptionError, match=r"uint8 \[32, 48, 3\]"):
        to_network(frames, letterbox(32, 32, (32, 32)))


@pytest.mark.parametrize(("count", "length"), [(3, 9), (9, 9), (30, 9)])
def test_as_released_pads_with_the_last_frame_and_thins_out_evenly(count: int, length: int) -> None:
    video = (
        np.zeros((count, 20, 30, 3), np.uint8)
        + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    clip = as_released(video, length, (32, 16))
    assert clip.shape == (1, 3, length, 16, 32)
    seen = ((clip[0, 0, :, 8, 16] + 1) / 2 * 255).round().int().tolist()
    assert seen[0] == 0
    assert seen[-1] == count - 1
    if count <= length:
        assert seen == list(range(count)) + [count - 1] * (length - count)
    else:
        assert max(np.diff(seen)) - min(np.diff(seen)) <= 1


@pytest.mark.parametrize("length", [0, 1, 4, 6, 80])
def test_a_window_that_the_vae_cannot_hold_is_refused_with_one_that_it_can(length: int) -> None:
    with pytest.raises(GenceptionError, match=r"take \d+ or \d+") as refusal:
        check_window(length)
    for word in str(refusal.value).split("take ")[1].split(".")[0].split(" or "):
        check_window(int(word))


@given(width=st.integers(0, 2000), height=st.integers(0, 2000))
def test_a_size_that_cannot_be_tiled_is_refused_with_one_that_can(width: int, height: int) -> None:
    try:
        check_size(width, height)
        assert width % 16 == height % 16 == 0
    except GenceptionError as refusal:
        wide, tall = str(refusal).split("Take ")[1].split(";")[0].split("x")
        check_size(int(wide), int(tall))


@given(count=st.integers(0, 70), length=WINDOWS, data=st.data())
def test_every_frame_is_published_once_and_in_order(
    count: int, length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    found = batches(range(count), length, stride)
    assert [batch.items[i] for batch in found for i in batch.new] == list(range(count))
    for batch in found:
        assert len(batch.items) == length
        assert batch.skipped == 0
        own = [*dict.fromkeys(batch.items)]
        assert own == list(range(own[0], own[0] + len(own)))  # neighbours, with nothing missing
        assert batch.items[len(own) :] == (own[-1],) * (length - len(own))
    assert all(len(batch.new) == stride for batch in found[1:-1])


@given(length=WINDOWS, data=st.data())
def test_who_takes_late_gets_the_newest_and_a_count_of_the_lost(
    length: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, length))
    bursts = data.draw(st.lists(st.integers(0, 3 * length), max_size=6))
    window, published, lost, number = ClipWindow[int](length, stride), [], 0, 0
    for burst in bursts:
        for _ in range(burst):
            window.push(number)
            number += 1
        if batch := window.take():
            assert batch.items[-1] == number - 1
            published += [batch.items[i] for i in batch.new]
            lost += batch.skipped
            assert len(published) + lost == number
    assert published == sorted(set(published))


def test_an_empty_stream_has_no_rest() -> None:
    assert ClipWindow[int](5, 2).take(rest=True) is None


@pytest.mark.parametrize("stride", [0, 6])
def test_a_stride_beyond_the_window_is_refused(stride: int) -> None:
    with pytest.raises(GenceptionError, match="stride"):
        ClipWindow[int](5, stride)
