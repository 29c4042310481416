"""Clothes and hair for a body that has none: regions of the skin pushed out and painted as cloth.

The edge of a sleeve or a trouser leg lies on the body's own mesh, so labels stay those of the
body, and anyone with the body model alone can render people who look dressed.
"""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.garments import HAIR, fabric, normals_of
from thfm_ros.synth.mesh import Palette
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.texture import cloth

ARMS = {"none": (0.0, -1.0), "short": (0.75, -1.0), "half": (2.0, 0.15), "long": (2.0, 0.93)}
LEGS = {"hot": (0.3, -1.0), "shorts": (0.85, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.97)}


def paint_clothes(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Float32[np.ndarray, "v 3"],
    materials: np.ndarray,
    colours: Float32[np.ndarray, "v 3"],
    palette: Palette,
) -> tuple[Float32[np.ndarray, "v 3"], np.ndarray, Float32[np.ndarray, "v 3"]]:
    """Dress: a top, something for the legs, shoes.

    Returns:
        New vertices, material per face, colours per vertex.
    """
    top, legs, shoes = _regions(rng, body)
    vertices, materials, colours = vertices.copy(), materials.copy(), colours.copy()
    normals = normals_of(vertices, body.faces)
    layers = [(legs, rng.uniform(0.004, 0.016)), (top, rng.uniform(0.005, 0.02))]
    if rng.random() < 0.92:
        layers.append((shoes, rng.uniform(0.006, 0.012)))
    for region, thickness_m in layers:
        soft = _smoothed(region.astype(float), body.faces)
        waves = sum(
            np.sin(body.rest @ (rng.standard_normal(3) * rng.uniform(15, 50)) + rng.random() * 6.3)
            for _ in range(5)
        )
        push = np.where(region, soft * thickness_m + 0.0015 * waves, 0.0)
        vertices += (normals * push[:, None]).astype(np.float32)
        inside = region[body.faces].sum(axis=1) >= 2
        if region is shoes:
            leather = palette.texture(cloth(rng, 0.9) * 0.6)
            materials[inside] = palette.material(leather, shine=0.15, gloss=25, repeat=4)
        else:
            materials[inside] = fabric(rng, palette)
        colours[region] = 1.0
    return vertices, materials, colours


def paint_hair(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Float32[np.ndarray, "v 3"],
    materials: np.ndarray,
    colours: Float32[np.ndarray, "v 3"],
    parts: np.ndarray,
    strands: int,
) -> tuple[Float32[np.ndarray, "v 3"], np.ndarray, Float32[np.ndarray, "v 3"], np.ndarray]:
    """Grow hair: the scalp pushed out by up to 5 cm, uneven, labelled as hair.

    Returns:
        New vertices, material per face, colours per vertex, part per vertex.
    """
    scalp = body.masks[list(body.mask_names).index("scalp")] / 255.0
    region = scalp > 0.4
    vertices, materials, colours = vertices.copy(), materials.copy(), colours.copy()
    waves = sum(
        np.sin(body.rest @ (rng.standard_normal(3) * rng.uniform(20, 80)) + rng.random() * 6.3)
        for _ in range(5)
    )
    length_m = rng.choice([0.004, 0.012, 0.025, 0.045], p=[0.2, 0.35, 0.3, 0.15])
    push = np.where(region, scalp * length_m * (1 + 0.12 * waves), 0.0)
    vertices += (normals_of(vertices, body.faces) * push[:, None]).astype(np.float32)
    materials[region[body.faces].sum(axis=1) >= 2] = strands
    colours[region] = 1.0
    parts = np.where(region, HAIR, parts).astype(np.uint8)
    return vertices, materials, colours, parts


def _regions(
    rng: np.random.Generator, body: BodyAssets
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which vertices the top, the trousers and the shoes cover."""
    label = {name: body.parts == PART_NAMES.index(name) for name in PART_NAMES}
    along = body.surface[:, 2]
    upper_arm, lower_arm = ARMS[str(rng.choice(list(ARMS), p=[0.1, 0.35, 0.1, 0.45]))]
    upper_leg, lower_leg = LEGS[str(rng.choice(list(LEGS), p=[0.05, 0.2, 0.1, 0.65]))]

    def pair(part: str) -> np.ndarray:
        out: np.ndarray = label["left_" + part] | label["right_" + part]
        return out

    waist = body.heads[list(body.bone_names).index("spine04"), 2] + rng.uniform(-0.08, 0.05)
    neckline = rng.uniform(0.86, 1.1)
    torso = label["torso"]
    top = torso & (body.rest[:, 2] > waist - rng.uniform(0, 0.1)) & (along < neckline)
    top |= pair("upper_arm") & (along <= upper_arm)
    top |= pair("lower_arm") & (along <= lower_arm)
    legs = torso & (body.rest[:, 2] <= waist) | (pair("upper_leg") & (along <= upper_leg))
    legs |= pair("lower_leg") & (along <= lower_leg)
    if rng.random() < 0.12:  # a dress or overall: one piece
        top |= legs
    eyes = body.masks[list(body.mask_names).index("sclera")] > 0
    ankle = rng.uniform(0.8, 0.97)
    shoes = pair("foot") | (pair("lower_leg") & (along > ankle))
    return top & ~eyes, legs & ~top & ~eyes, shoes


def _smoothed(values: Float[np.ndarray, "v"], faces: np.ndarray) -> Float[np.ndarray, "v"]:
    """Three rounds of averaging over triangles: cloth leaves the skin gently at its edge."""
    count = np.bincount(faces.ravel(), minlength=len(values)) + 1e-6
    for _ in range(3):
        mean = values[faces].mean(axis=1)
        total = np.bincount(faces.ravel(), np.repeat(mean, 3), minlength=len(values))
        values = np.where(count > 0.5, total / count, values)
    return values
