# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Raw images in every accepted encoding, and refusal of all others."""

import array
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from thfm_ros.camera import ACCEPTED, BadInputError, rgb_from_image, stamp_ns

pytestmark = pytest.mark.ros


def image(encoding: str, rows: np.ndarray, width: int, height: int, padding: int = 0) -> Image:
    """An Image of byte rows, each followed by ``padding`` arbitrary bytes."""
    padded = np.pad(rows, [(0, 0), (0, padding)], constant_values=0xAB)
    msg = Image(width=width, height=height, encoding=encoding, step=padded.shape[1])
    msg.data = array.array("B", padded.tobytes())
    return msg


def random_image(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def packed_rows(encoding: str, rgb: np.ndarray) -> np.ndarray:
    """Byte rows of an image, by the letters of the encoding's name."""
    order = {"r": rgb[..., 0], "g": rgb[..., 1], "b": rgb[..., 2], "a": np.full(rgb.shape[:2], 7)}
    planes = [order[channel] for channel in encoding.rstrip("8")]
    return np.stack(planes, axis=-1).astype(np.uint8).reshape(len(rgb), -1)


def bytes_of(msg: Image) -> np.ndarray:
    return np.frombuffer(msg.data, np.uint8)


@given(
    encoding=st.sampled_from(["rgb8", "bgr8", "rgba8", "bgra8"]),
    width=st.integers(1, 40),
    height=st.integers(1, 30),
    padding=st.integers(0, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_packed_colours_are_views_of_the_message(
    encoding: str, width: int, height: int, padding: int, seed: int
) -> None:
    rgb = random_image(width, height, seed)
    msg = image(encoding, packed_rows(encoding, rgb), width, height, padding)
    result = rgb_from_image(msg)
    np.testing.assert_array_equal(result, rgb)
    assert np.shares_memory(result, bytes_of(msg))
    assert not result.flags.writeable


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated_three_times_without_a_copy(encoding: str) -> None:
    grey = random_image(7, 5)[..., 0]
    msg = image(encoding, grey, 7, 5, padding=3)
    result = rgb_from_image(msg)
    assert result.shape == (5, 7, 3)
    np.testing.assert_array_equal(result, np.stack([grey] * 3, axis=-1))
    assert np.shares_memory(result, bytes_of(msg))


def test_the_last_row_needs_no_padding() -> None:
    rgb = random_image(3, 2)
    msg = image("rgb8", packed_rows("rgb8", rgb), 3, 2, padding=4)
    msg.data = array.array("B", bytes(msg.data)[:-4])
    np.testing.assert_array_equal(rgb_from_image(msg), rgb)


# RGB colours and their YUV values in BT.601 with video range, calculated by hand.
YUV = {(255, 0, 0): (81, 90, 240), (0, 0, 255): (41, 240, 110), (128, 128, 128): (126, 128, 128)}


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
@pytest.mark.parametrize("colour", YUV)
def test_yuv422_in_both_orders(encoding: str, colour: tuple[int, int, int], padding: int) -> None:
    y, u, v = YUV[colour]
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    rows = np.tile(np.array(pair, np.uint8), (4, 3))
    result = rgb_from_image(image(encoding, rows, 6, 4, padding))
    assert result.shape == (4, 6, 3)
    assert np.abs(result.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("colour", YUV)
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_yuv420_in_both_orders(encoding: str, colour: tuple[int, int, int], padding: int) -> None:
    y, u, v = YUV[colour]
    chroma = [u, v] if encoding == "nv12" else [v, u]
    rows = np.concatenate([np.full((4, 6), y), np.tile(chroma, (2, 3))]).astype(np.uint8)
    result = rgb_from_image(image(encoding, rows, 6, 4, padding))
    assert result.shape == (4, 6, 3)
    assert np.abs(result.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planes_whose_height_is_padded_are_refused(encoding: str) -> None:
    """1080 rows in a buffer of 1088: the chroma would be read from the padding."""
    rows = np.zeros((12 + 4, 6), np.uint8)
    with pytest.raises(BadInputError, match="pads the height") as caught:
        rgb_from_image(image(encoding, rows, 6, 8))
    assert caught.value.cause == "data"


@pytest.mark.parametrize("encoding", ["rgb8", "yuv422", "bayer_rggb8"])
def test_the_byte_order_of_8_bit_samples_does_not_matter(encoding: str) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (4, 18), np.uint8)
    msg = image(encoding, rows, 6, 4)
    expected = rgb_from_image(msg)
    msg.is_bigendian = 1
    np.testing.assert_array_equal(rgb_from_image(msg), expected)


# Every encoding of sensor_msgs/image_encodings.hpp that has no 8-bit colours.
REFUSED = (
    *("rgb16", "rgba16", "bgr16", "bgra16", "mono16", "8UC2", "8UC3", "8UC4", "nv24"),
    *(f"bayer_{pattern}16" for pattern in ("rggb", "bggr", "gbrg", "grbg")),
    *(f"{kind}C{n}" for kind in ("8S", "16U", "16S", "32S", "32F", "64F") for n in (1, 2, 3, 4)),
)


@pytest.mark.parametrize("encoding", REFUSED)
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(BadInputError, match=f"'{encoding}'.*Accepted: rgb8, bgr8") as caught:
        rgb_from_image(image(encoding, np.zeros((8, 400), np.uint8), 8, 8))
    assert caught.value.cause == "encoding"


def test_the_page_of_topics_lists_the_accepted_encodings(root: Path) -> None:
    page = (root / "docs" / "topics.md").read_text(encoding="utf-8")
    listed = re.search(r"^\* Image: ([\w\s]+)[.;]", page, re.MULTILINE)
    assert listed is not None and set(listed[1].split()) == set(ACCEPTED)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_by_the_first_four_pixels(pattern: str) -> None:
    """ROS and OpenCV name Bayer patterns differently; the wrong constant would swap colours."""
    colour = {"r": 200, "g": 100, "b": 50}
    mosaic = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    result = rgb_from_image(image(f"bayer_{pattern}8", np.tile(mosaic, (4, 5)), 10, 8, padding=2))
    assert result.shape == (8, 10, 3)
    np.testing.assert_array_equal(result[2:-2, 2:-2], np.broadcast_to([200, 100, 50], (4, 6, 3)))


@pytest.mark.parametrize("encoding", ACCEPTED)
def test_every_accepted_encoding_gives_an_array_of_the_image_size(encoding: str) -> None:
    rows = np.zeros((12, 64), np.uint8)  # enough bytes for every encoding
    assert rgb_from_image(image(encoding, rows, 16, 8)).shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("change", "cause", "text"),
    [
        ({"encoding": "16UC1"}, "encoding", "16UC1"),
        ({"encoding": ""}, "encoding", "rgb8, bgr8"),
        ({"encoding": "8UC3"}, "encoding", "publish rgb8 or bgr8"),
        ({"width": 0}, "size", "0x4"),
        ({"height": 0}, "size", "6x0"),
        ({"step": 17}, "step", "step=17"),
        ({"height": 5}, "data", "needs 90"),
        ({"data": array.array("B")}, "data", "0 bytes"),
        ({"encoding": "nv12", "height": 3}, "size", "even"),
        ({"encoding": "yuv422", "width": 5}, "size", "even"),
        ({"encoding": "bayer_rggb8", "width": 2}, "size", "too small"),
    ],
)
def test_an_unusable_image_is_rejected_with_the_reason(
    change: dict[str, Any], cause: str, text: str
) -> None:
    msg = image("rgb8", packed_rows("rgb8", random_image(6, 4)), 6, 4)
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(BadInputError) as caught:
        rgb_from_image(msg)
    assert caught.value.cause == cause
    assert text in str(caught.value)


def test_stamps_are_converted_to_nanoseconds() -> None:
    msg = image("mono8", np.zeros((2, 2), np.uint8), 2, 2)
    msg.header.stamp.sec, msg.header.stamp.nanosec = 1_700_000_000, 123_456_789
    assert stamp_ns(msg) == 1_700_000_000_123_456_789
