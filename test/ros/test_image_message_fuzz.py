# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any image message is converted to its size or refused, in bounded time.

Half of the inputs are valid messages with a few changes. `THFM_FUZZ_EXAMPLES=20000 pytest
test/ros/test_image_message_fuzz.py` tries that many inputs per test, new ones in every run.
"""

import array
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from image_files import encode, png, png_chunk, random_rgb, with_exif_orientation
from mutated_bytes import CHANGES, MAX_CPU_S, changed
from property_tests import FUZZ_EXAMPLES, fuzz
from sensor_msgs.msg import CompressedImage, Image

from thfm_ros.camera import (
    ACCEPTED,
    BadInputError,
    rgb_from_compressed,
    rgb_from_image,
)

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600 + FUZZ_EXAMPLES // 10)]

CAUSES = ("encoding", "size", "step", "data")

RGB = random_rgb(40, 24)
FILES = (
    encode(".jpg", RGB),
    encode(".jpg", RGB[..., 0]),
    encode(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encode(".jpg", RGB, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    encode(".jpg", RGB, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    with_exif_orientation(encode(".jpg", RGB), 6),
    encode(".png", RGB),
    encode(".png", RGB[..., 0]),
    encode(".png", cv2.cvtColor(RGB, cv2.COLOR_RGB2RGBA)),
    encode(".png", RGB.astype(np.uint16)),
    png(4, 2, 8, 3, bytes(10), png_chunk(b"PLTE", bytes(9)), png_chunk(b"tRNS", b"\1")),
    encode(".webp", RGB),
    encode(".tiff", RGB),
)

# Words of formats, valid and not, in any order.
WORDS = st.sampled_from(
    (
        *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "8UC1", "8UC3", "bayer_rggb8", "bayer_grbg8"),
        *("yuv422", "mono16", "16UC1", "rgb16", "32FC1", "jpeg", "png", "tiff", "h264", ";", ";"),
        *("compressed", "compressed", "COMPRESSED", "compressedDepth", "", " ", "a", "\u00e9"),
    )
)
FORMATS = st.one_of(
    st.sampled_from(
        (
            *("jpeg", "png", "", "rgb8; jpeg compressed bgr8", "rgb8; png compressed rgb8"),
            *("bayer_rggb8; png compressed ", "mono8; jpeg compressed mono8"),
        )
    ),
    st.builds(" ".join, st.lists(WORDS, max_size=7)),
    st.text(max_size=20),
)
DATA = st.one_of(
    st.binary(max_size=200).map(lambda rest: b"\xff\xd8\xff" + rest),
    st.binary(max_size=200).map(lambda rest: FILES[6][:33] + rest),
    st.builds(lambda file, changes: changed(file, changes), st.sampled_from(FILES), CHANGES),
    st.builds(lambda file, changes: changed(file, changes), st.sampled_from(FILES), CHANGES),
)


def convert(function: Callable[..., np.ndarray], msg: object) -> np.ndarray | None:
    """The RGB array, or None if it is refused with a reason; both within the time."""
    start_s = time.process_time()
    try:
        rgb = function(msg)
    except BadInputError as error:
        assert error.cause in CAUSES and len(str(error)) > 20
        rgb = None
    assert time.process_time() - start_s < MAX_CPU_S
    assert rgb is None or (rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3)
    return rgb


def compressed(image_format: str, data: bytes) -> CompressedImage:
    msg = CompressedImage(data=array.array("B", data))
    msg.format = image_format
    return msg


@given(image_format=FORMATS, data=DATA)
@fuzz(examples=300)
def test_any_compressed_image_is_decoded_to_its_size_or_refused(
    image_format: str, data: bytes
) -> None:
    rgb = convert(rgb_from_compressed, compressed(image_format, data))
    if rgb is None:
        return
    if data.startswith(b"\xff\xd8"):
        assert rgb.shape[:2] == simplejpeg.decode_jpeg_header(data)[:2]
    else:
        assert rgb.shape[:2] == tuple(np.frombuffer(data[16:24], ">u4")[::-1])


@given(image_format=FORMATS, file=st.sampled_from([*FILES[:5], FILES[6]]))
@fuzz(examples=150)
def test_any_format_gives_the_colours_in_one_of_two_orders_or_is_refused(
    image_format: str, file: bytes
) -> None:
    rgb = convert(rgb_from_compressed, compressed(image_format, file))
    if rgb is None:
        return
    decoded = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    orders = (np.asarray(decoded), np.asarray(decoded)[..., ::-1])
    is_mosaic = "bayer" in image_format.lower() and file is FILES[1]
    assert is_mosaic or any(np.abs(rgb - order.astype(int)).max() <= 2 for order in orders)


@given(
    encoding=st.sampled_from([*ACCEPTED, "16UC1", "8UC3", "nv24", "RGB8", "junk"]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda s: (2 * s[0], 2 * s[1])),
    padding=st.integers(0, 5),
    changes=st.dictionaries(
        st.sampled_from(["width", "height", "step", "data", "is_bigendian"]),
        st.one_of(st.integers(0, 60), st.integers(0, 2**32 - 1)),
        max_size=2,
    ),
)
@fuzz(examples=300)
def test_any_raw_image_is_converted_to_its_size_or_refused(
    encoding: str, size: tuple[int, int], padding: int, changes: dict[str, int]
) -> None:
    width, height = size
    row_bytes = {"r": 3, "b": 3, "y": 2, "u": 2}.get(encoding[0], 1) * width
    row_bytes = {"rgba8": 4, "bgra8": 4}.get(encoding, row_bytes // width) * width
    if encoding.startswith("bayer"):
        row_bytes = width
    msg = Image(width=width, height=height, encoding=encoding, step=row_bytes + padding)
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    data_bytes = changes.pop("data", rows * msg.step) % 10_000
    msg.data = array.array("B", bytes(data_bytes))
    msg.is_bigendian = changes.pop("is_bigendian", 0) % 2
    for name, value in changes.items():
        setattr(msg, name, value)
    rgb = convert(rgb_from_image, msg)
    assert rgb is None or rgb.shape == (msg.height, msg.width, 3)
    is_valid = not changes and data_bytes == rows * msg.step and encoding in ACCEPTED
    if is_valid and min(size) >= 4:
        assert rgb is not None
