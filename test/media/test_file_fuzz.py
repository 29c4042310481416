# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any film or image file is read to the size it says, or refused with a reason, in bounded time.

Half of the inputs are valid files with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many new
ones are tried per test.
"""

import io
import itertools
import resource
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import encode, png, png_chunk, random_rgb, with_exif_orientation
from mutated_bytes import mutated, refused_or
from PIL import Image
from property_tests import FUZZ_EXAMPLES, fuzz
from tiny_films import grey_levels, write_film

from thfm_ros.media.errors import MAX_PIXELS, VideoError
from thfm_ros.media.images import read_image
from thfm_ros.media.video import Video

pytestmark = [
    pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF"),
]

RGB = random_rgb(40, 24)
MOST_FRAMES = 12  # of a changed film that are decoded


def by_pillow(format_: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, format_)
    return file.getvalue()


IMAGES = (
    encode(".jpg", RGB),
    encode(".jpg", RGB, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    with_exif_orientation(encode(".jpg", RGB), 6),
    encode(".png", RGB),
    encode(".png", RGB.astype(np.uint16)),
    png(4, 2, 8, 3, bytes(10), png_chunk(b"PLTE", bytes(9)), png_chunk(b"tRNS", b"\1")),
    *(by_pillow(name) for name in ("BMP", "GIF", "TIFF", "WEBP", "PPM")),
)


def films() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        for name, codec in (
            *(("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg")),
            *(("a.ts", "mpeg2video"), ("a.webm", "libvpx")),
        ):
            path = write_film(Path(folder, name), grey_levels(3), codec)
            yield path.read_bytes()


FILMS = tuple(films())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """OpenCV says nothing about damaged files; PyAV does not by itself."""
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    yield
    cv2.utils.logging.setLogLevel(before)


@given(
    data=mutated(IMAGES)
    | st.builds(lambda file, rest: file[:24] + rest, st.sampled_from(IMAGES), st.binary())
    | st.binary(max_size=100),
    suffix=st.sampled_from([".jpg", ".png", ".webp", ".heic", ""]),
)
@fuzz(examples=120)
def test_any_image_is_read_or_refused(folder: Path, data: bytes, suffix: str) -> None:
    path = folder / f"image{suffix}"
    path.write_bytes(data)
    rgb = refused_or(lambda: read_image(path), VideoError)
    if rgb is not None:
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        assert 0 < rgb.shape[0] * rgb.shape[1] <= MAX_PIXELS


@given(
    data=mutated(FILMS)
    | mutated(FILMS)
    | st.builds(lambda file, rest: file[:40] + rest, st.sampled_from(FILMS), st.binary())
    | st.binary(max_size=100),
    suffix=st.sampled_from([".mp4", ".avi", ""]),
)
@fuzz(examples=60)
def test_any_film_is_read_in_increasing_times_or_refused(
    folder: Path, data: bytes, suffix: str
) -> None:
    path = folder / f"film{suffix}"
    path.write_bytes(data)

    def read() -> list[int]:
        stamps = []
        film = Video(path)
        assert film.fps > 0 and film.length >= 0
        for frame in itertools.islice(film, MOST_FRAMES):
            assert frame.rgb.dtype == np.uint8 and frame.rgb.ndim == 3 and frame.rgb.shape[2] == 3
            stamps.append(frame.stamp_ns)
        return stamps

    stamps = refused_or(read, VideoError)
    assert stamps is None or all(a < b for a, b in itertools.pairwise(stamps))


@pytest.mark.parametrize(
    "data",
    [
        png(2**20, 2**20, 8, 2, b""),
        b"BM" + struct.pack("<IIIIiiHHII", 99, 0, 54, 40, 2**20, 2**20, 1, 24, 0, 0) + bytes(60),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + bytes(20),
        b"P6 1048576 1048576 255 " + bytes(100),
    ],
    ids=["png", "bmp", "gif", "ppm"],
)
def test_an_image_whose_header_claims_a_terabyte_is_refused_before_it_is_decoded(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"too large|more than|damaged"):
        read_image(path)


def test_a_png_whose_chunk_claims_gigabytes_takes_no_such_memory(tmp_path: Path) -> None:
    """OpenCV would take 3 GB for these 1.5 kB."""
    valid = encode(".png", RGB)
    path = tmp_path / "image.png"
    path.write_bytes(valid[:33] + struct.pack(">I", 3_000_000_000) + valid[37:])
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(VideoError, match="damaged"):
        read_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before_kb + 500_000


def test_a_tiff_that_claims_more_rows_than_it_has_is_refused(tmp_path: Path) -> None:
    """Pillow would return the 24 rows that are there, and millions of black ones."""
    entry = struct.pack("<HHII", 0x0101, 4, 1, 24)  # ImageLength
    valid = by_pillow("TIFF")
    if entry not in valid:
        entry = struct.pack("<HHII", 0x0101, 3, 1, 24)
    assert valid.count(entry) == 1
    path = tmp_path / "image.tiff"
    path.write_bytes(valid.replace(entry, struct.pack("<HHII", 0x0101, 4, 57, 24)))
    with pytest.raises(VideoError, match="damaged"):
        read_image(path)
