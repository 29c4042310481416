# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Thin objects that a network may take for limbs: tripods, bicycles, fences, signs, bare trees.

They are drawn into backgrounds. Rendered scenes have poles and racks; these objects also have the
crossing lines and joints of a skeleton.
"""

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32

Polyline = list[tuple[float, float]]
"""Points in units of the object's height: x from its middle, y down from its top."""


def draw_thin_objects(rng: np.random.Generator, image: Float32[np.ndarray, "h w 3"]) -> None:
    """Draw one to three objects into ``image``, 0..255, in place."""
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        height = h * float(np.exp(rng.uniform(np.log(0.12), np.log(0.9))))
        origin = rng.uniform(0, w), rng.uniform(-0.1, 1) * h - 0.3 * height
        dark = rng.random() < 0.7
        colour = rng.uniform(0, 70, 3) if dark else rng.uniform(70, 255, 3)
        thickness = max(1, round(height * float(rng.uniform(0.015, 0.07))))
        lines = THIN_OBJECTS[rng.integers(len(THIN_OBJECTS))](rng)
        for line in lines:
            pixels = (np.array(line) * height + origin).round().astype(np.int32)
            cv2.polylines(image, [pixels], False, colour.tolist(), thickness, cv2.LINE_AA)


def _tripod(rng: np.random.Generator) -> list[Polyline]:
    spread, apex = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.45)
    feet = (-spread, rng.uniform(-0.1, 0.1), spread)
    legs: list[Polyline] = [[(0, apex), (foot, 1)] for foot in feet]
    braces: list[Polyline] = [[(0, apex + 0.25), (foot * 0.5, (apex + 1) / 2)] for foot in feet]
    half = rng.uniform(0.04, 0.12)
    head: Polyline = [(-half, 0.0), (half, 0.0), (half, half), (-half, half), (-half, 0.0)]
    return [*legs, *braces, [(0, 0), (0, apex + 0.2)], head]


def _ring(x: float, y: float, radius: float) -> Polyline:
    angles = np.linspace(0, 2 * np.pi, 17)
    return [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]


def _bicycle(rng: np.random.Generator) -> list[Polyline]:
    radius, apart = rng.uniform(0.28, 0.36), rng.uniform(0.5, 0.62)
    side = 1 if rng.random() < 0.5 else -1
    low = 1 - radius
    frame: Polyline = [(-apart, low), (0, low), (0.35, 0.3), (-0.2, 0.3), (-apart, low)]
    bar: Polyline = [(apart, low), (0.38, 0.1), (0.25, 0.05)]
    seat: Polyline = [(0, low), (-0.2, 0.15), (-0.32, 0.13), (-0.1, 0.13)]
    lines = [_ring(-apart, low, radius), _ring(apart, low, radius), frame, bar, seat]
    return [[(side * x, y) for x, y in line] for line in lines]


def _fence(rng: np.random.Generator) -> list[Polyline]:
    posts = np.arange(int(rng.integers(3, 12))) * rng.uniform(0.2, 0.8)
    posts = posts - posts.mean()
    upright: list[Polyline] = [[(x, 0), (x, 1)] for x in posts]
    rails: list[Polyline] = [[(posts[0], y), (posts[-1], y)] for y in (0.1, rng.uniform(0.3, 0.9))]
    braces: list[Polyline] = []
    if rng.random() < 0.5:
        pairs = list(itertools.pairwise(posts))
        braces = [[(a, 0.1), (b, 1)] for a, b in pairs] + [[(a, 1), (b, 0.1)] for a, b in pairs]
    return [*upright, *rails, *braces]


def _sign(rng: np.random.Generator) -> list[Polyline]:
    half, high = rng.uniform(0.08, 0.25), rng.uniform(0.1, 0.35)
    board: Polyline = [(-half, 0), (half, 0), (half, high), (-half, high), (-half, 0)]
    filling: list[Polyline] = [[(-half, y), (half, y)] for y in np.linspace(0, high, 6)]
    return [board, *filling, [(0, 0), (0, 1)]]


def _tree(rng: np.random.Generator) -> list[Polyline]:
    lines: list[Polyline] = [[(0, 1), (rng.normal(0, 0.05), 0.1)]]
    for _ in range(int(rng.integers(3, 9))):
        y, reach = rng.uniform(0.1, 0.8), rng.normal(0, 0.3)
        lines.append(
            [(0, y), (reach, y - 0.3 * rng.random()), (reach * 1.4, y - 0.5 * rng.random())]
        )
    return lines


THIN_OBJECTS: tuple[Callable[[np.random.Generator], list[Polyline]], ...] = (
    _tripod,
    _bicycle,
    _fence,
    _sign,
    _tree,
)
"""Functions that draw the lines of a random object of one kind."""
