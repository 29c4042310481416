# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Busy surfaces for backgrounds: writing, windows, shelves, blinds, vehicles, rubble.

Rendered scenes have less detail than streets and furnished rooms. People in front of a bus with
windows and letters were not detected; these patches put such detail behind and beside people.
"""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

RgbImage = UInt8[np.ndarray, "h w 3"]
Motif = Callable[[np.random.Generator, RgbImage], None]
"""Paints a random pattern of one kind into the whole patch, in place."""

LETTERS = np.array(list("ABCDEFGHIKLMNOPRSTUVWXYZabcdeghiknoprstuvwz0123456789&.-%"))
FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
)


def draw_busy_surfaces(rng: np.random.Generator, image: Float32[np.ndarray, "h w 3"]) -> None:
    """Paint one to four busy patches into ``image``, 0..255, in place."""
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        height = int(h * rng.uniform(0.15, 0.9))
        width = int(np.clip(height * np.exp(rng.normal(0.3, 0.5)), 12, w))
        height = max(height, 12)
        y = rng.integers(-height // 4, h - height // 2)
        x = rng.integers(-width // 4, w - width // 2)
        patch = image[max(y, 0) : y + height, max(x, 0) : x + width]
        if min(patch.shape[:2]) >= 8:
            painted, share = patch.astype(np.uint8), rng.uniform(0.6, 1)
            MOTIFS[rng.integers(len(MOTIFS))](rng, painted)
            patch[:] = share * painted + (1 - share) * patch


def _colour(rng: np.random.Generator) -> list[float]:
    """A random colour, mostly greyish, as most things are."""
    grey = rng.uniform(0, 255)
    found: list[float] = np.clip(grey + rng.normal(0, rng.choice([8, 60]), 3), 0, 255).tolist()
    return found


def _writing(rng: np.random.Generator, patch: RgbImage) -> None:
    """Lines of letters, on a board or on the image."""
    h, w = patch.shape[:2]
    if rng.random() < 0.6:
        patch[:] = _colour(rng)
    y, ink, font = 0, _colour(rng), int(rng.choice(FONTS))
    while y < h:
        size = rng.uniform(0.2, 1.4)
        y += int(26 * size) + 2
        word = "".join(rng.choice(LETTERS, int(rng.integers(2, 14))))
        x = int(rng.integers(-5, max(w // 2, 1)))
        thick = max(1, round(size * rng.uniform(0.6, 3)))
        cv2.putText(patch, word, (x, y), font, size, ink, thick, cv2.LINE_AA)


def _windows(rng: np.random.Generator, patch: RgbImage) -> None:
    """A wall with rows of windows, some of them bright."""
    h, w = patch.shape[:2]
    if rng.random() < 0.7:
        patch[:] = _colour(rng)
    high, wide = rng.uniform(5, max(h / 2, 6)), rng.uniform(4, max(w / 2, 5))
    gap, pane, other = rng.uniform(0.15, 0.6), _colour(rng), _colour(rng)
    for top in np.arange(0, h, high):
        for left in np.arange(0, w, wide):
            fill = other if rng.random() < 0.2 else pane
            rows = slice(int(top), int(top + high * (1 - gap)))
            patch[rows, int(left) : int(left + wide * (1 - gap))] = fill


def _shelves(rng: np.random.Generator, patch: RgbImage) -> None:
    """Rows of upright objects of all colours: books, bottles, goods, parked cars from afar."""
    h, w = patch.shape[:2]
    high = rng.uniform(6, max(h / 2, 7))
    for top in np.arange(0, h, high):
        left = 0.0
        while left < w:
            wide = rng.uniform(1.5, high)
            low = top + high * rng.uniform(0.1, 0.5)
            patch[int(low) : int(top + high * 0.92), int(left) : int(left + wide)] = _colour(rng)
            left += wide + rng.choice([0.0, 1.0])


def _blinds(rng: np.random.Generator, patch: RgbImage) -> None:
    """Parallel stripes in any direction."""
    h, w = patch.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    along = np.cos(angle) * x + np.sin(angle) * y
    on = (along / rng.uniform(2, 14) + rng.random()) % 1 < rng.uniform(0.2, 0.8)
    patch[on] = _colour(rng)


def _vehicle(rng: np.random.Generator, patch: RgbImage) -> None:
    """A box with a band of windows and two wheels, sometimes with letters."""
    h, w = patch.shape[:2]
    body = patch[: int(0.88 * h)]
    body[:] = _colour(rng)
    if rng.random() < 0.5:
        _writing(rng, body[int(0.45 * h) :, int(0.1 * w) : int(0.9 * w)])
    glass = patch[int(0.1 * h) : int(rng.uniform(0.35, 0.55) * h)]
    glass[:] = _colour(rng)
    for post in np.linspace(0, w, int(rng.integers(3, 8))):
        glass[:, int(post) : int(post) + max(1, w // 40)] = _colour(rng)
    for place in (rng.uniform(0.12, 0.3), rng.uniform(0.7, 0.88)):
        centre = (int(place * w), int(0.86 * h))
        cv2.circle(patch, centre, max(2, int(0.13 * h)), _colour(rng), -1, cv2.LINE_AA)
        cv2.circle(patch, centre, max(1, int(0.06 * h)), _colour(rng), -1, cv2.LINE_AA)


def _rubble(rng: np.random.Generator, patch: RgbImage) -> None:
    """Many small objects that overlap: leaves, stones, a crowded desk."""
    h, w = patch.shape[:2]
    largest = rng.uniform(3, 0.3 * min(h, w) + 4)
    for _ in range(int(rng.integers(20, 90))):
        centre = (int(rng.integers(w)), int(rng.integers(h)))
        axes = (int(rng.uniform(1, largest)) + 1, int(rng.uniform(1, largest)) + 1)
        turn = rng.uniform(0, 180)
        if rng.random() < 0.5:
            cv2.ellipse(patch, centre, axes, turn, 0, 360, _colour(rng), -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((centre, axes, turn)).astype(np.int32)
            cv2.fillConvexPoly(patch, corners, _colour(rng), cv2.LINE_AA)


MOTIFS: tuple[Motif, ...] = (_writing, _windows, _shelves, _blinds, _vehicle, _rubble)
