"""What lies on floors or hangs from ceilings and may be taken for somebody who fell.

Cables, tape, planks, mats and heaps of cloth are as long and as limb-like as a lying person, and
beams and ducts are that above everybody's head.
"""

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.people.garments import fabric
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import smooth_noise
from thfm_ros.synth.scene.animals import tube
from thfm_ros.synth.scene.clutter import Thing, box, merged, sheet, stuff

_POINTS = 40  # along a cable
_TAPE_M = 0.004  # a marking lies so far above the floor, else both fight for the pixel


def cable(rng: np.random.Generator, palette: Palette) -> Thing:
    """One to three cables, hoses or ropes: winding lines, some of them in coils."""
    colour = stuff(rng, palette)
    lines = [_winding(rng) for _ in range(rng.integers(1, 4))]
    thick = float(np.exp(rng.uniform(np.log(0.006), np.log(0.04))))
    radii = np.full(_POINTS, thick)
    return merged([tube(line + np.array([0, 0, thick]), radii, colour, 1) for line in lines])


def marking(rng: np.random.Generator, palette: Palette) -> Thing:
    """Tape, paint or a crack: thin strips flat on the floor that meet, cross or stand alone."""
    strips = []
    turn = rng.uniform(0, 6.3)
    wide, colour = rng.uniform(0.02, 0.2), stuff(rng, palette)
    for _ in range(rng.integers(1, 5)):
        turn += rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
        strip = box((rng.uniform(0.4, 3.5), wide, _TAPE_M), (0, 0, 0), colour)
        strips.append(strip.moved(np.array([*rng.normal(0, 0.4, 2), 0.0]), turn))
    return merged(strips)


def timber(rng: np.random.Generator, palette: Palette) -> Thing:
    """Planks, pipes and boxes that lie, alone or crossed like limbs."""
    parts = []
    turn = rng.uniform(0, 6.3)
    for number in range(rng.integers(1, 5)):
        long, wide = rng.uniform(0.4, 2.2), np.exp(rng.uniform(np.log(0.04), np.log(0.4)))
        size = (long, wide, min(rng.uniform(0.03, 0.3), wide * 1.5))
        part = box(size, (0, 0, 0), stuff(rng, palette))
        place = np.array([*rng.normal(0, 0.35, 2), 0.03 * number])
        parts.append(part.moved(place, turn + rng.normal(0, 0.6)))
    return merged(parts)


def heap(rng: np.random.Generator, palette: Palette) -> Thing:
    """Clothes, a blanket, a sleeping bag or a mat that nobody wears or lies under."""
    return merged([_crumpled(rng, palette) for _ in range(rng.integers(1, 4))])


def overhead(rng: np.random.Generator, palette: Palette) -> Thing:
    """Beams, ducts and lamps that hang, with what they hang on."""
    metal, height = stuff(rng, palette), rng.uniform(2.1, 3.2)
    parts = []
    for _ in range(rng.integers(1, 4)):
        size = (rng.uniform(0.3, 3.0), rng.uniform(0.05, 0.4), rng.uniform(0.04, 0.3))
        part = box(size, (0, 0, height), stuff(rng, palette))
        parts.append(part.moved(np.array([*rng.normal(0, 0.5, 2), 0.0]), rng.uniform(0, 6.3)))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.normal(0, 0.5, 2)
        low = height - rng.uniform(0, 0.5)
        parts.append(box((0.03, 0.03, 3.5 - low), (x, y, low), metal))
    return merged(parts)


LYING = (cable, marking, timber, heap, overhead)
"""Makers of what lies or hangs."""


def random_lying(rng: np.random.Generator, palette: Palette) -> Thing:
    """Any of LYING."""
    return LYING[rng.integers(len(LYING))](rng, palette)


def _winding(rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """A line on the floor whose direction wanders or circles, about its own middle, metres."""
    long = rng.uniform(0.8, 4.0)
    bend = smooth_noise(rng, _POINTS, 1, rng.uniform(0.3, 2.5), 4)[:, 0]
    if rng.random() < 0.3:  # coiled
        bend = bend + np.linspace(0, rng.uniform(5, 20), _POINTS)
    steps = np.stack([np.cos(bend), np.sin(bend), np.zeros(_POINTS)], 1) * long / _POINTS
    line = np.cumsum(steps, axis=0)
    return np.asarray(line - line.mean(axis=0) + [*rng.normal(0, 0.2, 2), 0.0])


def _crumpled(rng: np.random.Generator, palette: Palette) -> Thing:
    """A cloth of any size between a shirt and a blanket, in folds that stand up from the floor."""
    rows, columns = 14, 14
    long, wide = rng.uniform(0.4, 2.0), rng.uniform(0.3, 0.9)
    height = rng.uniform(0.01, 0.3)
    folds = smooth_noise(rng, columns, 1, 0.5, 2)[:, 0] + smooth_noise(rng, rows, 1, 0.5, 2)
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
    # Falls to the floor at the border, so that the cloth lies on it instead of floating.
    dome = np.clip(1 - (2 * np.abs(x)) ** 3, 0, 1) * np.clip(1 - (2 * np.abs(y)) ** 3, 0, 1)
    z = height * dome * np.clip(0.6 + folds, 0.1, 2.0) + _TAPE_M
    edge = rng.normal(0, 0.06, (rows, columns, 2))
    points = np.stack([x * long + edge[..., 0], y * wide + edge[..., 1], z], axis=-1)
    cloth = sheet(points, fabric(rng, palette))
    shift = np.array([*rng.normal(0, 0.3, 2), 0.0])
    return cloth.moved(shift, rng.uniform(0, 6.3))
