# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Outfits cut from the base mesh's helper cloth: shirts, trousers, shorts, skirts, dresses.

The body stocking is cut where a sleeve, a hem or a neckline ends and displaced from the skin, so
each person has an outfit of their own, besides the modelled suits of the pack.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import AssetPack, Garment
from thfm_ros.synth.people.garments import (
    SKIN_INSET_M,
    fabric_material,
    fit_garment,
    normals_of,
    trim_to_edge,
)
from thfm_ros.synth.primitives.mesh import Mesh, Palette

# End of sleeves and trouser legs on the upper and on the lower segment of the limb, 0..1.
SLEEVES = {"none": (0.12, -1.0), "short": (0.7, -1.0), "half": (2.0, 0.15), "long": (2.0, 0.92)}
SLEEVE_SHARE = (0.1, 0.38, 0.07, 0.45)
LEGS = {"shorts": (0.55, -1.0), "knee": (0.95, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.95)}
LEG_SHARE = (0.12, 0.13, 0.08, 0.67)

TOPLESS_SHARE = (0.08, 0.0)  # share of men and of women without a top
SHORT_TOP_SHARE = 0.08  # share of the tops that end above the waist

EdgeDistance = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Outfit:
    """The lengths and looseness of one outfit."""

    topless: bool
    sleeve: tuple[float, float]
    leg: tuple[float, float] | None  # None: a skirt is worn
    hem_z: float  # lower end of the top on the average body, metres
    waist_z: float  # upper end of the trousers on the average body, metres
    neck: float  # share of the neck that the top covers; negative: none
    skirt: float  # share of the skirt's length that is kept
    dress: bool  # top and skirt of the same fabric
    loose_top_m: float
    loose_legs_m: float


def random_outfit(rng: np.random.Generator, pack: AssetPack, female: bool) -> Outfit:
    """Draw an outfit at random."""
    heads, names = pack.body.heads, list(pack.body.bone_names)
    waist = float(heads[names.index("spine04"), 2])
    hips = float(heads[names.index("upperleg01.L"), 2])
    skirt = rng.random() < (0.3 if female else 0.04)
    leg = None if skirt else LEGS[str(rng.choice(list(LEGS), p=LEG_SHARE))]
    short = rng.random() < SHORT_TOP_SHARE
    return Outfit(
        topless=leg is not None and bool(rng.random() < TOPLESS_SHARE[female]),
        sleeve=SLEEVES[str(rng.choice(list(SLEEVES), p=SLEEVE_SHARE))],
        leg=leg,
        hem_z=waist + rng.uniform(0.04, 0.14) if short else rng.uniform(hips - 0.08, waist + 0.04),
        waist_z=rng.uniform(hips + 0.03, waist + 0.03),
        neck=float(rng.choice([-1.0, -0.3, 0.6], p=[0.5, 0.35, 0.15])),
        skirt=rng.uniform(0.3, 1.0),
        dress=bool(rng.random() < 0.5),
        loose_top_m=float(np.exp(rng.uniform(np.log(0.004), np.log(0.03)))),
        loose_legs_m=float(np.exp(rng.uniform(np.log(0.003), np.log(0.022)))),
    )


def sew_outfit(
    rng: np.random.Generator,
    pack: AssetPack,
    outfit: Outfit,
    body: Float32[np.ndarray, "v 3"],
    palette: Palette,
) -> list[Mesh]:
    """Fit an outfit to a body; covered skin is moved inwards (``body`` changes in place)."""
    by_kind = {garment.kind: garment for garment in pack.garments}
    stocking, skirt = by_kind["tights"], by_kind["skirt"]
    top, legs = (
        _top_edge_distance(stocking, pack, outfit),
        _leg_edge_distance(stocking, pack, outfit),
    )
    top_fabric, lower_fabric = (
        fabric_material(rng, palette, 0.5),
        fabric_material(rng, palette, 0.75),
    )
    flare = _flare(stocking, pack, outfit.hem_z)
    out, covered = [], np.zeros(len(top), bool)
    if not outfit.topless:
        out.append(_sew_piece(rng, stocking, top, top_fabric, outfit.loose_top_m + flare, body))
        covered |= top > 0
    if outfit.leg is None:
        edge_distance = _skirt_edge_distance(skirt, pack, outfit)
        out.append(
            _sew_piece(
                rng,
                skirt,
                edge_distance,
                top_fabric if outfit.dress else lower_fabric,
                np.zeros(len(edge_distance)),
                body,
            )
        )
    else:
        out.append(
            _sew_piece(
                rng, stocking, legs, lower_fabric, np.full(len(legs), outfit.loose_legs_m), body
            )
        )
        covered |= legs > 0
    skin = stocking.covered[covered[stocking.covered_by]]
    body[skin] -= SKIN_INSET_M * normals_of(body, pack.body.faces)[skin]
    return out


