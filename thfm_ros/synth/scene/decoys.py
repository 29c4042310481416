"""Hard negatives: what looks like a person and is none. A coat on a rack, a tailor's dummy, a dog.

All but animals are made of the same meshes as people, so a network can only tell them by what they
lack.
"""

import numpy as np

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.gestures import gesture
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions, random_shape, skinned
from thfm_ros.synth.people.garments import fabric, fitted, wrinkled
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import between
from thfm_ros.synth.scene.animals import quadruped
from thfm_ros.synth.scene.clutter import Thing, lathe, merged, stuff

ANIMALS = 0.5
"""Share of animals among decoys."""


def random_decoy(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Thing:
    """An animal, a coat on a rack (if the pack has suits) or a dummy."""
    if rng.random() < ANIMALS:
        return quadruped(rng, palette)
    suits = [garment for garment in pack.garments if garment.kind in ("suit", "tights")]
    if suits and rng.random() < 0.6:
        return coat(rng, pack, rig, palette)
    return dummy(rng, pack, rig, palette)


def coat(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Thing:
    """The upper part of a suit with hanging sleeves, over a stand or on a hook."""
    suits = [garment for garment in pack.garments if garment.kind in ("suit", "tights")]
    suit = suits[rng.integers(len(suits))]
    vertices = wrinkled(rng, fitted(suit, pack.body.rest), suit.faces, 0.01, 0.004)
    motion = _hanging(rig)
    heads = pack.body.heads.astype(float)
    places = bone_positions(motion.turns, motion.root, heads, pack.body.parents)
    rest = vertices.astype(np.float32)
    posed = skinned(rest, suit.bones, suit.weights, motion.turns, places, heads)[0]
    hips = rig.head("upperleg01.L")[2] - rig.head("root")[2]
    upper = posed[:, 2] > hips + rng.uniform(-0.35, 0.0)
    faces = suit.faces[upper[suit.faces].all(axis=1)]
    kept, local = np.unique(faces, return_inverse=True)
    points = posed[kept] - posed[kept].mean(axis=0) * [1, 1, 0]
    points[:, 1] *= rng.uniform(0.4, 0.9)  # nobody fills it
    points[:, 2] += rng.uniform(1.0, 1.5) - points[:, 2].mean()
    cloth = fabric(rng, palette)
    hung = Thing(
        points.astype(np.float32),
        local.reshape(-1, 3).astype(np.int32),
        suit.face_uv[upper[suit.faces].all(axis=1)],
        np.full(len(faces), cloth, np.int32),
        np.ones((len(kept), 3), np.float32),
    )
    if rng.random() < 0.4:
        return hung
    top = float(points[:, 2].max()) + rng.uniform(0.0, 0.15)
    return merged([hung, lathe([(0.2, 0), (0.03, 0.04), (0.025, top)], stuff(rng, palette))])


def dummy(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Thing:
    """A body of stone or plastic without head and arms, on a stand.

    Whole statues are not among the decoys: without a label and from near they teach that somebody
    without clothes is nobody.
    """
    body = pack.body
    shape = random_shape(rng, body)
    motion = gesture(rng, rig, 1, 10.0)
    places = bone_positions(motion.turns, motion.root * shape.leg_m, shape.heads, body.parents)
    posed = skinned(shape.vertices, body.bones, body.weights, motion.turns, places, shape.heads)[0]
    limbs = np.isin(body.parts, (1, 4, 5, 6, 7, 8, 9))
    drawn = (body.face_kind < 2) & ~limbs[body.faces].any(axis=1)
    kept, local = np.unique(body.faces[drawn], return_inverse=True)
    points = posed[kept]
    points[:, :2] -= points[:, :2].mean(axis=0)
    points[:, 2] += rng.choice([0.05, 0.6]) - points[:, 2].min()
    points *= rng.uniform(0.6, 1.3)
    stone = stuff(rng, palette)
    figure = Thing(
        points.astype(np.float32),
        local.reshape(-1, 3).astype(np.int32),
        body.face_uv[drawn] * 4,
        np.full(int(drawn.sum()), stone, np.int32),
        np.ones((len(kept), 3), np.float32),
    )
    foot = float(points[:, 2].min())
    return merged([figure, lathe([(0.35, 0), (0.3, foot)], stuff(rng, palette))])


def _hanging(rig: Rig) -> Motion:
    """One frame: upright, both arms straight down."""
    turns = np.broadcast_to(np.eye(3), (1, len(rig.names), 3, 3)).copy()
    for side in "LR":
        arm = rig.direction(f"upperarm01.{side}", f"wrist.{side}")
        down = between(arm, np.array([0.12 if side == "L" else -0.12, 0.0, -1.0]))
        rig.set_below(turns, f"upperarm01.{side}", down)
    return Motion(turns, np.zeros((1, 3)), "hanging")
