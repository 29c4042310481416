"""Thin things that a network takes for limbs: tripods, bicycles, fences, sign posts, bare trees.

They are drawn into places without people. What is rendered has poles and racks; these have the
crossing lines and the joints of a skeleton.
"""

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32

Points = list[tuple[float, float]]
"""In units of the thing's height: x from its middle, y from its top down."""


def draw_sticks(rng: np.random.Generator, image: Float32[np.ndarray, "h w 3"]) -> None:
    """Draw one to three things into ``image``, 0..255."""
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        tall = h * float(np.exp(rng.uniform(np.log(0.12), np.log(0.9))))
        at = rng.uniform(0, w), rng.uniform(-0.1, 1) * h - 0.3 * tall
        dark = rng.random() < 0.7
        colour = rng.uniform(0, 70, 3) if dark else rng.uniform(70, 255, 3)
        thick = max(1, round(tall * float(rng.uniform(0.015, 0.07))))
        lines = THINGS[rng.integers(len(THINGS))](rng)
        for line in lines:
            pixels = (np.array(line) * tall + at).round().astype(np.int32)
            cv2.polylines(image, [pixels], False, colour.tolist(), thick, cv2.LINE_AA)


def _tripod(rng: np.random.Generator) -> list[Points]:
    spread, apex = rng.uniform(0.15, 0.4), rng.uniform(0.2, 0.45)
    feet = (-spread, rng.uniform(-0.1, 0.1), spread)
    legs: list[Points] = [[(0, apex), (foot, 1)] for foot in feet]
    braces: list[Points] = [[(0, apex + 0.25), (foot * 0.5, (apex + 1) / 2)] for foot in feet]
    half = rng.uniform(0.04, 0.12)
    head: Points = [(-half, 0.0), (half, 0.0), (half, half), (-half, half), (-half, 0.0)]
    return [*legs, *braces, [(0, 0), (0, apex + 0.2)], head]


def _ring(x: float, y: float, radius: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 17)
    return [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]


def _bicycle(rng: np.random.Generator) -> list[Points]:
    radius, apart = rng.uniform(0.28, 0.36), rng.uniform(0.5, 0.62)
    side = 1 if rng.random() < 0.5 else -1
    low = 1 - radius
    frame: Points = [(-apart, low), (0, low), (0.35, 0.3), (-0.2, 0.3), (-apart, low)]
    bar: Points = [(apart, low), (0.38, 0.1), (0.25, 0.05)]
    seat: Points = [(0, low), (-0.2, 0.15), (-0.32, 0.13), (-0.1, 0.13)]
    lines = [_ring(-apart, low, radius), _ring(apart, low, radius), frame, bar, seat]
    return [[(side * x, y) for x, y in line] for line in lines]


def _fence(rng: np.random.Generator) -> list[Points]:
    posts = np.arange(int(rng.integers(3, 12))) * rng.uniform(0.2, 0.8)
    posts = posts - posts.mean()
    upright: list[Points] = [[(x, 0), (x, 1)] for x in posts]
    rails: list[Points] = [[(posts[0], y), (posts[-1], y)] for y in (0.1, rng.uniform(0.3, 0.9))]
    crossed: list[Points] = []
    if rng.random() < 0.5:
        pairs = list(itertools.pairwise(posts))
        crossed = [[(a, 0.1), (b, 1)] for a, b in pairs] + [[(a, 1), (b, 0.1)] for a, b in pairs]
    return [*upright, *rails, *crossed]


def _sign(rng: np.random.Generator) -> list[Points]:
    half, high = rng.uniform(0.08, 0.25), rng.uniform(0.1, 0.35)
    board: Points = [(-half, 0), (half, 0), (half, high), (-half, high), (-half, 0)]
    filling: list[Points] = [[(-half, y), (half, y)] for y in np.linspace(0, high, 6)]
    return [board, *filling, [(0, 0), (0, 1)]]


def _tree(rng: np.random.Generator) -> list[Points]:
    lines: list[Points] = [[(0, 1), (rng.normal(0, 0.05), 0.1)]]
    for _ in range(int(rng.integers(3, 9))):
        y, reach = rng.uniform(0.1, 0.8), rng.normal(0, 0.3)
        lines.append(
            [(0, y), (reach, y - 0.3 * rng.random()), (reach * 1.4, y - 0.5 * rng.random())]
        )
    return lines


THINGS: tuple[Callable[[np.random.Generator], list[Points]], ...] = (
    _tripod,
    _bicycle,
    _fence,
    _sign,
    _tree,
)
