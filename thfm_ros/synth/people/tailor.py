"""Clothes cut to order from the base mesh's own cloth: shirts, trousers, shorts, skirts, dresses.

The body stocking is cut where a sleeve, a hem or a neckline should end, and moved away from the
skin. So there are as many cuts as people, besides the modelled suits of the pack.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import AssetPack, Garment
from thfm_ros.synth.people.garments import SKIN_INSET_M, fabric, fitted, normals_of, trimmed
from thfm_ros.synth.primitives.mesh import Mesh, Palette

# How far a sleeve or a leg reaches: on the upper and on the lower part of the limb, 0..1.
SLEEVES = {"none": (0.12, -1.0), "short": (0.7, -1.0), "half": (2.0, 0.15), "long": (2.0, 0.92)}
SLEEVE_SHARE = (0.1, 0.38, 0.07, 0.45)
LEGS = {"shorts": (0.55, -1.0), "knee": (0.95, -1.0), "capri": (2.0, 0.5), "long": (2.0, 0.95)}
LEG_SHARE = (0.12, 0.13, 0.08, 0.67)

BARE = (0.08, 0.0)  # men and women without a top
SHORT_TOP = 0.08  # share of the tops that leave the belly free

Room = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Cut:
    """One outfit."""

    bare: bool  # no top
    sleeve: tuple[float, float]
    leg: tuple[float, float] | None  # None: a skirt
    hem_z: float  # metres on the average body: where the top ends
    waist_z: float  # where trousers begin
    neck: float  # how far up the neck the top goes, -1 none .. 1 all
    skirt: float  # share of the skirt that is kept
    dress: bool  # top and skirt of one cloth
    loose_top_m: float
    loose_legs_m: float


def random_cut(rng: np.random.Generator, pack: AssetPack, female: bool) -> Cut:
    """Draw an outfit."""
    heads, names = pack.body.heads, list(pack.body.bone_names)
    waist = float(heads[names.index("spine04"), 2])
    hips = float(heads[names.index("upperleg01.L"), 2])
    skirt = rng.random() < (0.3 if female else 0.04)
    leg = None if skirt else LEGS[str(rng.choice(list(LEGS), p=LEG_SHARE))]
    short = rng.random() < SHORT_TOP
    return Cut(
        bare=leg is not None and bool(rng.random() < BARE[female]),
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


def tailored(
    rng: np.random.Generator,
    pack: AssetPack,
    cut: Cut,
    body: Float32[np.ndarray, "v 3"],
    palette: Palette,
) -> list[Mesh]:
    """Sew an outfit onto a body, whose covered skin is drawn in (``body`` changes)."""
    own = {garment.kind: garment for garment in pack.garments}
    stocking, skirt = own["tights"], own["skirt"]
    top, legs = _top_room(stocking, pack, cut), _leg_room(stocking, pack, cut)
    over, under = fabric(rng, palette, 0.5), fabric(rng, palette, 0.75)
    flare = _flare(stocking, pack, cut.hem_z)
    out, covered = [], np.zeros(len(top), bool)
    if not cut.bare:
        out.append(_sewn(rng, stocking, top, over, cut.loose_top_m + flare, body))
        covered |= top > 0
    if cut.leg is None:
        room = _skirt_room(skirt, pack, cut)
        out.append(_sewn(rng, skirt, room, over if cut.dress else under, np.zeros(len(room)), body))
    else:
        out.append(_sewn(rng, stocking, legs, under, np.full(len(legs), cut.loose_legs_m), body))
        covered |= legs > 0
    skin = stocking.covered[covered[stocking.covered_by]]
    body[skin] -= SKIN_INSET_M * normals_of(body, pack.body.faces)[skin]
    return out


def _rest(garment: Garment, pack: AssetPack) -> Float32[np.ndarray, "n 3"]:
    """The garment on the average body."""
    out: np.ndarray = pack.body.rest[garment.reference[:, 0]]
    return out


def _limb_room(stocking: Garment, limb: str, share: float, length_m: float) -> Room:
    """Metres to the end of a sleeve or leg that covers a share of a limb; -1 off that limb."""
    left, right = (PART_NAMES.index(side + limb) for side in ("left_", "right_"))
    mine = (stocking.parts == left) | (stocking.parts == right)
    return np.where(mine, (share - stocking.surface[:, 2]) * length_m, -1.0)


def _top_room(stocking: Garment, pack: AssetPack, cut: Cut) -> Room:
    """How far inside the top's edges each vertex lies, metres; negative outside."""
    height, along = _rest(stocking, pack)[:, 2], stocking.surface[:, 2]
    part = {name: stocking.parts == PART_NAMES.index(name) for name in PART_NAMES}
    trunk = part["torso"] | part["left_upper_leg"] | part["right_upper_leg"]
    room = np.where(trunk, height - cut.hem_z, -1.0)
    room = np.maximum(room, _limb_room(stocking, "upper_arm", cut.sleeve[0], 0.3))
    room = np.maximum(room, _limb_room(stocking, "lower_arm", cut.sleeve[1], 0.25))
    out: np.ndarray = np.maximum(room, np.where(part["neck"], (cut.neck - along) * 0.1, -1.0))
    return out


