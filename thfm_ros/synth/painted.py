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
Skin = tuple[Float32[np.ndarray, "v 3"], np.ndarray, Float32[np.ndarray, "v 3"]]
LEGS = {"hot": (0.3, -1.0), "shorts": (0.85, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.97)}


def paint_clothes(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Float32[np.ndarray, "v 3"],
    materials: np.ndarray,
    colours: Float32[np.ndarray, "v 3"],
    palette: Palette,
) -> Skin:
    """Dress in tight clothes: a top, something for the legs, shoes.

    Returns:
        New vertices, material per face, colours per vertex.
    """
    top, legs = _regions(rng, body)
    skin = vertices.copy(), materials.copy(), colours.copy()
    _coat(rng, body, skin, legs, rng.uniform(0.004, 0.016), fabric(rng, palette))
    _coat(rng, body, skin, top, rng.uniform(0.005, 0.02), fabric(rng, palette))
    return paint_shoes(rng, body, *skin, palette)


def paint_shoes(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Float32[np.ndarray, "v 3"],
    materials: np.ndarray,
    colours: Float32[np.ndarray, "v 3"],
    palette: Palette,
) -> Skin:
    """Put on shoes or boots; one person in twelve goes barefoot. Returns as ``paint_clothes``."""
    skin = vertices.copy(), materials.copy(), colours.copy()
    if rng.random() < 0.92:
        label = {name: body.parts == PART_NAMES.index(name) for name in PART_NAMES}
        shins = label["left_lower_leg"] | label["right_lower_leg"]
        shoes = label["left_foot"] | label["right_foot"]
        shoes |= shins & (body.surface[:, 2] > rng.uniform(0.8, 0.97))
        picture = palette.texture(cloth(rng, 0.9) * 0.6)
        leather = palette.material(picture, shine=0.15, gloss=25, repeat=4)
        _coat(rng, body, skin, shoes, rng.uniform(0.006, 0.012), leather)
    return skin


def _coat(
    rng: np.random.Generator,
    body: BodyAssets,
    skin: Skin,
    region: np.ndarray,
    thickness_m: float,
    material: int,
) -> None:
    """Cover a region of the skin, in place."""
    vertices, materials, colours = skin
    waves = np.zeros(len(vertices))
    for _ in range(5):
        direction = rng.standard_normal(3) * rng.uniform(15, 50)
        waves += np.sin(body.rest @ direction + rng.random() * 6.3)
    soft = _smoothed(region.astype(float), body.faces)
    push = np.where(region, soft * thickness_m + 0.0015 * waves, 0.0)
    vertices += (normals_of(vertices, body.faces) * push[:, None]).astype(np.float32)
    materials[region[body.faces].sum(axis=1) >= 2] = material
    colours[region] = 1.0


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


def _regions(rng: np.random.Generator, body: BodyAssets) -> tuple[np.ndarray, np.ndarray]:
    """Which vertices the top and the trousers cover."""
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
    return top & ~eyes, legs & ~top & ~eyes


def _smoothed(values: Float[np.ndarray, "v"], faces: np.ndarray) -> Float[np.ndarray, "v"]:
    """Three rounds of averaging over triangles: cloth leaves the skin gently at its edge."""
    count = np.bincount(faces.ravel(), minlength=len(values)) + 1e-6
    for _ in range(3):
        mean = values[faces].mean(axis=1)
        total = np.bincount(faces.ravel(), np.repeat(mean, 3), minlength=len(values))
        values = np.where(count > 0.5, total / count, values)
    return values
