# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Hard negatives: animals, coats on racks and tailor's dummies.

Coats and dummies are made of the same meshes as people, so they differ from people only by what
they lack.
"""

import numpy as np

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.gestures import gesture_motion
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions, linear_blend_skinning, random_body_shape
from thfm_ros.synth.people.garments import add_wrinkles, fabric_material, fit_garment
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import rotation_between
from thfm_ros.synth.scene.animals import quadruped
from thfm_ros.synth.scene.clutter import Prop, lathe, merge_props, prop_material

ANIMAL_SHARE = 0.5
"""Share of animals among the decoys."""


def random_decoy(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Prop:
    """Draw an animal, a coat on a rack (if the pack has suits) or a dummy."""
    if rng.random() < ANIMAL_SHARE:
        return quadruped(rng, palette)
    suits = [garment for garment in pack.garments if garment.kind in ("suit", "tights")]
    if suits and rng.random() < 0.6:
        return coat(rng, pack, rig, palette)
    return dummy(rng, pack, rig, palette)


def coat(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Prop:
    """The upper part of a suit with hanging sleeves, over a stand or on a hook."""
    suits = [garment for garment in pack.garments if garment.kind in ("suit", "tights")]
    suit = suits[rng.integers(len(suits))]
    vertices = add_wrinkles(rng, fit_garment(suit, pack.body.rest), suit.faces, 0.01, 0.004)
    motion = _hanging(rig)
    heads = pack.body.heads.astype(float)
    positions = bone_positions(motion.rotations, motion.root, heads, pack.body.parents)
    rest = vertices.astype(np.float32)
    posed = linear_blend_skinning(
        rest, suit.bones, suit.weights, motion.rotations, positions, heads
    )[0]
    hips = rig.head("upperleg01.L")[2] - rig.head("root")[2]
    upper = posed[:, 2] > hips + rng.uniform(-0.35, 0.0)
    faces = suit.faces[upper[suit.faces].all(axis=1)]
    kept, local = np.unique(faces, return_inverse=True)
    points = posed[kept] - posed[kept].mean(axis=0) * [1, 1, 0]
    points[:, 1] *= rng.uniform(0.4, 0.9)  # flattened: the garment is empty
    points[:, 2] += rng.uniform(1.0, 1.5) - points[:, 2].mean()
    fabric = fabric_material(rng, palette)
    hung = Prop(
        points.astype(np.float32),
        local.reshape(-1, 3).astype(np.int32),
        suit.face_uv[upper[suit.faces].all(axis=1)],
        np.full(len(faces), fabric, np.int32),
        np.ones((len(kept), 3), np.float32),
    )
    if rng.random() < 0.4:
        return hung
    top = float(points[:, 2].max()) + rng.uniform(0.0, 0.15)
    return merge_props(
        [hung, lathe([(0.2, 0), (0.03, 0.04), (0.025, top)], prop_material(rng, palette))]
    )


def dummy(rng: np.random.Generator, pack: AssetPack, rig: Rig, palette: Palette) -> Prop:
    """A body of stone or plastic without head and arms, on a stand.

    Whole statues are not among the decoys: unlabelled and at close range, they would teach a
    network that an unclothed person is background.
    """
    body = pack.body
    shape = random_body_shape(rng, body)
    motion = gesture_motion(rng, rig, 1, 10.0)
    positions = bone_positions(
        motion.rotations, motion.root * shape.leg_m, shape.heads, body.parents
    )
    posed = linear_blend_skinning(
        shape.vertices, body.bones, body.weights, motion.rotations, positions, shape.heads
    )[0]
    removed = np.isin(body.parts, (1, 4, 5, 6, 7, 8, 9))
    visible = (body.face_kind < 2) & ~removed[body.faces].any(axis=1)
    kept, local = np.unique(body.faces[visible], return_inverse=True)
    points = posed[kept]
    points[:, :2] -= points[:, :2].mean(axis=0)
    points[:, 2] += rng.choice([0.05, 0.6]) - points[:, 2].min()
    points *= rng.uniform(0.6, 1.3)
    stone = prop_material(rng, palette)
    figure = Prop(
        points.astype(np.float32),
        local.reshape(-1, 3).astype(np.int32),
        body.face_uv[visible] * 4,
        np.full(int(visible.sum()), stone, np.int32),
        np.ones((len(kept), 3), np.float32),
    )
    foot = float(points[:, 2].min())
    return merge_props([figure, lathe([(0.35, 0), (0.3, foot)], prop_material(rng, palette))])


def _hanging(rig: Rig) -> Motion:
    """One frame of an upright pose, both arms straight down."""
    rotations = np.broadcast_to(np.eye(3), (1, len(rig.names), 3, 3)).copy()
    for side in "LR":
        arm = rig.direction(f"upperarm01.{side}", f"wrist.{side}")
        down = rotation_between(arm, np.array([0.12 if side == "L" else -0.12, 0.0, -1.0]))
        rig.set_subtree(rotations, f"upperarm01.{side}", down)
    return Motion(rotations, np.zeros((1, 3)), "hanging")
