"""Tight clothes, shoes and hair made of the skin itself: a part of it, copied and pushed out.

Edges lie where a sleeve or a hairline ends, labels are those of the body, and nothing but a body
is needed: whoever has the body model alone can render people who look dressed.
"""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.people.garments import HAIR, fabric, normals_of, trimmed
from thfm_ros.synth.primitives.mesh import Mesh, Palette
from thfm_ros.synth.primitives.texture import cloth

# How far sleeves and legs reach on the upper and on the lower part of the limb, 0..1.
ARMS = {"none": (0.0, -1.0), "short": (0.75, -1.0), "half": (2.0, 0.15), "long": (2.0, 0.93)}
LEGS = {"hot": (0.3, -1.0), "shorts": (0.85, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.97)}
BAREFOOT = 0.08
Vertices = Float32[np.ndarray, "v 3"]
Room = Float[np.ndarray, "v"]  # metres inside the edge; negative outside


def tight_clothes(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, palette: Palette
) -> list[Mesh]:
    """A top and something for the legs, as meshes over the skin."""
    top, legs = _regions(rng, body)
    return [
        _shell(rng, body, vertices, legs, rng.uniform(0.003, 0.01), fabric(rng, palette)),
        _shell(rng, body, vertices, top, rng.uniform(0.005, 0.016), fabric(rng, palette)),
    ]


def tight_shoes(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, palette: Palette
) -> list[Mesh]:
    """Shoes or boots; some people go barefoot."""
    if rng.random() < BAREFOOT:
        return []
    shaft = rng.uniform(0.8, 0.97)
    room = np.maximum(_limb(body, "foot", 2.0, 0.2), -_limb(body, "lower_leg", shaft, 0.4))
    room = np.where(_on(body, "foot") | _on(body, "lower_leg"), room, -1.0)
    leather = palette.material(
        palette.texture(cloth(rng, 0.9) * 0.6), shine=0.15, gloss=25, repeat=4
    )
    return [_shell(rng, body, vertices, room, rng.uniform(0.006, 0.011), leather)]


def short_hair(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, strands: int
) -> list[Mesh]:
    """Hair of up to 5 cm, uneven, labelled as hair."""
    scalp = body.masks[list(body.mask_names).index("scalp")] / 255.0
    length_m = float(rng.choice([0.004, 0.012, 0.025, 0.045], p=[0.2, 0.35, 0.3, 0.15]))
    room = (scalp - 0.4) * 0.012  # the mask rises from 0 to 1 over so many metres
    shell = _shell(rng, body, vertices, room, length_m * scalp, strands, crease=0.12)
    return [Mesh(**{**vars(shell), "parts": np.full(len(shell.parts), HAIR, np.uint8)})]


def _shell(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Vertices,
    room: Room,
    thickness_m: float | Room,
    material: int,
    crease: float = 0.25,
) -> Mesh:
    """The part of the skin that has room, moved out by a thickness that varies by ``crease``."""
    faces = body.faces[body.face_kind == 0]
    kept = faces[(room[faces] > 0).any(axis=1)]
    waves = np.zeros(len(vertices))
    for _ in range(5):
        direction = rng.standard_normal(3) * rng.uniform(15, 60)
        waves += np.sin(body.rest @ direction + rng.random() * 6.3)
    push = (0.0015 + thickness_m) * (1 + crease * 0.5 * waves)
    moved = vertices + normals_of(vertices, body.faces) * push[:, None]
    moved = trimmed(moved, kept, room)
    used, local = np.unique(kept, return_inverse=True)
    uv = body.face_uv[body.face_kind == 0][(room[faces] > 0).any(axis=1)]
    return Mesh(
        rest=moved[used].astype(np.float32),
        bones=body.bones[used],
        weights=body.weights[used],
        parts=body.parts[used],
        surface=body.surface[used],
        colours=np.ones((len(used), 3), np.float32),
        faces=local.reshape(-1, 3).astype(np.int32),
        face_uv=uv,
        materials=np.full(len(kept), material, np.int32),
    )


def _on(body: BodyAssets, part: str) -> np.ndarray:
    """Which vertices are on a part, either side."""
    labels = [PART_NAMES.index(name) for name in PART_NAMES if name.endswith(part)]
    out: np.ndarray = np.isin(body.parts, labels)
    return out


def _limb(body: BodyAssets, part: str, share: float, length_m: float) -> Room:
    """Metres to the point that lies at a share of a limb; -1 off that limb."""
    return np.where(_on(body, part), (share - body.surface[:, 2]) * length_m, -1.0)


def _regions(rng: np.random.Generator, body: BodyAssets) -> tuple[Room, Room]:
    """The room of the top and of what covers the legs."""
    arms = ARMS[str(rng.choice(list(ARMS), p=[0.1, 0.35, 0.1, 0.45]))]
    shape = LEGS[str(rng.choice(list(LEGS), p=[0.05, 0.2, 0.1, 0.65]))]
    height, torso = body.rest[:, 2], _on(body, "torso")
    waist = body.heads[list(body.bone_names).index("spine04"), 2] + rng.uniform(-0.08, 0.05)
    hem = waist - rng.uniform(0, 0.1)
    neckline = np.where(torso, (rng.uniform(0.86, 1.1) - body.surface[:, 2]) * 0.5, -1.0)
    top = np.minimum(np.where(torso, height - hem, -1.0), neckline)
    top = np.maximum(top, _limb(body, "upper_arm", arms[0], 0.3))
    top = np.maximum(top, _limb(body, "lower_arm", arms[1], 0.25))
    legs = np.where(torso, waist - height, -1.0)
    legs = np.maximum(legs, _limb(body, "upper_leg", shape[0], 0.45))
    legs = np.maximum(legs, _limb(body, "lower_leg", shape[1], 0.42))
    return top, np.where(np.isin(body.parts, (0, 1)), -1.0, legs)
