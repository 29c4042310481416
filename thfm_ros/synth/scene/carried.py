# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Props that people carry: in one hand, in both hands, on the back.

They move rigidly with a bone, occlude the person and are labelled as background.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import axis_rotation, normalized
from thfm_ros.synth.scene.clutter import Prop, box, lathe, merge_props, prop_material

HANDHELD_ACTIONS = ("phone", "drink", "read", "carry", "call", "point", "work")
"""Occupations of the hands that often have a prop in hand."""


@dataclass(frozen=True)
class CarriedProp:
    """A prop and its vertices in every frame, world, metres."""

    prop: Prop
    vertices: Float32[np.ndarray, "t v 3"]


def carried_props(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    rotations: Float[np.ndarray, "t b 3 3"],
    positions: Float[np.ndarray, "t b 3"],
    source: str,
) -> list[CarriedProp]:
    """Draw the props that one person carries.

    Args:
        rng: random generator.
        palette: materials are added to it.
        rig: the bones.
        rotations: rotation of each bone against the rest pose, world axes.
        positions: head of each bone, world, metres.
        source: name of the motion, which includes the occupation of the hands.
    """
    out = []
    action = source.rpartition("-")[2] if source.startswith("gesture/") else ""
    if action == "carry" and rng.random() < 0.7:
        out.append(_between_hands(rng, palette, rig, rotations, positions))
    else:
        for side in "LR":
            if rng.random() < (0.45 if action in HANDHELD_ACTIONS else 0.08):
                out.append(_in_hand(rng, palette, rig, rotations, positions, side))
    if rng.random() < 0.07:
        out.append(_on_back(rng, palette, rig, rotations, positions))
    return out


def _rigid(
    prop: Prop, rotation: Float[np.ndarray, "t 3 3"], position: Float[np.ndarray, "t 3"]
) -> CarriedProp:
    moved = prop.vertices @ rotation.transpose(0, 2, 1) + position[:, None]
    return CarriedProp(prop, moved.astype(np.float32))


def _in_hand(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    rotations: np.ndarray,
    positions: np.ndarray,
    side: str,
) -> CarriedProp:
    """A prop in the palm, its length across the fingers."""
    wrist, knuckle = rig.head(f"wrist.{side}"), rig.head(f"finger3-1.{side}")
    across = np.array([0.0, -1.0, 0.0])  # the thumbs point ahead in rest pose
    if f"finger5-1.{side}" in rig.index:
        across = normalized(rig.head(f"finger2-1.{side}") - rig.head(f"finger5-1.{side}"))
    along = normalized(knuckle - wrist)
    palm = normalized(np.cross(along, across)) * (1.0 if side == "L" else -1.0)
    frame = np.stack([along, np.cross(across, along), across], axis=1)
    offset = knuckle - wrist + 0.03 * palm
    prop = _handheld_prop(rng, palette).moved(np.zeros(3), rng.uniform(-0.4, 0.4))
    bone = rig.index[f"wrist.{side}"]
    return _rigid(
        prop, rotations[:, bone] @ frame, positions[:, bone] + rotations[:, bone] @ offset
    )


def _handheld_prop(rng: np.random.Generator, palette: Palette) -> Prop:
    """A prop with its grip at the origin and its length along z."""
    material = prop_material(rng, palette)
    makers: list[Callable[[], Prop]] = [
        lambda: box((0.075, 0.01, 0.15), (0, 0, -0.05), material),  # a phone
        lambda: lathe([(0.01, -0.05), (0.035, -0.05), (0.04, 0.06), (0.03, 0.06)], material),  # cup
        lambda: lathe([(0.03, -0.1), (0.033, 0.05), (0.012, 0.12), (0.012, 0.16)], material),
        lambda: box((0.2, 0.02, 0.27), (0, 0, -0.1), material),  # a book, a tablet
        lambda: lathe([(0.013, -rng.uniform(0.1, 0.9)), (0.013, rng.uniform(0.1, 0.9))], material),
        lambda: _bag(rng, material),
        lambda: box(tuple(rng.uniform(0.05, 0.3, 3)), (0, 0, -0.1), material),
    ]
    return makers[rng.integers(len(makers))]()


def _bag(rng: np.random.Generator, material: int) -> Prop:
    """A bag that hangs below a hanging hand."""
    width, height = rng.uniform(0.2, 0.4), rng.uniform(0.25, 0.4)
    strap = box((0.15, 0.015, 0.02), (0.08, 0, -0.01), material)
    body = box(
        (height, rng.uniform(0.06, 0.15), width), (0.15 + height / 2, 0, -width / 2), material
    )
    return merge_props([strap, body])


def _between_hands(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    rotations: np.ndarray,
    positions: np.ndarray,
) -> CarriedProp:
    """A level box or tray in front of the belly, held with both hands."""
    hands = [positions[:, rig.index[f"finger3-1.{side}"]] for side in "LR"]
    middle, apart = (hands[0] + hands[1]) / 2, hands[0] - hands[1]
    yaw = np.arctan2(apart[:, 1], apart[:, 0])
    width = float(np.clip(np.linalg.norm(apart, axis=1).mean() - 0.03, 0.12, 0.7))
    depth, height = rng.uniform(0.15, 0.4), float(rng.choice([0.04, 0.15, 0.3]))
    prop = box(
        (width, depth, height), (0, -depth / 2 + 0.05, -height / 2), prop_material(rng, palette)
    )
    return _rigid(prop, axis_rotation("z", yaw), middle)


def _on_back(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    rotations: np.ndarray,
    positions: np.ndarray,
) -> CarriedProp:
    """A backpack between the shoulder blades."""
    size = rng.uniform(0.24, 0.36), rng.uniform(0.12, 0.24), rng.uniform(0.3, 0.55)
    back = rig.body.rest[rig.body.parts == 3]
    behind = float(back[:, 1].max()) + size[1] / 2 - 0.02
    bone = rig.index["spine01"]
    at = np.array([0, behind, rig.head("spine01")[2] - size[2] * 0.6]) - rig.head("spine01")
    prop = box(size, (float(at[0]), float(at[1]), float(at[2])), prop_material(rng, palette))
    return _rigid(prop, rotations[:, bone], positions[:, bone])
