# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Hard negatives on floors and below ceilings, which resemble lying people or limbs.

Cables, tape, planks, mats and heaps of cloth are as long and as limb-like as a lying person; so are
beams and ducts, above people's heads.
"""

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.people.garments import fabric_material
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import smooth_noise
from thfm_ros.synth.scene.animals import tube
from thfm_ros.synth.scene.clutter import Prop, box, merge_props, prop_material, sheet

_POINTS = 40  # points along a cable
_TAPE_M = 0.004  # height of a marking above the floor, which avoids z-fighting


def cable(rng: np.random.Generator, palette: Palette) -> Prop:
    """One to three cables, hoses or ropes: winding lines, some of them in coils."""
    colour = prop_material(rng, palette)
    lines = [_winding_line(rng) for _ in range(rng.integers(1, 4))]
    radius = float(np.exp(rng.uniform(np.log(0.006), np.log(0.04))))
    radii = np.full(_POINTS, radius)
    return merge_props([tube(line + np.array([0, 0, radius]), radii, colour, 1) for line in lines])


def marking(rng: np.random.Generator, palette: Palette) -> Prop:
    """Tape, paint or cracks: thin strips flat on the floor, connected, crossing or single."""
    strips = []
    angle = rng.uniform(0, 6.3)
    width, colour = rng.uniform(0.02, 0.2), prop_material(rng, palette)
    for _ in range(rng.integers(1, 5)):
        angle += rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
        strip = box((rng.uniform(0.4, 3.5), width, _TAPE_M), (0, 0, 0), colour)
        strips.append(strip.moved(np.array([*rng.normal(0, 0.4, 2), 0.0]), angle))
    return merge_props(strips)


def timber(rng: np.random.Generator, palette: Palette) -> Prop:
    """Planks, pipes and boxes on the floor, single or crossed like limbs."""
    parts = []
    angle = rng.uniform(0, 6.3)
    for number in range(rng.integers(1, 5)):
        length, width = rng.uniform(0.4, 2.2), np.exp(rng.uniform(np.log(0.04), np.log(0.4)))
        size = (length, width, min(rng.uniform(0.03, 0.3), width * 1.5))
        part = box(size, (0, 0, 0), prop_material(rng, palette))
        position = np.array([*rng.normal(0, 0.35, 2), 0.03 * number])
        parts.append(part.moved(position, angle + rng.normal(0, 0.6)))
    return merge_props(parts)


def heap(rng: np.random.Generator, palette: Palette) -> Prop:
    """Empty clothes, blankets, sleeping bags or mats on the floor."""
    return merge_props([_crumpled_cloth(rng, palette) for _ in range(rng.integers(1, 4))])


def overhead(rng: np.random.Generator, palette: Palette) -> Prop:
    """Beams, ducts and lamps below the ceiling, with their supports."""
    metal, height = prop_material(rng, palette), rng.uniform(2.1, 3.2)
    parts = []
    for _ in range(rng.integers(1, 4)):
        size = (rng.uniform(0.3, 3.0), rng.uniform(0.05, 0.4), rng.uniform(0.04, 0.3))
        part = box(size, (0, 0, height), prop_material(rng, palette))
        parts.append(part.moved(np.array([*rng.normal(0, 0.5, 2), 0.0]), rng.uniform(0, 6.3)))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.normal(0, 0.5, 2)
        low = height - rng.uniform(0, 0.5)
        parts.append(box((0.03, 0.03, 3.5 - low), (x, y, low), metal))
    return merge_props(parts)


LYING_PROPS = (cable, marking, timber, heap, overhead)
"""Functions that make a prop on the floor or below the ceiling."""


def random_lying_prop(rng: np.random.Generator, palette: Palette) -> Prop:
    """Draw one of LYING_PROPS."""
    return LYING_PROPS[rng.integers(len(LYING_PROPS))](rng, palette)


def _winding_line(rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """A winding or coiled line on the floor, centred near the origin, metres."""
    length = rng.uniform(0.8, 4.0)
    bend = smooth_noise(rng, _POINTS, 1, rng.uniform(0.3, 2.5), 4)[:, 0]
    if rng.random() < 0.3:  # coiled
        bend = bend + np.linspace(0, rng.uniform(5, 20), _POINTS)
    steps = np.stack([np.cos(bend), np.sin(bend), np.zeros(_POINTS)], 1) * length / _POINTS
    line = np.cumsum(steps, axis=0)
    return np.asarray(line - line.mean(axis=0) + [*rng.normal(0, 0.2, 2), 0.0])


def _crumpled_cloth(rng: np.random.Generator, palette: Palette) -> Prop:
    """A folded cloth on the floor, from the size of a shirt to that of a blanket."""
    rows, columns = 14, 14
    length, width = rng.uniform(0.4, 2.0), rng.uniform(0.3, 0.9)
    height = rng.uniform(0.01, 0.3)
    folds = smooth_noise(rng, columns, 1, 0.5, 2)[:, 0] + smooth_noise(rng, rows, 1, 0.5, 2)
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
    # Zero height at the border, so that the cloth lies on the floor instead of floating.
    dome = np.clip(1 - (2 * np.abs(x)) ** 3, 0, 1) * np.clip(1 - (2 * np.abs(y)) ** 3, 0, 1)
    z = height * dome * np.clip(0.6 + folds, 0.1, 2.0) + _TAPE_M
    edge = rng.normal(0, 0.06, (rows, columns, 2))
    points = np.stack([x * length + edge[..., 0], y * width + edge[..., 1], z], axis=-1)
    cloth = sheet(points, fabric_material(rng, palette))
    shift = np.array([*rng.normal(0, 0.3, 2), 0.0])
    return cloth.moved(shift, rng.uniform(0, 6.3))
