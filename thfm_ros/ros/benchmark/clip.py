# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images with one to eight people of known size, cropped from the shipped street clip.

The clip's pedestrians are about 100 pixels tall, but people near a robot fill the image. So a crop
follows each of a few pedestrians and is enlarged.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PADDING_GREY, PerceptionError
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


MAX_PEOPLE = 2 * len(PEDESTRIANS)


def grid_of(people: int) -> tuple[int, int]:
    """Rows and columns of the cells of `people_clip`."""
    rows = 1 if people <= len(PEDESTRIANS) else 2
    return rows, -(-people // rows)


def people_clip(people: int, width: int, height: int, clip: Path = CLIP) -> list[RgbImage]:
    """Images (RGB uint8) that can be repeated without a jump: forwards, then backwards.

    Args:
        people: 1 to 8, each in a cell of a grid: one row of up to four, else two rows. The fifth
            and further ones are mirrored images of the first ones, a second later.
        width: of the images, pixels.
        height: of the images, pixels.
        clip: the street clip, or a copy of it.

    Raises:
        PerceptionError: there are not so many pedestrians, or the clip cannot be read.
    """
    if not 1 <= people <= MAX_PEOPLE:
        raise PerceptionError(f"people is {people}; the clip has 1 to {MAX_PEOPLE}.")
    rows, columns = grid_of(people)
    frames = _read(clip, max(each.first_frame for each in PEDESTRIANS[:people]) + LENGTH)
    x = np.linspace(0, width, columns + 1).round().astype(int)
    y = np.linspace(0, height, rows + 1).round().astype(int)
    forwards = []
    for index in range(LENGTH):
        image = np.full((height, width, 3), PADDING_GREY, np.uint8)
        for number in range(people):
            row, column = divmod(number, columns)
            track = PEDESTRIANS[number % len(PEDESTRIANS)]
            mirrored = number >= len(PEDESTRIANS)
            moment = (index + LENGTH // 4) % LENGTH if mirrored else index
            cell = image[y[row] : y[row + 1], x[column] : x[column + 1]]
            frame = frames[track.first_frame + moment]
            crop = _crop(frame, track, moment, cell.shape[1], cell.shape[0])
            cell[:] = crop[:, ::-1] if mirrored else crop
        forwards.append(image)
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
