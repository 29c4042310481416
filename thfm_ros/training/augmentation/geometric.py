"""How a sample is moved: from rendered pixels to the sample's own."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class CropStyle:
    """How far samples stray from what was rendered."""

    size: int = 128
    ease: float = 0.0  # 1: early training, few occluders and small turns
    calm: float = 0.0  # share of the clips that are shown as they were rendered, only moved


@dataclass(frozen=True, slots=True)
class Move:
    """Similarity transform from rendered pixels to the sample's, with or without a mirror."""

    matrix: np.ndarray  # [2 3], pixel-centre convention of OpenCV (the first centre is 0)
    zoom: float
    turn: float
    mirrored: bool


def similarity(
    rendered: tuple[int, int],
    middle: Float[np.ndarray, "2"],
    scale: float,
    turn: float = 0.0,
    *,
    mirrored: bool = False,
) -> Float[np.ndarray, "2 3"]:
    """Mirror, turn and scale an image (width, height) about its middle, and bring that to a place.

    The first pixel's centre is 0, as OpenCV counts; ``turn`` is in radians.
    """
    cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
    matrix: np.ndarray = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    if mirrored:
        matrix = matrix @ np.array([[-1, 0, rendered[0] - 1], [0, 1, 0], [0, 0, 1.0]])
    matrix[:, 2] += middle - (matrix[:, :2] @ ((np.array(rendered) - 1) / 2) + matrix[:, 2])
    return matrix


def draw_move(rng: np.random.Generator, rendered: int, style: CropStyle) -> Move:
    """Draw the geometric disturbance: what a detector's box does wrong, and what heads tilt."""
    firm = 1 - style.ease
    zoom, shift = float(np.exp(rng.normal(0.04, 0.15))), rng.normal(0, 0.06, 2)
    turn = rng.normal(0, np.radians(10))
    if rng.random() < 0.1 * firm:
        turn = rng.uniform(-0.8, 0.8)
    elif rng.random() < 0.15 * firm:
        turn = rng.uniform(-np.pi, np.pi)  # who lies or stands on the hands was rarely rendered
    chance = rng.random()
    if chance < 0.1 * firm:
        zoom, shift = rng.uniform(0.45, 0.75), rng.uniform(-0.15, 0.15, 2)
    elif chance < 0.2 * firm:
        zoom, shift = rng.uniform(1.2, 1.7), rng.uniform(-0.2, 0.2, 2)
    mirrored = bool(rng.random() < 0.5)
    scale = style.size / rendered * zoom
    middle = np.full(2, (style.size - 1) / 2) + shift * style.size
    matrix = similarity((rendered, rendered), middle, scale, float(turn), mirrored=mirrored)
    return Move(matrix, scale, float(turn), mirrored)


def trembled(rng: np.random.Generator, move: Move, size: int, frames: int) -> list[Move]:
    """The same move for every frame of a clip, as a camera in a hand or on a vehicle shakes it."""
    most = size * float(np.exp(rng.uniform(np.log(0.0005), np.log(0.006))))  # pixels per frame
    way = np.cumsum(rng.normal(0, most, (frames, 2)), axis=0)
    return [replace(move, matrix=move.matrix + np.array([[0, 0, x], [0, 0, y]])) for x, y in way]
