# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Person model: a random body with skin, hair and clothes in rest pose."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from thfm_ros.synth.pack import AssetPack, BodyAssets, Garment
from thfm_ros.synth.people.appearance import skin_colours
from thfm_ros.synth.people.body import BodyShape, random_body_shape, with_random_expression
from thfm_ros.synth.people.garments import (
    add_wrinkles,
    fabric_material,
    fit_garment,
    garment_mesh,
    inset_skin,
    layer_materials,
)
from thfm_ros.synth.people.painted import short_hair, tight_clothes, tight_shoes
from thfm_ros.synth.people.tailor import random_outfit, sew_outfit
from thfm_ros.synth.primitives.mesh import Mesh, Palette, drop_unused_vertices, join_meshes
from thfm_ros.synth.primitives.texture import fabric_texture, hair_texture

_LONG_HAIR = ("long01", "bob01", "bob02", "braid01", "ponytail01", "short02", "afro01")
_SHORT_HAIR = ("short01", "short02", "short03", "short04", "afro01")
# Share of people who wear one.
_WORN_SHARE = {"suit": 1.0, "shoes": 0.92, "hair": 0.93, "hat": 0.06}


@dataclass(frozen=True)
class PersonModel:
    """A dressed body in rest pose, metres."""

    shape: BodyShape
    mesh: Mesh
    # The body's regressor_vertices before clothes displace them.
    landmarks: Float32[np.ndarray, "m 3"]


def random_person_model(
    rng: np.random.Generator,
    pack: AssetPack,
    palette: Palette,
    samples: np.ndarray | None = None,
) -> PersonModel:
    """Draw a person.

    Args:
        rng: random generator.
        pack: the assets.
        palette: textures and materials are added to it.
        samples: indices of the sampled bodies that may be used; None means all.
    """
    shape = random_body_shape(rng, pack.body, samples)
    body = with_random_expression(rng, pack.body, shape.vertices)
    landmarks = body[pack.body.regressor_vertices]
    texture, hair_colour = hair_texture(rng)
    colours = skin_colours(rng, pack.body, shape, hair_colour)
    hair_material = palette.material(
        palette.texture(texture), shine=0.12, gloss=14, wrap=0.2, stretch=0.5
    )
    materials = _skin_materials(rng, pack.body, palette)
    worn, hidden, has_hair = _dress(rng, pack, shape, body, palette, hair_material)
    if has_hair:
        colours = _tint_scalp(pack.body, colours, hair_colour)
    kept = ~hidden[pack.body.faces].all(axis=1) & (pack.body.face_kind < 2)
    skin = Mesh(
        rest=body,
        bones=pack.body.bones,
        weights=pack.body.weights,
        parts=pack.body.parts,
        dense_pose_uv=pack.body.dense_pose_uv,
        colours=colours,
        faces=pack.body.faces[kept],
        face_uv=pack.body.face_uv[kept],
        materials=materials[kept],
    )
    return PersonModel(shape, join_meshes([drop_unused_vertices(skin), *worn]), landmarks)


def _dress(
    rng: np.random.Generator,
    pack: AssetPack,
    shape: BodyShape,
    body: np.ndarray,
    palette: Palette,
    hair_material: int,
) -> tuple[list[Mesh], np.ndarray, bool]:
    """Clothes and hair, mask of the body vertices that they replace, and whether there is hair.

    ``body`` is changed in place: covered skin is moved inwards.
    """
    kinds = {garment.kind for garment in pack.garments}
    hidden = np.zeros(len(body), bool)
    worn: list[Mesh] = []
    wanted: tuple[str, ...] = ("suit", "shoes", "hair", "hat")
    if "tights" in kinds and (rng.random() < 0.5 or "suit" not in kinds):
        worn += sew_outfit(rng, pack, random_outfit(rng, pack, shape.female), body, palette)
        wanted = wanted[1:]
    garments = _choose_garments(rng, pack, shape, wanted)
    for garment in garments:
        worn.append(_garment_on_body(rng, garment, body, pack.body, palette, hair_material))
        hidden[garment.hidden] = True
    if not kinds & {"suit", "tights"} or rng.random() < 0.04:
        worn += tight_clothes(rng, pack.body, body, palette)
    if "shoes" not in kinds:
        worn += tight_shoes(rng, pack.body, body, palette)
    has_hair = any(garment.kind == "hair" for garment in garments)
    if "hair" not in kinds and rng.random() < 0.93:
        worn += short_hair(rng, pack.body, body, hair_material)
        has_hair = True
    return worn, hidden, has_hair


def _tint_scalp(body: BodyAssets, colours: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Skin colours with the scalp tinted in the hair's colour, which shows through thin hair."""
    scalp = body.masks[list(body.mask_names).index("scalp")][:, None] / 255.0
    out: np.ndarray = (colours * (1 - scalp) + scalp * hair * 1.1).astype(np.float32)
    return out


def _skin_materials(rng: np.random.Generator, body: BodyAssets, palette: Palette) -> np.ndarray:
    skin = palette.material(shine=rng.uniform(0.03, 0.12), gloss=rng.uniform(8, 30), wrap=0.25)
    eye = palette.material(shine=0.5, gloss=120)
    return np.where(body.face_kind == 1, eye, skin).astype(np.int32)


def _choose_garments(
    rng: np.random.Generator, pack: AssetPack, shape: BodyShape, kinds: tuple[str, ...]
) -> list[Garment]:
    """Draw a garment of each of these kinds, as far as the pack has any."""
    of_kind: dict[str, list[Garment]] = {}
    for garment in pack.garments:
        of_kind.setdefault(garment.kind, []).append(garment)
    prefix = "female" if shape.female else "male"
    if rng.random() < 0.85:
        suits = of_kind.get("suit", [])
        of_kind["suit"] = [suit for suit in suits if suit.name.startswith(prefix)] or suits
    names = _LONG_HAIR if shape.female else _SHORT_HAIR
    of_kind["hair"] = [haircut for haircut in of_kind.get("hair", []) if haircut.name in names]
    pools = [of_kind.get(kind, []) for kind in kinds]
    shares = [_WORN_SHARE[kind] for kind in kinds]
    return [
        pool[rng.integers(len(pool))]
        for pool, share in zip(pools, shares, strict=True)
        if pool and rng.random() < share
    ]


def _garment_on_body(
    rng: np.random.Generator,
    garment: Garment,
    body: np.ndarray,
    assets: BodyAssets,
    palette: Palette,
    hair_material: int,
) -> Mesh:
    """The garment fitted to this body; covered skin is moved inwards (in place)."""
    vertices = fit_garment(garment, body)
    if garment.kind == "hair":
        return garment_mesh(garment, vertices, np.full(len(garment.faces), hair_material))
    if garment.kind == "suit":
        vertices = add_wrinkles(rng, vertices, garment.faces, 0.006, rng.uniform(0, 0.008))
        inset_skin(body, assets, garment.covered)
        return garment_mesh(garment, vertices, layer_materials(rng, garment, palette))
    if garment.kind == "shoes":
        leather = palette.material(
            palette.texture(fabric_texture(rng, 0.8) * 0.6), shine=0.15, gloss=25
        )
        inset_skin(body, assets, garment.covered)
        return garment_mesh(garment, vertices, np.full(len(garment.faces), leather))
    vertices = add_wrinkles(rng, vertices, garment.faces, 0.0, 0.012)
    return garment_mesh(
        garment, vertices, np.full(len(garment.faces), fabric_material(rng, palette))
    )
