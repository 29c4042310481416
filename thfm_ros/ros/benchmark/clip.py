"""Images with one to four people of known size, cut out of the shipped street clip.

The clip's pedestrians are about 100 pixels tall. A benchmark of what runs on robots wants people
who fill the image: so a window follows each of a few pedestrians, and is enlarged.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PerceptionError

RgbImage = UInt8[np.ndarray, "h w 3"]

CLIP = Path(__file__).resolve().parents[2] / "clips" / "street.mp4"
LENGTH = 40
"""Frames cut out for each person."""
FILL = 0.74
"""A person's height / that of the image."""


@dataclass(frozen=True)
class Walk:
    """Where one pedestrian of the clip is, from ``first`` on for `LENGTH` frames."""

    first: int
    height_px: float
    path: tuple[tuple[int, float, float], ...]  # frame, x, y of the middle

    def centre(self, frame: int) -> tuple[float, float]:
        """The middle of the person in a frame of the clip, pixels."""
        at, x, y = zip(*self.path, strict=True)
        return float(np.interp(frame, at, x)), float(np.interp(frame, at, y))


# Those who keep away from the others, the tallest first. Found by the difference from the clip's
# media image.
WALKS = (
    Walk(128, 138, ((128, 371, 470), (147, 363, 447), (158, 336, 427), (169, 256, 407))),
    Walk(128, 100, ((128, 585, 329), (140, 520, 294), (152, 481, 264), (168, 475, 230))),
    Walk(40, 110, ((35, 652, 329), (43, 657, 347), (51, 656, 358), (82, 645, 359))),
    Walk(34, 70, ((30, 208, 208), (42, 165, 202), (56, 110, 201), (73, 28, 208))),
)


def people_clip(people: int, width: int, height: int, clip: Path = CLIP) -> list[RgbImage]:
    """Images (RGB) that can be shown round and round: forwards, then backwards.

    Args:
        people: 1 to 4, side by side in strips of equal width.
        width: of the images, pixels.
        height: the same.
        clip: the street clip, or a copy of it.
    """
    if not 1 <= people <= len(WALKS):
        raise PerceptionError(f"people is {people}; the clip has 1 to {len(WALKS)} people to show.")
    chosen = WALKS[:people]
    last = max(walk.first for walk in chosen) + LENGTH
    frames = _read(clip, last)
    edges = np.linspace(0, width, people + 1).round().astype(int)
    forwards = []
    for number in range(LENGTH):
        strips = [
            _window(frames[walk.first + number], walk, number, int(right - left), height)
            for walk, left, right in zip(chosen, edges[:-1], edges[1:], strict=True)
        ]
        forwards.append(np.hstack(strips))
    return forwards + forwards[-2:0:-1]


def walker_clip(number: int, width: int, height: int, clip: Path = CLIP) -> list[RgbImage]:
    """One of the walkers alone, once, as `people_clip` shows the first of them."""
    walk = WALKS[number]
    frames = _read(clip, walk.first + LENGTH)
    return [
        _window(frames[walk.first + frame], walk, frame, width, height) for frame in range(LENGTH)
    ]


def _read(clip: Path, count: int) -> list[RgbImage]:
    capture = cv2.VideoCapture(str(clip))
    frames: list[RgbImage] = []
    while len(frames) < count:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    if len(frames) < count:
        raise PerceptionError(f"{clip} has {len(frames)} readable frames; {count} are needed.")
    return frames


def _window(frame: RgbImage, walk: Walk, number: int, width: int, height: int) -> RgbImage:
    """The surroundings of a person, enlarged to ``width`` x ``height``."""
    scale = FILL * height / walk.height_px
    x, y = walk.centre(walk.first + number)
    matrix = np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])
    size = (width, height)
    window = cv2.warpAffine(
        frame, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(window, np.uint8)
