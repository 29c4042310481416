# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Image files as a person sees them, or a reason."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_files import random_rgb
from PIL import Image, ImageOps, features
from tiny_films import corners_of, four_corners

from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import image_files, read_image, write_image

FORMATS = ["jpg", "jfif", "png", "webp", "tiff", "avif"]
ORIENTATION = 0x112


def save(path: Path, image: np.ndarray | Image.Image, **options: Any) -> Path:
    if path.suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    saved = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if path.suffix in (".jpg", ".jfif", ".avif"):
        options = {"quality": 95, **options}
    saved.save(path, format="JPEG" if path.suffix == ".jfif" else None, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", FORMATS)
def test_images_are_turned_as_exif_says(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(tmp_path / f"a.{kind}", four_corners(), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    rgb = read_image(path)
    assert rgb.shape == expected.shape and rgb.dtype == np.uint8
    assert corners_of(rgb) == corners_of(expected)


@pytest.mark.parametrize("kind", [*FORMATS, "gif", "bmp", "ppm", "jp2"])
def test_every_common_format_is_found_in_a_folder_and_read(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"A.{kind}", four_corners())
    assert image_files(tmp_path) == [path]
    assert corners_of(read_image(path)) == corners_of(four_corners())


def gradient() -> np.ndarray:
    return np.tile(np.linspace(0, 255, 64).round().astype(np.uint8), (48, 1))


def test_depths_and_colour_models_become_8_bit_rgb(tmp_path: Path) -> None:
    grey = np.repeat(gradient()[..., None], 3, -1)
    deep = save(tmp_path / "deep.png", Image.fromarray(gradient().astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_image(deep), grey)  # the upper 8 bits
    plain = save(tmp_path / "grey.png", gradient())
    np.testing.assert_array_equal(read_image(plain), grey)
    black_white = save(tmp_path / "bw.png", Image.fromarray(gradient()).convert("1"))
    assert set(np.unique(read_image(black_white))) == {0, 255}
    palette = save(tmp_path / "palette.png", Image.fromarray(four_corners()).convert("P"))
    assert corners_of(read_image(palette)) == corners_of(four_corners())
    cmyk = save(tmp_path / "cmyk.jpg", Image.fromarray(four_corners()).convert("CMYK"))
    assert corners_of(read_image(cmyk)) == corners_of(four_corners())
    clear = np.dstack([four_corners(), np.full((48, 64), 100, np.uint8)])
    alpha = save(tmp_path / "alpha.png", clear)
    np.testing.assert_array_equal(read_image(alpha), four_corners())  # alpha is dropped


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.heic", "pip install pillow-heif"),
        ("a.cr2", r"a\.cr2 .*\.cr2 is a format without a decoder"),
        ("a.svg", r"a\.svg .*\.svg is a format without a decoder"),
        ("a.jpg", r"a\.jpg is damaged"),
    ],
)
@pytest.mark.fault("file", "an unreadable image in a folder")
def test_what_cannot_be_read_is_found_and_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"no image that can be decoded")
    assert image_files(tmp_path) == [tmp_path / name]
    with pytest.raises(VideoError, match=reason):
        read_image(tmp_path / name)


def test_a_file_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"a\.png cannot be read: No such file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(VideoError, match=r"a\.png is damaged: it is empty"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.fault("file", "a JPEG of which a part is missing or zero")
def test_a_jpeg_that_lacks_a_part_is_refused_wherever_it_is(
    tmp_path: Path, progressive: bool
) -> None:
    """Decoders fill what is missing with grey, or shift the rest, without a word."""
    rgb = random_rgb(160, 120)
    whole = save(tmp_path / "a.jpg", rgb, progressive=progressive).read_bytes()
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - rgb).max() < 30
    middle, tenth = len(whole) // 2, len(whole) // 10
    for damaged in (
        whole[:middle],
        whole[:middle] + whole[middle + tenth :],
        whole[:middle] + bytes(len(whole) - middle),
    ):
        (tmp_path / "a.jpg").write_bytes(damaged)
        with pytest.raises(VideoError, match=r"a\.jpg is a damaged image"):
            read_image(tmp_path / "a.jpg")


def test_a_jpeg_is_decoded_as_by_opencv(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", random_rgb(160, 120), quality=80)
    by_opencv = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(read_image(path), by_opencv[..., ::-1])


def test_a_dark_image_of_16_bits_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Depth in millimetres, or 12 bits that were stored as 16: its upper 8 bits are nearly 0."""
    depth_mm = save(tmp_path / "depth.png", Image.fromarray(gradient().astype(np.uint16) * 16))
    assert read_image(depth_mm).max() < 20
    assert "depth.png has more than 8 bits" in caplog.text and "Depth images" in caplog.text
    caplog.clear()
    read_image(save(tmp_path / "deep.png", Image.fromarray(gradient().astype(np.uint16) * 257)))
    read_image(save(tmp_path / "night.png", gradient() // 16))
    assert not caplog.text


def huge_png(path: Path, width: int, height: int) -> Path:
    """A valid header, and pixels that are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 4)
    return path


@pytest.mark.parametrize("size", [(15_000, 14_000), (60_000, 60_000)])
def test_more_than_200_megapixels_are_refused_by_the_header(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded before its size was looked at")

    monkeypatch.setattr("thfm_ros.media.images._decoded", decoded)
    with pytest.raises(VideoError, match=r"a\.png (has 15000x14000 pixels|is too large)"):
        read_image(huge_png(tmp_path / "a.png", *size))


def test_images_are_sorted_by_name_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt", "d.mp4", "e.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "f.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPG"]


def test_a_name_that_is_not_utf8_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.png"
    write_image(path, four_corners())
    assert image_files(tmp_path) == [path]
    np.testing.assert_array_equal(read_image(path), four_corners())
    path.write_bytes(b"no")
    with pytest.raises(VideoError, match=r"caf\\udce9\.png is damaged"):
        read_image(path)


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"name a \.png or \.jpg"):
        write_image(tmp_path / "a.odd", four_corners())
