"""Conversion of images in every accepted encoding, and rejection of others."""

import array
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from thfm_ros.ros.from_msg import (
    ACCEPTED,
    BadInputError,
    rgb_from_compressed,
    rgb_from_image,
    stamp_ns,
)

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
def test_nv12(colour: tuple[int, int, int], padding: int) -> None:
    y, u, v = YUV[colour]
    rows = np.concatenate([np.full((4, 6), y), np.tile([u, v], (2, 3))]).astype(np.uint8)
    result = rgb_from_image(image("nv12", rows, 6, 4, padding))
    assert result.shape == (4, 6, 3)
    assert np.abs(result.astype(int) - colour).max() <= 4


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


@given(
    encoding=st.sampled_from([*ACCEPTED, "16UC1", "junk"]),
    width=st.integers(0, 9),
    height=st.integers(0, 9),
    step=st.integers(0, 40),
    size=st.integers(0, 400),
)
@settings(max_examples=300, deadline=None)
def test_any_image_gives_an_array_of_its_size_or_is_rejected(
    encoding: str, width: int, height: int, step: int, size: int
) -> None:
    msg = Image(width=width, height=height, encoding=encoding, step=step)
    msg.data = array.array("B", bytes(size))
    try:
        assert rgb_from_image(msg).shape == (height, width, 3)
    except BadInputError as error:
        assert error.cause in ("encoding", "size", "step", "data")


def test_stamps_are_converted_to_nanoseconds() -> None:
    msg = image("mono8", np.zeros((2, 2), np.uint8), 2, 2)
    msg.header.stamp.sec, msg.header.stamp.nanosec = 1_700_000_000, 123_456_789
    assert stamp_ns(msg) == 1_700_000_000_123_456_789


@pytest.mark.parametrize(("extension", "tolerance"), [(".png", 0), (".jpg", 12)])
def test_compressed_images_are_decoded(extension: str, tolerance: int) -> None:
    rgb = cv2.GaussianBlur(random_image(32, 24), (15, 15), 9)
    data = cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()
    msg = CompressedImage(format="bgr8; compressed", data=array.array("B", data))
    assert np.abs(rgb_from_compressed(msg).astype(int) - rgb).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "data", "cause"),
    [
        ("jpeg", b"", "data"),
        ("jpeg", b"\xff\xd8\xff\xe0 not an image", "data"),
        ("32FC1; compressedDepth png", b"1234", "encoding"),
    ],
)
def test_data_that_cannot_be_decoded_is_rejected(name: str, data: bytes, cause: str) -> None:
    with pytest.raises(BadInputError) as caught:
        rgb_from_compressed(CompressedImage(format=name, data=array.array("B", data)))
    assert caught.value.cause == cause
