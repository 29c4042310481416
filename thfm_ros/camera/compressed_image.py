# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Conversion of sensor_msgs/CompressedImage, as compressed_image_transport publishes it.

Its ``format`` is ``ENCODING; CODEC compressed STORED``, for example ``rgb8; jpeg compressed
bgr8``: the encoding of the raw image, and which channel order the encoder was told. ``bgr8`` is
what OpenCV expects, so a viewer shows such a file in its right colours; with ``rgb8`` it shows red
and blue exchanged. A format that does not have this form, such as ``jpeg``, is read as ``bgr8``,
according to the message's definition.
"""

import re

import numpy as np

from thfm_ros.camera.bad_input import BadInputError
from thfm_ros.camera.bayer import PATTERNS, demosaic
from thfm_ros.camera.image_codecs import decode
from thfm_ros.camera.messages import CompressedImageMessage
from thfm_ros.camera.raw_image import RgbImage, repeat_grey, why_ambiguous

_DEEP = re.compile(r"(?:(?:rgb|bgr)a?|mono|bayer_[rgb]{4})16|(?:8s|16[us]|32[usf]|64f)c\d*")
_ORDERS = ("bgr", "rgb", "mono", "bayer_", "8uc1")


def rgb_from_compressed(msg: CompressedImageMessage) -> RgbImage:
    """The RGB array of a JPEG or PNG, in the orientation in which it is stored.

    Raises:
        BadInputError: the image cannot be decoded, is not complete, or its format does not tell
            its colours; the text says how to correct it.
    """
    source = f"CompressedImage of format {msg.format!r}"
    encoding, stored = _encodings(msg.format)
    _require_known_colours(encoding, stored, source)
    pixels = decode(bytes(msg.data), source)
    if pixels.ndim == 2:
        pattern = next((name for name in (stored, encoding) if name in PATTERNS), "")
        # "bayer_rggb8; jpeg compressed mono8" was demosaiced to grey before it was compressed.
        is_mosaic = pattern and not stored.startswith("mono")
        return demosaic(pixels, pattern) if is_mosaic else repeat_grey(pixels)
    if (stored or encoding) in PATTERNS:
        raise BadInputError(
            "encoding",
            f"A {source} has three channels, but a Bayer image has one: publish colours as "
            "'bgr8; jpeg compressed bgr8'.",
        )
    return np.asarray(pixels[:, :, ::-1] if stored.startswith("rgb") else pixels)


def _encodings(image_format: str) -> tuple[str, str]:
    """ENCODING and STORED in lower case, each empty if it is not there."""
    encoding, _, rest = image_format.lower().partition(";")
    stored = re.match(r"\s*(\w*)", rest.partition("compressed")[2])
    return encoding.strip(), stored[1] if stored else ""


def _require_known_colours(encoding: str, stored: str, source: str) -> None:
    """Refuse what is no 8-bit colour or grey image, or does not define its channel order."""
    if stored.startswith("depth") or "compresseddepth" in encoding:
        reason = "holds depth and no colour. Remap 'image' to the colour camera"
    elif deep := next((name for name in (encoding, stored) if _DEEP.fullmatch(name)), ""):
        reason = (
            f"comes from {deep}, which does not have 8 bits per channel. Publish an 8-bit "
            "encoding, or remap 'image' to the colour camera if this is depth"
        )
    elif unknown := next(
        (n for n in (encoding, stored) if n.startswith("bayer_") and n not in PATTERNS), ""
    ):
        reason = f"has the unknown Bayer pattern {unknown}. Accepted: {', '.join(PATTERNS)}"
    elif stored and not stored.startswith(_ORDERS):
        reason = f"stores its channels as {stored!r}, which is not known. Accepted: bgr8, rgb8"
    elif encoding == "8uc2":
        reason = "has two channels, which are no colour. Publish bgr8 or rgb8"
    elif not stored and (why := why_ambiguous(encoding)):
        reason = f"cannot be read: {why}"
    else:
        return
    raise BadInputError("encoding", f"A {source} {reason}.")
