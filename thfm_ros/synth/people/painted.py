# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tight clothes, shoes and short hair made from the skin mesh: a region of it, displaced outwards.

Labels are those of the body, and no garment asset is needed, so people look dressed even when the
pack holds nothing but the body model.
"""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.people.garments import HAIR, fabric_material, normals_of, trim_to_edge
from thfm_ros.synth.primitives.mesh import Mesh, Palette
from thfm_ros.synth.primitives.texture import fabric_texture

# End of sleeves and trouser legs on the upper and on the lower segment of the limb, 0..1.
SLEEVES = {"none": (0.0, -1.0), "short": (0.75, -1.0), "half": (2.0, 0.15), "long": (2.0, 0.93)}
LEGS = {"hot": (0.3, -1.0), "shorts": (0.85, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.97)}
BAREFOOT_SHARE = 0.08
Vertices = Float32[np.ndarray, "v 3"]
EdgeDistance = Float[np.ndarray, "v"]  # distance to the garment's edge, metres; positive inside


def tight_clothes(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, palette: Palette
) -> list[Mesh]:
    """A top and a garment for the legs, as meshes over the skin."""
    top, legs = _edge_distances(rng, body)
    return [
        _shell(rng, body, vertices, legs, rng.uniform(0.003, 0.01), fabric_material(rng, palette)),
        _shell(rng, body, vertices, top, rng.uniform(0.005, 0.016), fabric_material(rng, palette)),
    ]


def tight_shoes(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, palette: Palette
) -> list[Mesh]:
    """Shoes or boots; none with probability BAREFOOT_SHARE."""
    if rng.random() < BAREFOOT_SHARE:
        return []
    shaft = rng.uniform(0.8, 0.97)
    edge_distance = np.maximum(
        _limb_edge_distance(body, "foot", 2.0, 0.2),
        -_limb_edge_distance(body, "lower_leg", shaft, 0.4),
    )
    edge_distance = np.where(
        _on_part(body, "foot") | _on_part(body, "lower_leg"), edge_distance, -1.0
    )
    leather = palette.material(
        palette.texture(fabric_texture(rng, 0.9) * 0.6), shine=0.15, gloss=25, repeat=4
    )
    return [_shell(rng, body, vertices, edge_distance, rng.uniform(0.006, 0.011), leather)]


def short_hair(
    rng: np.random.Generator, body: BodyAssets, vertices: Vertices, hair_material: int
) -> list[Mesh]:
    """Uneven hair of up to 5 cm, labelled as hair."""
    scalp = body.masks[list(body.mask_names).index("scalp")] / 255.0
    length_m = float(rng.choice([0.004, 0.012, 0.025, 0.045], p=[0.2, 0.35, 0.3, 0.15]))
    edge_distance = (scalp - 0.4) * 0.012  # the mask rises from 0 to 1 over 12 mm
    shell = _shell(rng, body, vertices, edge_distance, length_m * scalp, hair_material, crease=0.12)
    return [Mesh(**{**vars(shell), "parts": np.full(len(shell.parts), HAIR, np.uint8)})]


def _shell(
    rng: np.random.Generator,
    body: BodyAssets,
    vertices: Vertices,
    edge_distance: EdgeDistance,
    thickness_m: float | EdgeDistance,
    material: int,
    crease: float = 0.25,
) -> Mesh:
    """The skin within the edge, displaced outwards by a thickness that varies by ``crease``."""
    faces = body.faces[body.face_kind == 0]
    kept = faces[(edge_distance[faces] > 0).any(axis=1)]
    waves = np.zeros(len(vertices))
    for _ in range(5):
        direction = rng.standard_normal(3) * rng.uniform(15, 60)
        waves += np.sin(body.rest @ direction + rng.random() * 6.3)
    push = (0.0015 + thickness_m) * (1 + crease * 0.5 * waves)
    moved = vertices + normals_of(vertices, body.faces) * push[:, None]
    moved = trim_to_edge(moved, kept, edge_distance)
    used, local = np.unique(kept, return_inverse=True)
    uv = body.face_uv[body.face_kind == 0][(edge_distance[faces] > 0).any(axis=1)]
    return Mesh(
        rest=moved[used].astype(np.float32),
        bones=body.bones[used],
        weights=body.weights[used],
        parts=body.parts[used],
        dense_pose_uv=body.dense_pose_uv[used],
        colours=np.ones((len(used), 3), np.float32),
        faces=local.reshape(-1, 3).astype(np.int32),
        face_uv=uv,
        materials=np.full(len(kept), material, np.int32),
    )


def _on_part(body: BodyAssets, part: str) -> np.ndarray:
    """Mask of the vertices on a body part, either side [v]."""
    labels = [PART_NAMES.index(name) for name in PART_NAMES if name.endswith(part)]
    out: np.ndarray = np.isin(body.parts, labels)
    return out


def _limb_edge_distance(body: BodyAssets, part: str, share: float, length_m: float) -> EdgeDistance:
    """Distance to the point at a share of a limb's length, metres; -1 off that limb."""
    return np.where(_on_part(body, part), (share - body.dense_pose_uv[:, 2]) * length_m, -1.0)


def _edge_distances(
    rng: np.random.Generator, body: BodyAssets
) -> tuple[EdgeDistance, EdgeDistance]:
    """Edge distances of the top and of the garment for the legs."""
    sleeve = SLEEVES[str(rng.choice(list(SLEEVES), p=[0.1, 0.35, 0.1, 0.45]))]
    leg = LEGS[str(rng.choice(list(LEGS), p=[0.05, 0.2, 0.1, 0.65]))]
    height, torso = body.rest[:, 2], _on_part(body, "torso")
    waist = body.heads[list(body.bone_names).index("spine04"), 2] + rng.uniform(-0.08, 0.05)
    hem = waist - rng.uniform(0, 0.1)
    neckline = np.where(torso, (rng.uniform(0.86, 1.1) - body.dense_pose_uv[:, 2]) * 0.5, -1.0)
    top = np.minimum(np.where(torso, height - hem, -1.0), neckline)
    top = np.maximum(top, _limb_edge_distance(body, "upper_arm", sleeve[0], 0.3))
    top = np.maximum(top, _limb_edge_distance(body, "lower_arm", sleeve[1], 0.25))
    legs = np.where(torso, waist - height, -1.0)
    legs = np.maximum(legs, _limb_edge_distance(body, "upper_leg", leg[0], 0.45))
    legs = np.maximum(legs, _limb_edge_distance(body, "lower_leg", leg[1], 0.42))
    return top, np.where(np.isin(body.parts, (0, 1)), -1.0, legs)
