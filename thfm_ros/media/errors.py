# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The error of unreadable and unwritable videos and images, and how paths are shown in texts."""

from pathlib import Path

from thfm_ros.contract import PerceptionError

MAX_PIXELS = 200_000_000
"""Larger images and frames are refused before they are decoded: they would need many GB."""


class VideoError(PerceptionError):
    """A video or an image that cannot be read or written; the text says which and why."""


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse an image of more than `MAX_PIXELS`.

    Raises:
        VideoError: it is too large.
    """
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"{shown(path)} has {width}x{height} pixels, more than {MAX_PIXELS // 10**6} million: "
            "reduce it first."
        )


def shown(path: Path) -> str:
    """The path as text that can be printed, though its name may not be UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()
