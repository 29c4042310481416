# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images with one to four people of known size, cropped from the shipped street clip.

The clip's pedestrians are about 100 pixels tall, but people near a robot fill the image. So a crop
follows each of a few pedestrians and is enlarged.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError
from thfm_ros.media.video import Video

RgbImage = UInt8[np.ndarray, "h w 3"]

CLIP = Path(__file__).resolve().parents[2] / "clips" / "street.mp4"
LENGTH = 40
"""Frames of each pedestrian."""
HEIGHT_RATIO = 0.74
"""Height of a person / height of the image."""


@dataclass(frozen=True)
class PedestrianTrack:
    """Where one pedestrian of the clip is, for `LENGTH` frames from ``first_frame`` on."""

    first_frame: int
    height_px: float
    keyframes: tuple[tuple[int, float, float], ...]  # frame; x, y of the centre in pixels

    def centre(self, frame: int) -> tuple[float, float]:
        """The person's centre in a frame of the clip, interpolated, pixels."""
        frames, x, y = zip(*self.keyframes, strict=True)
        return float(np.interp(frame, frames, x)), float(np.interp(frame, frames, y))


# Pedestrians at a distance from all others, the tallest first. Measured on the difference from the
# clip's median image.
PEDESTRIANS = (
    PedestrianTrack(128, 138, ((128, 371, 470), (147, 363, 447), (158, 336, 427), (169, 256, 407))),
    PedestrianTrack(128, 100, ((128, 585, 329), (140, 520, 294), (152, 481, 264), (168, 475, 230))),
    PedestrianTrack(40, 110, ((35, 652, 329), (43, 657, 347), (51, 656, 358), (82, 645, 359))),
    PedestrianTrack(34, 70, ((30, 208, 208), (42, 165, 202), (56, 110, 201), (73, 28, 208))),
)


def people_clip(people: int, width: int, height: int, clip: Path = CLIP) -> list[RgbImage]:
    """Images (RGB uint8) that can be repeated without a jump: forwards, then backwards.

    Args:
        people: 1 to 4, side by side in strips of equal width.
        width: of the images, pixels.
        height: of the images, pixels.
        clip: the street clip, or a copy of it.

    Raises:
        PerceptionError: there are not so many pedestrians, or the clip cannot be read.
    """
    if not 1 <= people <= len(PEDESTRIANS):
        raise PerceptionError(f"people is {people}; the clip has 1 to {len(PEDESTRIANS)}.")
    tracks = PEDESTRIANS[:people]
    frames = _read(clip, max(track.first_frame for track in tracks) + LENGTH)
    edges = np.linspace(0, width, people + 1).round().astype(int)
    forwards = []
    for index in range(LENGTH):
        strips = [
            _crop(frames[track.first_frame + index], track, index, int(right - left), height)
            for track, left, right in zip(tracks, edges[:-1], edges[1:], strict=True)
        ]
        forwards.append(np.hstack(strips))
    return forwards + forwards[-2:0:-1]


def pedestrian_clip(number: int, width: int, height: int, clip: Path = CLIP) -> list[RgbImage]:
    """The `LENGTH` images (RGB uint8) of one pedestrian, cropped as in `people_clip`.

    Raises:
        PerceptionError: the clip cannot be read.
    """
    track = PEDESTRIANS[number]
    frames = _read(clip, track.first_frame + LENGTH)
    return [
        _crop(frames[track.first_frame + index], track, index, width, height)
        for index in range(LENGTH)
    ]


def _read(clip: Path, count: int) -> list[RgbImage]:
    frames = [frame.rgb for frame in islice(Video(clip), count)]
    if len(frames) < count:
        raise PerceptionError(f"{clip} has {len(frames)} readable frames; {count} are needed.")
    return frames


def _crop(frame: RgbImage, track: PedestrianTrack, index: int, width: int, height: int) -> RgbImage:
    """The surroundings of a pedestrian, enlarged to ``width`` x ``height``."""
    scale = HEIGHT_RATIO * height / track.height_px
    x, y = track.centre(track.first_frame + index)
    matrix = np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])
    size = (width, height)
    crop = cv2.warpAffine(
        frame, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)
