# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Read and write image files, and find those of a folder."""

import contextlib
import importlib
import logging
import mimetypes
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageOps

from thfm_ros.media import jpeg
from thfm_ros.media.errors import MAX_PIXELS, VideoError, check_pixels, shown
from thfm_ros.media.png_chunks import claims_missing_bytes

log = logging.getLogger(__name__)

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit would refuse images of 179 megapixels

_COMMON = (".bmp", ".jpe", ".jpeg", ".jfif", ".jpg", ".png", ".tif", ".tiff", ".webp")
_RARER = (".avif", ".gif", ".heic", ".heif", ".jp2", ".pgm", ".pnm", ".ppm")
IMAGE_SUFFIXES = frozenset((*_COMMON, *_RARER))
"""The files of a folder that are read as images, besides those of a MIME type "image/..."."""

_ORIENTATION = 0x0112  # the tag of EXIF
_HEIF_SUFFIXES = (".heic", ".heif")
_DARK = 64
"""Grey of more than 8 bits whose upper 8 stay below this does not use its range."""


def is_image_name(path: Path) -> bool:
    """Whether a file of this name should be an image."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    return (mimetypes.guess_type(path.name)[0] or "").startswith("image/")


def image_files(folder: Path) -> list[Path]:
    """The files of a folder whose names are those of images, sorted by name.

    Raises:
        VideoError: there is none.
    """
    files = sorted(path for path in folder.iterdir() if is_image_name(path) and path.is_file())
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise VideoError(f"The folder {shown(folder)} holds no images ({kinds}).")
    return files


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """RGB of an image file, turned as its EXIF orientation says; of a GIF its first image.

    Of 16 bits the upper 8 are kept, grey and palettes become RGB, alpha is dropped, CMYK is
    converted without a colour profile.

    Raises:
        VideoError: there is no such file, it is damaged (a JPEG of which a part is missing, too)
            or of a format without a decoder, or it has more than 200 megapixels, which is found
            before it is decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise VideoError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    if not data.size:
        raise VideoError(f"{shown(path)} is damaged: it is empty (0 bytes).")
    header = _header(path)
    if header.size is not None:
        check_pixels(path, *header.size)
    if header.format in ("JPEG", "MPO"):
        rgb = _read_jpeg(path, data.tobytes())
        if rgb is not None:
            return _turned(rgb, header.orientation)
    # OpenCV does not turn AVIF files as they say, and does not know HEIF.
    if header.format in ("AVIF", "HEIF"):
        return _read_by_pillow(path)
    if claims_missing_bytes(data.data):
        raise VideoError(
            f"{shown(path)} is a damaged image: a chunk claims more bytes than the file has."
        )
    rgb = None
    try:
        rgb = _decoded(data)
    except cv2.error as error:  # a larger image than OpenCV takes, or a broken header
        log.debug("%s: %s", path, error)
    if rgb is None:
        return _read_by_pillow(path)
    if header.is_deep_grey and rgb.max() < _DARK:
        _warn_of_dark(path, int(rgb.max()))
    return rgb


@cache
def _warn_of_dark(path: Path, brightest: int) -> None:
    """Say once per file that depth and 12-bit images are nearly black in their upper 8 bits."""
    log.warning(
        "%s has more than 8 bits of grey, of which the upper 8 are used, and is nearly black: "
        "its brightest pixel is %d of 255. Depth images show no person; scale others to 16 bits "
        "first",
        shown(path),
        brightest,
    )


class _Header(NamedTuple):
    """What Pillow can tell of a file without decoding it."""

    format: str = ""  # "": it cannot tell anything
    size: tuple[int, int] | None = None  # width and height before any rotation
    orientation: int = 1  # in EXIF
    is_deep_grey: bool = False  # more than 8 bits


def _header(path: Path) -> _Header:
    """The header of an image file.

    Raises:
        VideoError: it has more pixels than Pillow dares to open.
    """
    _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
            with Image.open(path) as image:
                is_deep_grey = image.mode.startswith(("I", "F"))
                return _Header(image.format or "", image.size, _orientation(image), is_deep_grey)
    except Image.DecompressionBombError as error:
        raise VideoError(f"{shown(path)} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError):
        return _Header()


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1, as it is stored, if there is none or EXIF is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, struct.error, TypeError, KeyError):
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(image: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The image as it is to be shown, by its EXIF orientation 1 to 8."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _read_jpeg(path: Path, data: bytes) -> UInt8[np.ndarray, "h w 3"] | None:
    """RGB of a JPEG as it is stored; None: one of CMYK, which another decoder knows."""
    try:
        header = jpeg.header_of(data)
        if header.is_cmyk:
            return None
        pixels = jpeg.decode(data, header)
    except ValueError as error:
        raise VideoError(f"{shown(path)} is a damaged image: {error}") from error
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _decoded(data: UInt8[np.ndarray, "n"]) -> UInt8[np.ndarray, "h w 3"] | None:
    """RGB of an encoded image, None if OpenCV cannot decode it."""
    if hasattr(cv2, "IMREAD_COLOR_RGB"):  # from OpenCV 4.10 on
        rgb: UInt8[np.ndarray, "h w 3"] | None = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        return rgb
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if bgr is None else np.asarray(bgr[..., ::-1])


def write_image(path: Path, rgb: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an image in the format of its suffix; missing folders are made.

    Raises:
        VideoError: OpenCV does not know the suffix, or the file cannot be written.
    """
    try:
        encoded, data = cv2.imencode(path.suffix, np.ascontiguousarray(rgb[..., ::-1]))
    except cv2.error:  # an unknown suffix
        encoded = False
    if not encoded:
        raise VideoError(f"The image {shown(path)} cannot be written; name a .png or .jpg file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a file
        raise VideoError(f"{shown(path)} cannot be written: {error.strerror}.") from error


def _read_by_pillow(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    try:
        with Image.open(path) as image:
            _check_coverage(path, image)
            return np.array(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except PIL.UnidentifiedImageError as error:
        raise VideoError(_no_decoder(path)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise VideoError(f"{shown(path)} is a damaged image: {error}") from error


def _check_coverage(path: Path, image: Image.Image) -> None:
    """Refuse a file whose strips or tiles are fewer than its size needs: the rest would be black.

    The first image of a GIF may be smaller than its canvas.
    """
    extents = [tile[1] for tile in getattr(image, "tile", ()) if tile[1] is not None]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in extents)
    if extents and image.format != "GIF" and covered < image.width * image.height:
        size = f"{image.width}x{image.height}"
        raise VideoError(
            f"{shown(path)} is a damaged image: it claims {size} pixels and has fewer."
        )


def _no_decoder(path: Path) -> str:
    if path.suffix.lower() in _HEIF_SUFFIXES:
        return f"{shown(path)} is damaged, or needs a decoder: pip install pillow-heif"
    return f"{shown(path)} is damaged, or {path.suffix} is a format without a decoder here."


@cache
def _register_heif() -> None:
    """Let Pillow read HEIF files where pillow-heif is installed."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