def _rest(garment: Garment, pack: AssetPack) -> Float32[np.ndarray, "n 3"]:
    """Vertices of the garment on the average body, metres."""
    out: np.ndarray = pack.body.rest[garment.reference[:, 0]]
    return out


def _limb_edge_distance(
    stocking: Garment, limb: str, share: float, length_m: float
) -> EdgeDistance:
    """Distance to the end of a sleeve or leg that covers a share of a limb; -1 off that limb."""
    left, right = (PART_NAMES.index(side + limb) for side in ("left_", "right_"))
    mine = (stocking.parts == left) | (stocking.parts == right)
    return np.where(mine, (share - stocking.dense_pose_uv[:, 2]) * length_m, -1.0)


def _top_edge_distance(stocking: Garment, pack: AssetPack, outfit: Outfit) -> EdgeDistance:
    """Distance of each vertex to the edges of the top, metres; positive inside."""
    height, along = _rest(stocking, pack)[:, 2], stocking.dense_pose_uv[:, 2]
    part = {name: stocking.parts == PART_NAMES.index(name) for name in PART_NAMES}
    trunk = part["torso"] | part["left_upper_leg"] | part["right_upper_leg"]
    edge_distance = np.where(trunk, height - outfit.hem_z, -1.0)
    edge_distance = np.maximum(
        edge_distance, _limb_edge_distance(stocking, "upper_arm", outfit.sleeve[0], 0.3)
    )
    edge_distance = np.maximum(
        edge_distance, _limb_edge_distance(stocking, "lower_arm", outfit.sleeve[1], 0.25)
    )
    out: np.ndarray = np.maximum(
        edge_distance, np.where(part["neck"], (outfit.neck - along) * 0.1, -1.0)
    )
    return out


def _leg_edge_distance(stocking: Garment, pack: AssetPack, outfit: Outfit) -> EdgeDistance:
    """As ``_top_edge_distance``, for trousers; negative everywhere with a skirt."""
    if outfit.leg is None:
        return np.full(len(stocking.parts), -1.0)
    torso = stocking.parts == PART_NAMES.index("torso")
    edge_distance = np.where(torso, outfit.waist_z - _rest(stocking, pack)[:, 2], -1.0)
    edge_distance = np.maximum(
        edge_distance, _limb_edge_distance(stocking, "upper_leg", outfit.leg[0], 0.45)
    )
    out: np.ndarray = np.maximum(
        edge_distance, _limb_edge_distance(stocking, "lower_leg", outfit.leg[1], 0.42)
    )
    return out


def _flare(stocking: Garment, pack: AssetPack, hem_z: float) -> Float[np.ndarray, "n"]:
    """Extra looseness of the top, metres: it hangs loose at the waist and lies on the shoulders."""
    height = _rest(stocking, pack)[:, 2]
    trunk = stocking.parts == PART_NAMES.index("torso")
    return np.where(trunk, np.clip((hem_z + 0.35 - height) / 0.35, 0, 1) * 0.012, 0.0)


def _skirt_edge_distance(skirt: Garment, pack: AssetPack, outfit: Outfit) -> EdgeDistance:
    height = _rest(skirt, pack)[:, 2]
    low, high = height.min(), height.max()
    edge_distance: np.ndarray = height - (high - outfit.skirt * (high - low))
    return edge_distance


def _sew_piece(
    rng: np.random.Generator,
    garment: Garment,
    edge_distance: EdgeDistance,
    fabric: int,
    loose_m: Float[np.ndarray, "n"],
    body: Float32[np.ndarray, "v 3"],
) -> Mesh:
    """Displace the cloth from the skin, crease it, and trim it at its edges."""
    vertices = fit_garment(garment, body)
    creases = np.zeros(len(vertices))
    for _ in range(7):
        direction = rng.standard_normal(3) * rng.uniform(10, 45)
        creases += np.sin(vertices @ direction + rng.random() * 6.3)
    push = 0.002 + loose_m + 0.12 * np.minimum(loose_m + 0.008, 0.02) * creases
    vertices = vertices + normals_of(vertices, garment.faces) * push[:, None]
    kept = (edge_distance[garment.faces] > 0).any(axis=1)
    vertices = trim_to_edge(vertices, garment.faces[kept], edge_distance)
    used, faces = np.unique(garment.faces[kept], return_inverse=True)
    return Mesh(
        rest=vertices[used].astype(np.float32),
        bones=garment.bones[used],
        weights=garment.weights[used],
        parts=garment.parts[used],
        dense_pose_uv=garment.dense_pose_uv[used],
        colours=np.ones((len(used), 3), np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_uv=garment.face_uv[kept],
        materials=np.full(int(kept.sum()), fabric, np.int32),
    )
