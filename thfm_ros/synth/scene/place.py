# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Random backdrops: outdoors, a room with windows, doors and posters, or a flat image."""

import numpy as np

from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.texture import fabric_texture, material_texture, wall_texture
from thfm_ros.synth.scene.assemble import PosedPerson
from thfm_ros.synth.scene.asset_choices import AssetChoices
from thfm_ros.synth.scene.flat_image import random_flat_image
from thfm_ros.synth.shading.backdrop import IMAGE, OUTDOORS, ROOM, Backdrop
from thfm_ros.synth.shading.light import Lighting

# Ranges of width, height and height of the lower edge, metres, and of brightness.
_FIXTURE_KINDS = {
    "door": ((0.8, 1.1), (1.95, 2.2), (0.0, 0.0), (0.5, 1.2)),
    "window": ((0.6, 2.5), (0.8, 1.7), (0.7, 1.0), (1.5, 5.0)),
    "poster": ((0.3, 1.6), (0.3, 1.2), (0.9, 1.6), (0.8, 1.3)),
    "cupboard": ((0.5, 1.6), (0.7, 2.1), (0.0, 0.0), (0.5, 1.1)),
}


def random_backdrop(
    rng: np.random.Generator,
    palette: Palette,
    choices: AssetChoices,
    lighting: Lighting,
    people: list[PosedPerson],
    flat_probability: float = 0.22,
) -> Backdrop:
    """Draw a backdrop that is high enough for the people.

    Args:
        rng: random generator.
        palette: textures are added to it.
        choices: the assets.
        lighting: its panorama is the sky.
        people: the people in the scene.
        flat_probability: probability of a flat image, which has no floor.
    """
    shares = [0.55 * (1 - flat_probability), 0.45 * (1 - flat_probability), flat_probability]
    mode = int(rng.choice([OUTDOORS, ROOM, IMAGE], p=shares))
    tallest = max((float(p.vertices[..., 2].max()) for p in people), default=1.7)
    half = [rng.uniform(2.2, 5), rng.uniform(2, 5), max(rng.uniform(2.3, 3.5), tallest + 0.2)]
    image = np.zeros((2, 2, 3), np.float32)
    if mode == IMAGE:
        image = random_flat_image(rng, choices.panoramas)
    return Backdrop(
        mode=mode,
        half=np.array(half),
        floor_texture=palette.texture(material_texture(rng)),
        wall_texture=palette.texture(wall_texture(rng)),
        floor_repeat=float(rng.uniform(0.2, 1.0)),
        wall_repeat=float(rng.uniform(0.15, 0.7)),
        fixtures=_fixtures(rng, palette) if mode == ROOM else np.zeros((0, 7), np.float32),
        panorama=lighting.panorama,
        azimuth=lighting.azimuth,
        gain=lighting.gain,
        image=image,
        image_window=np.array([*rng.uniform(0, 0.4, 2), rng.uniform(0.4, 0.6)]),
    )


def _fixtures(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Doors, windows, posters and cupboards on the walls, lamps on the ceiling: rows [n, 7]."""
    rows: list[tuple[float, ...]] = []
    for _ in range(rng.integers(0, 9)):
        kind = str(rng.choice(list(_FIXTURE_KINDS)))
        width, height, low, brightness = (rng.uniform(*span) for span in _FIXTURE_KINDS[kind])
        left = rng.uniform(-4, 4 - width)
        texture = -1
        if kind != "window" or rng.random() < 0.5:
            content = fabric_texture(rng, 0.2) if kind == "poster" else material_texture(rng)
            texture = palette.texture(content)
        rows.append(
            (float(rng.integers(4)), left, left + width, low, low + height, texture, brightness)
        )
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(-3, 3, 2)
        w, h = rng.uniform(0.2, 1.5), rng.uniform(0.15, 0.6)
        rows.append((4, x, x + w, y, y + h, -1, rng.uniform(2, 8)))
    return np.array(rows, np.float32).reshape(-1, 7)
