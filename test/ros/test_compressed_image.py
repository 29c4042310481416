# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""CompressedImage: formats, channel orders, Bayer, orientation, damage, sizes, other codecs."""

import array
import resource

import cv2
import numpy as np
import pytest
import simplejpeg
from image_files import encode, png, png_chunk, random_rgb, with_exif_orientation, with_size
from sensor_msgs.msg import CompressedImage

from thfm_ros.camera import BadInputError, rgb_from_compressed

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = 48, 32
RGB = random_rgb(WIDTH, HEIGHT)
BGR = np.ascontiguousarray(RGB[..., ::-1])
TOLERANCE = {".png": 0, ".jpg": 20}


def message(image_format: str, data: bytes) -> CompressedImage:
    return CompressedImage(format=image_format, data=array.array("B", data))


def assert_close(result: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert result.shape == expected.shape and result.dtype == np.uint8
    assert np.abs(result.astype(int) - expected).max() <= tolerance


def refusal(image_format: str, data: bytes) -> BadInputError:
    with pytest.raises(BadInputError) as caught:
        rgb_from_compressed(message(image_format, data))
    return caught.value


@pytest.mark.parametrize("extension", TOLERANCE)
@pytest.mark.parametrize("stored", ["bgr8", "rgb8"])
@pytest.mark.parametrize(
    "encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "yuv422", "yuv422_yuy2", "uyvy", "yuyv", "nv21"]
)
def test_the_stored_channel_order_is_heeded(encoding: str, stored: str, extension: str) -> None:
    """compressed_image_transport gives the encoder an array in this order, as if it were BGR."""
    data = encode(extension, BGR if stored == "bgr8" else RGB)
    codec = {".png": "png", ".jpg": "jpeg"}[extension]
    result = rgb_from_compressed(message(f"{encoding}; {codec} compressed {stored}", data))
    assert_close(result, RGB, TOLERANCE[extension])


@pytest.mark.parametrize("stored", ["bgra8", "rgba8"])
@pytest.mark.parametrize("encoding", ["rgba8", "bgra8"])
def test_alpha_changes_no_colour(encoding: str, stored: str) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
    data = encode(".png", np.concatenate([BGR if stored == "bgra8" else RGB, alpha], axis=-1))
    result = rgb_from_compressed(message(f"{encoding}; png compressed {stored}", data))
    np.testing.assert_array_equal(result, RGB)


@pytest.mark.parametrize(
    "image_format",
    [
        *("jpeg", "jpg", "JPEG", "png", "", "  ", "bgr8", "rgb8", "rubbish", "a; b; c"),
        *("bgr8; jpeg compressed bgr8", "RGB8; JPEG COMPRESSED BGR8", "rgb8;jpeg compressed bgr8"),
        *("  rgb8 ;  jpeg   compressed   bgr8  ", "bgra8; png compressed bgra8"),
        # Without a stored order, which is not what the message's definition asks for.
        *("bgr8; compressed", "rgb8; jpeg compressed ", "mono8; jpeg compressed ", "rgb8; png"),
    ],
)
def test_formats_without_an_order_have_the_colours_of_the_file(image_format: str) -> None:
    result = rgb_from_compressed(message(image_format, encode(".png", BGR)))
    np.testing.assert_array_equal(result, RGB)


@pytest.mark.parametrize("extension", TOLERANCE)
@pytest.mark.parametrize(
    "image_format",
    [
        *("mono8; jpeg compressed ", "mono8; png compressed mono8", "8UC1; png compressed"),
        *("jpeg", "rgb8; jpeg compressed rgb8", "bayer_rggb8; jpeg compressed mono8"),
    ],
)
def test_grey_files_are_grey_in_every_order(image_format: str, extension: str) -> None:
    grey = np.ascontiguousarray(RGB[..., 0])
    result = rgb_from_compressed(message(image_format, encode(extension, grey)))
    assert_close(result, np.stack([grey] * 3, axis=-1), TOLERANCE[extension])


def mosaic_of(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor with this pattern sees: its first four pixels are named rows first."""
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for position, colour in enumerate(pattern):
        row, column = divmod(position, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(colour)]
    return mosaic


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(
    ("extension", "rest"),
    [
        *((".png", "; png compressed "), (".png", "; png compressed"), (".png", "")),
        *((".jpg", "; jpeg compressed "), (".jpg", "; jpeg compressed bayer_{}8")),
        (".jpg", "; jpeg compressed bgr8"),
    ],
)
def test_bayer_files_of_one_channel_are_demosaiced(pattern: str, extension: str, rest: str) -> None:
    rgb = np.empty((16, 32, 3), np.uint8)
    rgb[:, :16], rgb[:, 16:] = (200, 100, 50), (30, 90, 180)
    data = encode(extension, mosaic_of(rgb, pattern), cv2.IMWRITE_JPEG_QUALITY, 100)
    result = rgb_from_compressed(message(f"bayer_{pattern}8{rest.format(pattern)}", data))
    inside = np.r_[2:14, 18:30]
    assert_close(result[2:-2, inside], rgb[2:-2, inside], {".png": 0, ".jpg": 6}[extension])


def test_a_bayer_camera_may_publish_colours() -> None:
    data = encode(".jpg", BGR)
    result = rgb_from_compressed(message("bayer_rggb8; jpeg compressed bgr8", data))
    assert_close(result, RGB, TOLERANCE[".jpg"])


@pytest.mark.parametrize("extension", TOLERANCE)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_exif_is_ignored(orientation: int, extension: str) -> None:
    """camera_info describes the image as it is stored."""
    data = with_exif_orientation(encode(extension, BGR), orientation)
    result = rgb_from_compressed(message("rgb8; jpeg compressed bgr8", data))
    assert_close(result, RGB, TOLERANCE[extension])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 1, 8, 6, b"\0\1\2\3\0\5\6\7\x80"), [[1, 2, 3], [5, 6, 7]]),  # RGBA: not blended
        (png(2, 1, 8, 4, b"\0\1\0\3\xff"), [[1, 1, 1], [3, 3, 3]]),  # grey and alpha
        (png(8, 1, 1, 0, b"\0\xa0"), [[255] * 3, [0] * 3, [255] * 3, *[[0] * 3] * 5]),  # 1 bit
        (
            png(2, 1, 8, 3, b"\0\1\0", png_chunk(b"PLTE", b"\1\2\3\4\5\6")),
            [[4, 5, 6], [1, 2, 3]],
        ),
    ],
    ids=["rgba", "grey and alpha", "one bit", "palette"],
)
def test_every_kind_of_png_with_8_bits_is_read(data: bytes, expected: list[list[int]]) -> None:
    result = rgb_from_compressed(message("rgb8; png compressed bgr8", data))
    np.testing.assert_array_equal(result, [expected])


DEEP_PNG = encode(".png", np.full((8, 8), 3000, np.uint16))


@pytest.mark.parametrize(
    ("image_format", "data", "text"),
    [
        ("16UC1; compressedDepth png", DEEP_PNG, "depth"),
        ("32FC1; compressedDepth rvl", b"1234", "depth"),
        ("compressedDepth", DEEP_PNG, "depth"),
        *(
            (f"{e}; png compressed ", DEEP_PNG, f"'{e};")
            for e in ("16UC1", "mono16", "bayer_rggb16")
        ),
        *((e, DEEP_PNG, "16 bits") for e in ("png", "", "bgr8; png compressed bgr8", "mono8; png")),
        ("rgb16; png compressed bgr16", encode(".png", BGR), "rgb16"),
        ("rgb8; png compressed rgb16", encode(".png", BGR), "rgb16"),
        ("mono16; jpeg compressed mono8", encode(".jpg", BGR), "mono16"),
        ("32FC1; tiff compressed ", b"II*\0", "32fc1"),
        ("8UC3; png compressed ", encode(".png", BGR), "red or blue"),
        ("rgb8; png compressed cmyk8", encode(".png", BGR), "cmyk8"),
        ("bayer_rgbg8; png compressed ", encode(".png", RGB[..., 0]), "bayer_rgbg8"),
        ("bayer_rggb8; jpeg compressed ", encode(".jpg", BGR), "three channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_depth_deep_and_undefined_colours_are_refused_by_name(
    image_format: str, data: bytes, text: str
) -> None:
    error = refusal(image_format, data)
    assert error.cause == "encoding"
    assert text in str(error) and repr(image_format) in str(error)


OTHER_CODECS = [
    (encode(".webp", BGR), "WebP"),
    (encode(".tiff", BGR), "TIFF"),
    (encode(".bmp", BGR), "BMP"),
    (encode(".jp2", BGR), "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a\x00", "JPEG XL"),
    (b"\x00\x00\x00\x20ftypavif", "AVIF"),
    (b"GIF89a", "GIF"),
    (b"\x00\x00\x00\x01\x67\x42", "H.264"),
    (b"\x00\x00\x01\x67\x42", "H.264"),
    (png(1, 1, 8, 0, b"\0\0", png_chunk(b"acTL", bytes(8))), "animated PNG"),
    (simplejpeg.encode_jpeg(np.zeros((8, 8, 4), np.uint8), colorspace="CMYK"), "a CMYK JPEG"),
]


@pytest.mark.parametrize(("data", "codec"), OTHER_CODECS, ids=[name for _, name in OTHER_CODECS])
@pytest.mark.parametrize("image_format", ["h264", "bgr8; jpeg compressed bgr8", ""])
def test_other_codecs_are_refused_by_name(data: bytes, codec: str, image_format: str) -> None:
    error = refusal(image_format, data)
    assert error.cause == "encoding"
    assert codec in str(error) and "publish" in str(error)


BASELINE = encode(".jpg", random_rgb(160, 120), cv2.IMWRITE_JPEG_QUALITY, 90)
PROGRESSIVE = encode(".jpg", random_rgb(160, 120), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTS = encode(".jpg", random_rgb(160, 120), cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
PNG = encode(".png", random_rgb(160, 120))
FILES = {"baseline": BASELINE, "progressive": PROGRESSIVE, "restarts": RESTARTS, "png": PNG}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("kind", FILES)
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    file = FILES[kind]
    assert refusal("jpeg", file[: int(len(file) * share)]).cause == "data"


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_lacks_a_piece_in_its_middle_is_refused(kind: str) -> None:
    """Lost packets: the end is there, but OpenCV would shift or grey the rest."""
    file = FILES[kind]
    middle = len(file) // 2
    error = refusal("jpeg", file[:middle] + file[middle + len(file) // 5 :])
    assert error.cause == "data" and f"{len(file) - len(file) // 5} bytes" in str(error)


def test_a_png_whose_chunk_claims_gigabytes_is_refused_without_taking_them() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refusal("png", PNG[:33] + (3_000_000_000).to_bytes(4, "big") + PNG[37:])
    assert error.cause == "data" and "claims too many bytes" in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before_kb + 500_000


def test_a_scan_that_is_missing_is_refused() -> None:
    cut = PROGRESSIVE.rfind(b"\xff\xda")
    assert refusal("jpeg", PROGRESSIVE[:cut]).cause == "data"


def test_padding_and_a_missing_end_marker_lose_nothing() -> None:
    whole = rgb_from_compressed(message("jpeg", BASELINE))
    for file in (BASELINE + bytes(100), BASELINE[:-2], BASELINE[:-2] + b"\x12\xff\xd9"):
        np.testing.assert_array_equal(rgb_from_compressed(message("jpeg", file)), whole)


def test_a_changed_byte_of_a_png_is_refused() -> None:
    changed = bytearray(PNG)
    changed[len(PNG) // 2] ^= 1
    assert refusal("png", bytes(changed)).cause == "data"


@pytest.mark.parametrize(
    ("data", "text"), [(b"", "0 bytes"), (b"rubbish", "72 75 62 62"), (b"\xff", "1 bytes")]
)
def test_data_that_are_no_image_are_refused(data: bytes, text: str) -> None:
    error = refusal("jpeg", data)
    assert error.cause == "data" and text in str(error)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(("width", "height"), [(60000, 60000), (65000, 1100), (8193, 8192)])
def test_a_size_beyond_the_limit_is_refused_before_decoding(
    kind: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("decoded"))
    error = refusal("jpeg", with_size(FILES[kind], width, height))
    assert error.cause == "size" and f"{width}x{height}" in str(error)


def test_a_jpeg_of_too_many_scans_is_refused() -> None:
    scan = PROGRESSIVE.rfind(b"\xff\xda")
    file = PROGRESSIVE[:scan] + PROGRESSIVE[scan:-2] * 200 + PROGRESSIVE[-2:]
    assert "scans" in str(refusal("jpeg", file))
