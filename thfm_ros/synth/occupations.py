"""What hands do. Each is a path of the wrist relative to the shoulder.

Units are arm lengths, axes are the chest's: x to the person's left, -y ahead, z up. A rule is
written for the left hand; the right one is mirrored.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Times = Float[np.ndarray, "t"]
Path = Float[np.ndarray, "t 3"]
Hands = Callable[[str, float, Times], tuple[Path, Float[np.ndarray, "3"], float]]
DOWN_BACK = np.array([0.35, 0.6, -0.7])
DOWN = np.array([0.45, 0.15, -1.0])
OUT = np.array([1.0, 0.3, -0.35])

STANDING = {
    "rest": 3, "talk": 3, "wave": 1.2, "reach": 2, "point": 1, "phone": 1.5, "hips": 1,
    "crossed": 1, "carry": 1.5, "drink": 1, "clap": 0.6, "call": 1, "head": 0.6, "stop": 0.7,
    "raise": 0.8, "work": 1, "fists": 0.3, "pockets": 1, "behind": 0.5,
}  # fmt: skip
SEATED = {
    "lap": 3, "work": 4, "talk": 2.5, "phone": 2, "drink": 1, "crossed": 1, "reach": 1.5,
    "wave": 0.7, "chin": 1.2, "head": 0.5, "read": 1.2, "raise": 0.5, "rest": 0.7,
}  # fmt: skip


def _around(
    place: Float[np.ndarray, "3"], size: Float[np.ndarray, "3"], hertz: float, phase: float,
) -> Callable[[Times], Path]:
    """A Lissajous path about a place."""

    def path(times: Times) -> Path:
        angle = 2 * np.pi * hertz * times[:, None] * [1.0, 1.31, 0.77] + phase + [0.0, 1.3, 2.1]
        return place + np.sin(angle) * size

    return path


def _both(
    rng: np.random.Generator,
    place: tuple[float, float, float],
    spread: float,
    *,
    elbow: Float[np.ndarray, "3"] = DOWN,
    moves: float = 0.03,
    hertz: float = 0.5,
    twist: float = 0.0,
    share: float = 0.5,
) -> Hands:
    """Both hands near mirrored places, with probability ``share``; else one of them hangs."""
    both, busy = rng.random() < share, "L" if rng.random() < 0.5 else "R"
    hertz = hertz * rng.uniform(0.6, 1.5)
    plans = {}
    for side in "LR":
        active = both or side == busy
        base = np.array(place) if active else np.array([0.1, -0.08, -0.93])
        base = base + rng.normal(0, spread if active else 0.05, 3)
        size = np.abs(rng.normal(0, moves if active else 0.01, 3))
        bend = (elbow if active else DOWN_BACK) + rng.normal(0, 0.15, 3)
        turn = twist + rng.normal(0, 0.35) if active else rng.normal(0, 0.25)
        plans[side] = (_around(base, size, hertz, rng.uniform(0, 6.28)), bend, turn)

    def hands(side: str, sign: float, times: Times) -> tuple[Path, np.ndarray, float]:
        path, bend, turn = plans[side]
        mirror = np.array([sign, 1.0, 1.0])
        return path(times) * mirror, bend * mirror, turn

    return hands


Maker = Callable[[np.random.Generator], Hands]
OCCUPATIONS: dict[str, Maker] = {
    "rest": lambda r: _both(r, (0.12, -0.1, -0.92), 0.06, elbow=DOWN_BACK, share=1),
    "talk": lambda r: _both(r, (0.0, -0.5, -0.3), 0.14, moves=0.12, hertz=0.9, twist=0.5, share=0.7),
    "wave": lambda r: _both(r, (0.3, -0.25, 0.5), 0.15, elbow=OUT, moves=0.15, hertz=1.6, share=0.15),
    "reach": lambda r: _both(r, (0.05, -0.8, 0.0), 0.25, moves=0.08, hertz=0.4, share=0.4),
    "point": lambda r: _both(r, (0.15, -0.93, 0.05), 0.22, moves=0.03, share=0.05),
    "phone": lambda r: _both(r, (-0.12, -0.5, -0.2), 0.07, moves=0.01, twist=0.9, share=0.4),
    "hips": lambda r: _both(r, (0.1, 0.05, -0.68), 0.04, elbow=np.array([1.0, 0.4, 0.0]), share=0.75),
    "crossed": lambda r: _both(r, (-0.42, -0.36, -0.33), 0.05, elbow=DOWN, moves=0.005, share=1),
    "carry": lambda r: _both(r, (-0.05, -0.5, -0.45), 0.09, moves=0.015, share=0.8),
    "drink": lambda r: _both(r, (-0.2, -0.35, 0.05), 0.08, moves=0.06, hertz=0.3, share=0.0),
    "clap": lambda r: _both(r, (-0.28, -0.5, -0.1), 0.04, moves=0.07, hertz=2.0, share=1),
    "call": lambda r: _both(r, (-0.1, -0.08, 0.22), 0.05, elbow=OUT, moves=0.01, share=0.0),
    "head": lambda r: _both(r, (-0.15, -0.05, 0.42), 0.07, elbow=OUT, moves=0.03, share=0.5),
    "stop": lambda r: _both(r, (0.05, -0.75, 0.15), 0.1, moves=0.03, twist=-0.8, share=0.4),
    "raise": lambda r: _both(r, (0.15, -0.15, 0.9), 0.15, elbow=OUT, moves=0.08, share=0.5),
    "work": lambda r: _both(r, (-0.1, -0.55, -0.5), 0.1, moves=0.06, hertz=0.8, share=0.9),
    "fists": lambda r: _both(r, (-0.15, -0.4, 0.0), 0.1, moves=0.1, hertz=1.5, share=1),
    "pockets": lambda r: _both(r, (0.12, -0.02, -0.8), 0.03, elbow=np.array([1.0, 0.6, -0.2]), share=0.8),
    "behind": lambda r: _both(r, (-0.25, 0.3, -0.8), 0.05, elbow=np.array([0.8, 0.8, -0.2]), share=1),
    "lap": lambda r: _both(r, (-0.05, -0.42, -0.68), 0.08, moves=0.01, share=0.9),
    "chin": lambda r: _both(r, (-0.22, -0.28, 0.08), 0.05, moves=0.01, share=0.2),
    "read": lambda r: _both(r, (-0.1, -0.52, -0.25), 0.06, moves=0.01, twist=0.8, share=0.95),
}  # fmt: skip
"""A maker of paths for each name in STANDING and SEATED."""
