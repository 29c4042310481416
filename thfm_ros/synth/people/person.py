"""One person: a random body with skin, hair and clothes, ready to be posed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from thfm_ros.synth.pack import AssetPack, BodyAssets, Garment
from thfm_ros.synth.people.appearance import skin_colours
from thfm_ros.synth.people.body import Shape, expressed, random_shape
from thfm_ros.synth.people.garments import (
    fabric,
    fitted,
    garment_mesh,
    inset,
    layer_materials,
    wrinkled,
)
from thfm_ros.synth.people.painted import short_hair, tight_clothes, tight_shoes
from thfm_ros.synth.people.tailor import random_cut, tailored
from thfm_ros.synth.primitives.mesh import Mesh, Palette, compacted, joined
from thfm_ros.synth.primitives.texture import cloth, hair

_LONG_HAIR = ("long01", "bob01", "bob02", "braid01", "ponytail01", "short02", "afro01")
_SHORT_HAIR = ("short01", "short02", "short03", "short04", "afro01")
_SHARE = {"suit": 1.0, "shoes": 0.92, "hair": 0.93, "hat": 0.06}  # of people who wear one


@dataclass(frozen=True)
class Person:
    """A dressed body in rest pose."""

    shape: Shape
    mesh: Mesh
    landmarks: Float32[np.ndarray, "m 3"]  # the body's regressor_vertices, before dressing


def random_person(
    rng: np.random.Generator,
    pack: AssetPack,
    palette: Palette,
    samples: np.ndarray | None = None,
) -> Person:
    """Draw somebody.

    Args:
        rng: source of chance.
        pack: the assets.
        palette: textures and materials are added to it.
        samples: which bodies of the shape space may be used; None means all.
    """
    shape = random_shape(rng, pack.body, samples)
    body = expressed(rng, pack.body, shape.vertices)
    landmarks = body[pack.body.regressor_vertices]
    texture, colour = hair(rng)
    colours = skin_colours(rng, pack.body, shape, colour)
    strands = palette.material(
        palette.texture(texture), shine=0.12, gloss=14, wrap=0.2, stretch=0.5
    )
    materials = _skin_materials(rng, pack.body, palette)
    worn, hidden, hairy = _dressed(rng, pack, shape, body, palette, strands)
    if hairy:
        colours = _dyed(pack.body, colours, colour)
    kept = ~hidden[pack.body.faces].all(axis=1) & (pack.body.face_kind < 2)
    naked = Mesh(
        rest=body,
        bones=pack.body.bones,
        weights=pack.body.weights,
        parts=pack.body.parts,
        surface=pack.body.surface,
        colours=colours,
        faces=pack.body.faces[kept],
        face_uv=pack.body.face_uv[kept],
        materials=materials[kept],
    )
    return Person(shape, joined([compacted(naked), *worn]), landmarks)


def _dressed(
    rng: np.random.Generator,
    pack: AssetPack,
    shape: Shape,
    body: np.ndarray,
    palette: Palette,
    strands: int,
) -> tuple[list[Mesh], np.ndarray, bool]:
    """Clothes and hair; which body vertices they replace; whether hair grows on the head.

    ``body`` changes: covered skin is drawn in.
    """
    kinds = {garment.kind for garment in pack.garments}
    hidden = np.zeros(len(body), bool)
    worn: list[Mesh] = []
    wanted: tuple[str, ...] = ("suit", "shoes", "hair", "hat")
    if "tights" in kinds and (rng.random() < 0.5 or "suit" not in kinds):
        worn += tailored(rng, pack, random_cut(rng, pack, shape.female), body, palette)
        wanted = wanted[1:]
    garments = _choice(rng, pack, shape, wanted)
    for garment in garments:
        worn.append(_worn(rng, garment, body, pack.body, palette, strands))
        hidden[garment.hidden] = True
    if not kinds & {"suit", "tights"} or rng.random() < 0.04:
        worn += tight_clothes(rng, pack.body, body, palette)
    if "shoes" not in kinds:
        worn += tight_shoes(rng, pack.body, body, palette)
    hairy = any(garment.kind == "hair" for garment in garments)
    if "hair" not in kinds and rng.random() < 0.93:
        worn += short_hair(rng, pack.body, body, strands)
        hairy = True
    return worn, hidden, hairy


def _dyed(body: BodyAssets, colours: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Skin colours with the scalp in the hair's colour: it shines through thin hair."""
    scalp = body.masks[list(body.mask_names).index("scalp")][:, None] / 255.0
    out: np.ndarray = (colours * (1 - scalp) + scalp * hair * 1.1).astype(np.float32)
    return out


def _skin_materials(rng: np.random.Generator, body: BodyAssets, palette: Palette) -> np.ndarray:
    skin = palette.material(shine=rng.uniform(0.03, 0.12), gloss=rng.uniform(8, 30), wrap=0.25)
    eye = palette.material(shine=0.5, gloss=120)
    return np.where(body.face_kind == 1, eye, skin).astype(np.int32)


def _choice(
    rng: np.random.Generator, pack: AssetPack, shape: Shape, kinds: tuple[str, ...]
) -> list[Garment]:
    """What this person wears of these kinds, of what the pack has."""
    of_kind: dict[str, list[Garment]] = {}
    for garment in pack.garments:
        of_kind.setdefault(garment.kind, []).append(garment)
    own = "female" if shape.female else "male"
    if rng.random() < 0.85:
        suits = of_kind.get("suit", [])
        of_kind["suit"] = [suit for suit in suits if suit.name.startswith(own)] or suits
    names = _LONG_HAIR if shape.female else _SHORT_HAIR
    of_kind["hair"] = [cut for cut in of_kind.get("hair", []) if cut.name in names]
    pools = [of_kind.get(kind, []) for kind in kinds]
    shares = [_SHARE[kind] for kind in kinds]
    return [
        pool[rng.integers(len(pool))]
        for pool, share in zip(pools, shares, strict=True)
        if pool and rng.random() < share
    ]


def _worn(
    rng: np.random.Generator,
    garment: Garment,
    body: np.ndarray,
    assets: BodyAssets,
    palette: Palette,
    strands: int,
) -> Mesh:
    """The garment on this body; covered skin is drawn in (``body`` changes)."""
    vertices = fitted(garment, body)
    if garment.kind == "hair":
        return garment_mesh(garment, vertices, np.full(len(garment.faces), strands))
    if garment.kind == "suit":
        vertices = wrinkled(rng, vertices, garment.faces, 0.006, rng.uniform(0, 0.008))
        inset(body, assets, garment.covered)
        return garment_mesh(garment, vertices, layer_materials(rng, garment, palette))
    if garment.kind == "shoes":
        leather = palette.material(palette.texture(cloth(rng, 0.8) * 0.6), shine=0.15, gloss=25)
        inset(body, assets, garment.covered)
        return garment_mesh(garment, vertices, np.full(len(garment.faces), leather))
    vertices = wrinkled(rng, vertices, garment.faces, 0.0, 0.012)
    return garment_mesh(garment, vertices, np.full(len(garment.faces), fabric(rng, palette)))