def _leg_room(stocking: Garment, pack: AssetPack, cut: Cut) -> Room:
    """As ``_top_room``, for trousers; nothing for a skirt."""
    if cut.leg is None:
        return np.full(len(stocking.parts), -1.0)
    torso = stocking.parts == PART_NAMES.index("torso")
    room = np.where(torso, cut.waist_z - _rest(stocking, pack)[:, 2], -1.0)
    room = np.maximum(room, _limb_room(stocking, "upper_leg", cut.leg[0], 0.45))
    out: np.ndarray = np.maximum(room, _limb_room(stocking, "lower_leg", cut.leg[1], 0.42))
    return out


def _flare(stocking: Garment, pack: AssetPack, hem_z: float) -> Float[np.ndarray, "n"]:
    """Extra looseness of the top, metres: it falls free of the waist and lies on the shoulders."""
    height = _rest(stocking, pack)[:, 2]
    trunk = stocking.parts == PART_NAMES.index("torso")
    return np.where(trunk, np.clip((hem_z + 0.35 - height) / 0.35, 0, 1) * 0.012, 0.0)


def _skirt_room(skirt: Garment, pack: AssetPack, cut: Cut) -> Room:
    height = _rest(skirt, pack)[:, 2]
    low, high = height.min(), height.max()
    room: np.ndarray = height - (high - cut.skirt * (high - low))
    return room


def _sewn(
    rng: np.random.Generator,
    garment: Garment,
    room: Room,
    cloth: int,
    loose_m: Float[np.ndarray, "n"],
    body: Float32[np.ndarray, "v 3"],
) -> Mesh:
    """Move the cloth off the skin, crease it, and cut it where its room ends."""
    vertices = fitted(garment, body)
    creases = np.zeros(len(vertices))
    for _ in range(7):
        direction = rng.standard_normal(3) * rng.uniform(10, 45)
        creases += np.sin(vertices @ direction + rng.random() * 6.3)
    push = 0.002 + loose_m + 0.12 * np.minimum(loose_m + 0.008, 0.02) * creases
    vertices = vertices + normals_of(vertices, garment.faces) * push[:, None]
    kept = (room[garment.faces] > 0).any(axis=1)
    vertices = trimmed(vertices, garment.faces[kept], room)
    used, faces = np.unique(garment.faces[kept], return_inverse=True)
    return Mesh(
        rest=vertices[used].astype(np.float32),
        bones=garment.bones[used],
        weights=garment.weights[used],
        parts=garment.parts[used],
        surface=garment.surface[used],
        colours=np.ones((len(used), 3), np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_uv=garment.face_uv[kept],
        materials=np.full(int(kept.sum()), cloth, np.int32),
    )
