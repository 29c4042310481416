# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Occupations of the hands: paths of the wrists relative to the shoulders.

Units are arm lengths, axes are the chest's: x to the person's left, -y ahead, z up. Each occupation
is given for the left hand; the right hand is mirrored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Times = Float[np.ndarray, "t"]
Path = Float[np.ndarray, "t 3"]
Hands = Callable[[str, float, Times], tuple[Path, Float[np.ndarray, "3"], float]]
"""From side, sign of the outward x axis and times (seconds) to the path of the wrist, the direction
towards which the elbow bends, and the twist of the hand about the forearm (radians)."""
DOWN_BACK = np.array([0.35, 0.6, -0.7])
DOWN = np.array([0.45, 0.15, -1.0])
OUTWARDS = np.array([1.0, 0.3, -0.35])

STANDING = {
    "rest": 3, "talk": 3, "wave": 1.2, "reach": 2, "point": 1, "phone": 1.5, "hips": 1,
    "crossed": 1, "carry": 1.5, "drink": 1, "clap": 0.6, "call": 1, "head": 0.6, "stop": 0.7,
    "raise": 0.8, "work": 1, "fists": 0.3, "pockets": 1, "behind": 0.5,
}  # fmt: skip
SEATED = {
    "lap": 3, "work": 4, "talk": 2.5, "phone": 2, "drink": 1, "crossed": 1, "reach": 1.5,
    "wave": 0.7, "chin": 1.2, "head": 0.5, "read": 1.2, "raise": 0.5, "rest": 0.7,
}  # fmt: skip


def _lissajous(
    position: Float[np.ndarray, "3"],
    size: Float[np.ndarray, "3"],
    hertz: float,
    phase: float,
) -> Callable[[Times], Path]:
    """A Lissajous path about a position."""

    def path(times: Times) -> Path:
        angle = 2 * np.pi * hertz * times[:, None] * [1.0, 1.31, 0.77] + phase + [0.0, 1.3, 2.1]
        out: np.ndarray = position + np.sin(angle) * size
        return out

    return path


ELBOW_OUT = np.array([1.0, 0.4, 0.0])
ELBOW_BACK = np.array([0.9, 0.7, -0.2])


@dataclass(frozen=True)
class Occupation:
    """Position and motion of occupied wrists, and whether one hand is occupied or both."""

    position: tuple[float, float, float]
    spread: float  # standard deviation of the position between people
    amplitude: float = 0.03  # standard deviation of the path's amplitude
    hertz: float = 0.5
    twist: float = 0.0  # rotation of the hand about the forearm, radians
    both: float = 0.5  # probability that both hands are occupied
    elbow: Float[np.ndarray, "3"] = field(default_factory=lambda: DOWN)


OCCUPATIONS: dict[str, Occupation] = {
    "rest": Occupation((0.12, -0.1, -0.92), 0.06, both=1, elbow=DOWN_BACK),
    "talk": Occupation((0.0, -0.5, -0.3), 0.14, amplitude=0.12, hertz=0.9, twist=0.5, both=0.7),
    "wave": Occupation(
        (0.3, -0.25, 0.5), 0.15, amplitude=0.15, hertz=1.6, both=0.15, elbow=OUTWARDS
    ),
    "reach": Occupation((0.05, -0.8, 0.0), 0.25, amplitude=0.08, hertz=0.4, both=0.4),
    "point": Occupation((0.15, -0.93, 0.05), 0.22, both=0.05),
    "phone": Occupation((-0.12, -0.5, -0.2), 0.07, amplitude=0.01, twist=0.9, both=0.4),
    "hips": Occupation((0.1, 0.05, -0.68), 0.04, both=0.75, elbow=ELBOW_OUT),
    "crossed": Occupation((-0.42, -0.36, -0.33), 0.05, amplitude=0.005, both=1),
    "carry": Occupation((-0.05, -0.5, -0.45), 0.09, amplitude=0.015, both=0.8),
    "drink": Occupation((-0.2, -0.35, 0.05), 0.08, amplitude=0.06, hertz=0.3, both=0.0),
    "clap": Occupation((-0.28, -0.5, -0.1), 0.04, amplitude=0.07, hertz=2.0, both=1),
    "call": Occupation((-0.1, -0.08, 0.22), 0.05, amplitude=0.01, both=0.0, elbow=OUTWARDS),
    "head": Occupation((-0.15, -0.05, 0.42), 0.07, elbow=OUTWARDS),
    "stop": Occupation((0.05, -0.75, 0.15), 0.1, twist=-0.8, both=0.4),
    "raise": Occupation((0.15, -0.15, 0.9), 0.15, amplitude=0.08, elbow=OUTWARDS),
    "work": Occupation((-0.1, -0.55, -0.5), 0.1, amplitude=0.06, hertz=0.8, both=0.9),
    "fists": Occupation((-0.15, -0.4, 0.0), 0.1, amplitude=0.1, hertz=1.5, both=1),
    "pockets": Occupation((0.12, -0.02, -0.8), 0.03, both=0.8, elbow=ELBOW_BACK),
    "behind": Occupation((-0.25, 0.3, -0.8), 0.05, both=1, elbow=ELBOW_BACK),
    "lap": Occupation((-0.05, -0.42, -0.68), 0.08, amplitude=0.01, both=0.9),
    "chin": Occupation((-0.22, -0.28, 0.08), 0.05, amplitude=0.01, both=0.2),
    "read": Occupation((-0.1, -0.52, -0.25), 0.06, amplitude=0.01, twist=0.8, both=0.95),
}


def occupied_hands(rng: np.random.Generator, occupation: Occupation) -> Hands:
    """Draw the motion of both wrists for an occupation; a hand that is not occupied hangs."""
    both, occupied_side = rng.random() < occupation.both, "L" if rng.random() < 0.5 else "R"
    hertz = occupation.hertz * rng.uniform(0.6, 1.5)
    plans = {}
    for side in "LR":
        active = both or side == occupied_side
        base = np.array(occupation.position if active else OCCUPATIONS["rest"].position)
        base = base + rng.normal(0, occupation.spread if active else 0.05, 3)
        size = np.abs(rng.normal(0, occupation.amplitude if active else 0.01, 3))
        elbow = (occupation.elbow if active else DOWN_BACK) + rng.normal(0, 0.15, 3)
        twist = occupation.twist + rng.normal(0, 0.35) if active else rng.normal(0, 0.25)
        plans[side] = (_lissajous(base, size, hertz, rng.uniform(0, 6.28)), elbow, twist)

    def hands(side: str, sign: float, times: Times) -> tuple[Path, np.ndarray, float]:
        path, elbow, twist = plans[side]
        mirror = np.array([sign, 1.0, 1.0])
        return path(times) * mirror, elbow * mirror, twist

    return hands
