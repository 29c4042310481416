# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Albedo of skin, eyes and brows per body vertex, linear light."""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.people.body import BodyShape

# african, asian, caucasian: centre of each range, varied at random
_TONES = np.array([[0.10, 0.052, 0.032], [0.60, 0.39, 0.26], [0.68, 0.45, 0.35]])
_IRISES = np.array([[0.05, 0.025, 0.01], [0.09, 0.05, 0.02], [0.1, 0.2, 0.3], [0.08, 0.14, 0.06]])
_SCLERA = np.array([0.75, 0.72, 0.70])


def skin_colours(
    rng: np.random.Generator, body: BodyAssets, shape: BodyShape, hair: Float[np.ndarray, "3"]
) -> Float32[np.ndarray, "v 3"]:
    """Draw skin colours with blotches, lips, cheeks, brows, stubble and eyes.

    Args:
        rng: random generator.
        body: the body assets.
        shape: the body; its ancestry sets the skin tone.
        hair: mean colour of the hair, for brows and stubble.
    """
    mask = {str(name): body.masks[row] / 255.0 for row, name in enumerate(body.mask_names)}
    tone = np.exp(shape.ancestry @ np.log(_TONES)) * np.exp(rng.normal(0, 0.28))
    tone = np.clip(tone, 0.02, 0.75) * [1, 1 + rng.normal(0, 0.03), 1 + rng.normal(0, 0.06)]
    blotches = np.zeros(len(body.rest))
    for _ in range(6):
        blotches += np.sin(body.rest @ (rng.standard_normal(3) * 12) + rng.random() * 6.3)
    grain = 1 + 0.05 * rng.standard_normal(len(body.rest)) + 0.03 * blotches
    colours = tone * grain[:, None]
    lips = tone * [0.95, 0.5, 0.5] * rng.uniform(0.7, 1.1)
    if shape.female and rng.random() < 0.35:
        lips = tone * [1.1, 0.3, 0.33]  # lipstick
    colours = _blend_colour(colours, mask["lips"] * 0.8, lips)
    colours *= 1 - 0.3 * mask["sockets"][:, None]
    colours *= 1 + mask["cheeks"][:, None] * [0.12, -0.06, -0.06]
    colours *= 1 - 0.15 * mask["ears"][:, None] * [0, 1, 1]
    brows = [name for name in mask if name.startswith("eyebrow")] or ["brows"]
    strength = mask[brows[rng.integers(len(brows))]] * rng.uniform(0.5, 0.95)
    colours = _blend_colour(colours, strength, hair * 1.2)
    if not shape.female and not shape.child and rng.random() < 0.45:
        colours = _blend_colour(colours, mask["stubble"] * rng.uniform(0.2, 0.9), hair * 1.3)
    iris = _IRISES[rng.choice(4, p=[0.5, 0.25, 0.15, 0.1])]
    for name, colour in (("sclera", _SCLERA), ("iris", iris), ("pupil", np.full(3, 0.01))):
        colours = _blend_colour(colours, mask[name], colour)
    return colours.astype(np.float32)


def _blend_colour(
    colours: Float[np.ndarray, "v 3"],
    strength: Float[np.ndarray, "v"],
    paint: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "v 3"]:
    share = strength[:, None]
    out: np.ndarray = colours * (1 - share) + share * paint
    return out
