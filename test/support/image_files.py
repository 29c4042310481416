# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""JPEG and PNG files for tests of decoders, with what OpenCV cannot write: EXIF, any PNG type."""

import struct
import zlib

import cv2
import numpy as np


def random_rgb(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A blurred random image, so that JPEG keeps its colours [h, w, 3]."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.asarray(cv2.normalize(blurred, None, 40, 215, cv2.NORM_MINMAX))


def encode(extension: str, pixels: np.ndarray, *options: int) -> bytes:
    """A file as OpenCV writes it: three channels are taken as BGR."""
    return bytes(cv2.imencode(extension, pixels, options)[1])


def with_exif_orientation(file: bytes, orientation: int) -> bytes:
    """The same JPEG or PNG with the orientation 1 to 8 in its EXIF data."""
    exif = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    if file.startswith(b"\xff\xd8"):
        segment = b"Exif\0\0" + exif
        return file[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + file[2:]
    end_of_header = 8 + 25
    return file[:end_of_header] + png_chunk(b"eXIf", exif) + file[end_of_header:]


def png_chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG of raw rows (each begins with its filter byte), with ``chunks`` before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = (png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + png_chunk(b"IEND", b"")


def with_size(file: bytes, width: int, height: int) -> bytes:
    """The same JPEG or PNG, whose header claims another size."""
    if file.startswith(b"\xff\xd8"):
        start = max(file.find(b"\xff\xc0"), file.find(b"\xff\xc2")) + 5
        return file[:start] + struct.pack(">HH", height, width) + file[start + 4 :]
    header = png_chunk(b"IHDR", struct.pack(">II", width, height) + file[24:29])
    return file[:8] + header + file[33:]
