# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Read and write image files, and find those of a folder."""

import contextlib
import importlib
import logging
import mimetypes
import warnings
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageOps

from thfm_ros.media.errors import MAX_PIXELS, VideoError, check_pixels, shown
from thfm_ros.media.png_chunks import claims_missing_bytes

log = logging.getLogger(__name__)

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit would refuse images of 179 megapixels

_COMMON = (".bmp", ".jpe", ".jpeg", ".jfif", ".jpg", ".png", ".tif", ".tiff", ".webp")
_RARER = (".avif", ".gif", ".heic", ".heif", ".jp2", ".pgm", ".pnm", ".ppm")
IMAGE_SUFFIXES = frozenset((*_COMMON, *_RARER))
"""The files of a folder that are read as images, besides those of a MIME type "image/..."."""

_HEIF_SUFFIXES = (".heic", ".heif")


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
        VideoError: there is no such file, it is damaged or of a format without a decoder, or it
            has more than 200 megapixels, which is found before it is decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise VideoError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    format_, size = _header(path)
    if size is not None:
        check_pixels(path, *size)
    # OpenCV does not turn AVIF files as they say, and does not know HEIF.
    if format_ in ("AVIF", "HEIF"):
        return _read_by_pillow(path)
    if data.size and claims_missing_bytes(data.data):
        raise VideoError(
            f"{shown(path)} is a damaged image: a chunk claims more bytes than the file has."
        )
    rgb = None
    try:
        rgb = _decoded(data) if data.size else None
    except cv2.error as error:  # a larger image than OpenCV takes, or a broken header
        log.debug("%s: %s", path, error)
    return _read_by_pillow(path) if rgb is None else rgb


def _header(path: Path) -> tuple[str, tuple[int, int] | None]:
    """Format, and width and height before any rotation; "" and None if Pillow cannot tell them.

    Raises:
        VideoError: it has more pixels than Pillow dares to open.
    """
    _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
            with Image.open(path) as image:
                return image.format or "", image.size
    except Image.DecompressionBombError as error:
        raise VideoError(f"{shown(path)} is too large: {error}") from error
    except (OSError, ValueError, SyntaxError):
        return "", None


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
