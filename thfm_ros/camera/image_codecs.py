# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decoding of JPEG and PNG: complete, of a bounded size, or refused. Does not import ROS.

A JPEG is complete or refused (`media.jpeg`). PNG has checksums, which OpenCV verifies.
"""

import re
import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.camera.bad_input import BadInputError
from thfm_ros.media import jpeg, png_chunks

Pixels = UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]

MAX_PIXELS = 2**26
"""The largest image that is decoded, 8192x8192: a few hundred bytes can claim 4 gigapixels."""

_PNG_SIGNATURE = png_chunks.SIGNATURE
# How the data of other codecs begin, to name them.
_OTHER_CODECS = {
    "WebP": rb"RIFF....WEBP",
    "JPEG XL": rb"\xff\x0a|\x00\x00\x00\x0cJXL ",
    "JPEG 2000": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "AVIF or HEIF": rb"....ftyp",
    "TIFF": rb"II\*\x00|MM\x00\*",
    "GIF": rb"GIF8",
    "BMP": rb"BM",
    "H.264 or H.265 video": rb"\x00\x00\x00?\x01",
    "zstd": rb"\x28\xb5\x2f\xfd",
}
_CURE = (
    "JPEG and PNG are accepted, as published by image_transport's 'compressed' (parameter "
    "<topic>.compressed.format); of anything else republish the raw image (`ros2 run "
    "image_transport republish`)."
)


def decode(data: bytes, source: str) -> Pixels:
    """The pixels of a JPEG or PNG, as the file defines them: grey [h, w] or RGB [h, w, 3].

    The orientation in EXIF is ignored, since camera_info describes the image as it is stored.
    Alpha is dropped.

    Args:
        data: the whole file.
        source: what it is, for error texts: "CompressedImage of format 'jpeg'".

    Raises:
        BadInputError: another codec, more than 8 bits, more than `MAX_PIXELS`, or data that are
            incomplete or damaged.
    """
    if data.startswith(jpeg.START):
        return _decode_jpeg(data, source)
    if data.startswith(_PNG_SIGNATURE):
        return _decode_png(data, source)
    if not data:
        raise BadInputError("data", f"A {source} is empty (0 bytes): check the camera driver.")
    for codec, beginning in _OTHER_CODECS.items():
        if re.match(beginning, data, re.DOTALL):
            raise BadInputError("encoding", f"A {source} holds {codec}. {_CURE}")
    raise BadInputError(
        "data",
        f"A {source} with {len(data)} bytes cannot be decoded: it begins with "
        f"{data[:4].hex(' ')}, as neither JPEG nor PNG does. {_CURE}",
    )


def _decode_jpeg(data: bytes, source: str) -> Pixels:
    try:
        header = jpeg.header_of(data)
    except ValueError as error:
        raise _damaged(data, source, error) from error
    _require_size(header.width, header.height, source)
    if header.is_cmyk:
        raise BadInputError(
            "encoding", f"A {source} holds a CMYK JPEG: publish it in YCbCr or grey."
        )
    try:
        return jpeg.decode(data, header)
    except ValueError as error:
        raise _damaged(data, source, error) from error


def _decode_png(data: bytes, source: str) -> Pixels:
    header = data[len(_PNG_SIGNATURE) : len(_PNG_SIGNATURE) + 17]
    if len(header) < 17 or header[4:8] != b"IHDR":
        raise _damaged(data, source, "it has no header")
    width, height, bits = struct.unpack(">IIB", header[8:])
    _require_size(width, height, source)
    if bits > 8:
        raise BadInputError(
            "encoding",
            f"A {source} holds a PNG of {bits} bits per channel; 8 are accepted. Publish an 8-bit "
            "encoding, or remap 'image' to the colour camera if this is depth.",
        )
    if b"acTL" in data[: data.find(b"IDAT")]:
        raise BadInputError("encoding", f"A {source} holds an animated PNG. {_CURE}")
    if png_chunks.claims_missing_bytes(data):
        raise _damaged(data, source, "it is incomplete, or a chunk claims too many bytes")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # for some broken headers it raises, for others it returns None
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width) or pixels.dtype != np.uint8:
        raise _damaged(data, source, "it is incomplete, or a checksum differs")
    return np.asarray(pixels if pixels.ndim == 2 else pixels[:, :, 2::-1])  # from BGR or BGRA


def _require_size(width: int, height: int, source: str) -> None:
    if width < 1 or height < 1:
        raise BadInputError("size", f"A {source} of {width}x{height} pixels is empty.")
    if width * height > MAX_PIXELS:
        raise BadInputError(
            "size",
            f"A {source} claims {width}x{height} pixels; at most {MAX_PIXELS} (8192x8192) are "
            "decoded. Publish smaller images: people are found in far fewer.",
        )


def _damaged(data: bytes, source: str, reason: object) -> BadInputError:
    return BadInputError(
        "data",
        f"A {source} with {len(data)} bytes cannot be decoded completely ({reason}): the camera "
        "driver truncates it, or it was damaged on the way.",
    )
