"""Things that people carry: in a hand, in both, on the back, on the head. None of them is person.

They move rigidly with a bone, hide what is behind them and are labelled as background.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import about, unit
from thfm_ros.synth.scene.clutter import Thing, box, lathe, merged, stuff

HOLDING = ("phone", "drink", "read", "carry", "call", "point", "work")  # gestures that like a thing


@dataclass(frozen=True)
class Carried:
    """A thing and where it is, frame by frame."""

    thing: Thing
    vertices: Float32[np.ndarray, "t v 3"]


def carried_things(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    turns: Float[np.ndarray, "t b 3 3"],
    places: Float[np.ndarray, "t b 3"],
    source: str,
) -> list[Carried]:
    """What one person has on and in hand.

    Args:
        rng: source of chance.
        palette: materials are added to it.
        rig: the bones.
        turns: of every bone against the rest pose, world axes.
        places: where every bone begins, world, metres.
        source: name of the motion; it says what the hands do.
    """
    out = []
    action = source.rpartition("-")[2] if source.startswith("gesture/") else ""
    if action == "carry" and rng.random() < 0.7:
        out.append(_between_hands(rng, palette, rig, turns, places))
    else:
        for side in "LR":
            if rng.random() < (0.45 if action in HOLDING else 0.08):
                out.append(_in_hand(rng, palette, rig, turns, places, side))
    if rng.random() < 0.07:
        out.append(_on_back(rng, palette, rig, turns, places))
    return out


def _rigid(
    thing: Thing, turn: Float[np.ndarray, "t 3 3"], place: Float[np.ndarray, "t 3"]
) -> Carried:
    moved = thing.vertices @ turn.transpose(0, 2, 1) + place[:, None]
    return Carried(thing, moved.astype(np.float32))


def _in_hand(
    rng: np.random.Generator,
    palette: Palette,
    rig: Rig,
    turns: np.ndarray,
    places: np.ndarray,
    side: str,
) -> Carried:
    """In the palm, its length across the fingers."""
    wrist, knuckle = rig.head(f"wrist.{side}"), rig.head(f"finger3-1.{side}")
    across = np.array([0.0, -1.0, 0.0])  # thumbs look ahead in rest pose
    if f"finger5-1.{side}" in rig.index:
        across = unit(rig.head(f"finger2-1.{side}") - rig.head(f"finger5-1.{side}"))
    along = unit(knuckle - wrist)
    palm = unit(np.cross(along, across)) * (1.0 if side == "L" else -1.0)
    frame = np.stack([along, np.cross(across, along), across], axis=1)
    offset = knuckle - wrist + 0.03 * palm
    thing = _held_thing(rng, palette).moved(np.zeros(3), rng.uniform(-0.4, 0.4))
    bone = rig.index[f"wrist.{side}"]
    return _rigid(thing, turns[:, bone] @ frame, places[:, bone] + turns[:, bone] @ offset)


def _held_thing(rng: np.random.Generator, palette: Palette) -> Thing:
    """A thing whose grip is at the origin and whose length lies along z."""
    material = stuff(rng, palette)
    makers: list[Callable[[], Thing]] = [
        lambda: box((0.075, 0.01, 0.15), (0, 0, -0.05), material),  # a phone
        lambda: lathe([(0.01, -0.05), (0.035, -0.05), (0.04, 0.06), (0.03, 0.06)], material),  # cup
        lambda: lathe([(0.03, -0.1), (0.033, 0.05), (0.012, 0.12), (0.012, 0.16)], material),
        lambda: box((0.2, 0.02, 0.27), (0, 0, -0.1), material),  # a book, a tablet
        lambda: lathe([(0.013, -rng.uniform(0.1, 0.9)), (0.013, rng.uniform(0.1, 0.9))], material),
        lambda: _bag(rng, material),
        lambda: box(tuple(rng.uniform(0.05, 0.3, 3)), (0, 0, -0.1), material),
    ]
    return makers[rng.integers(len(makers))]()


def _bag(rng: np.random.Generator, material: int) -> Thing:
    """Hangs below the hand (for a hand that hangs: the length is then level)."""
    width, height = rng.uniform(0.2, 0.4), rng.uniform(0.25, 0.4)
    strap = box((0.15, 0.015, 0.02), (0.08, 0, -0.01), material)
    body = box(
        (height, rng.uniform(0.06, 0.15), width), (0.15 + height / 2, 0, -width / 2), material
    )
    return merged([strap, body])


def _between_hands(
    rng: np.random.Generator, palette: Palette, rig: Rig, turns: np.ndarray, places: np.ndarray
) -> Carried:
    """A box or a tray that both hands hold, level, before the belly."""
    hands = [places[:, rig.index[f"finger3-1.{side}"]] for side in "LR"]
    middle, apart = (hands[0] + hands[1]) / 2, hands[0] - hands[1]
    yaw = np.arctan2(apart[:, 1], apart[:, 0])
    width = float(np.clip(np.linalg.norm(apart, axis=1).mean() - 0.03, 0.12, 0.7))
    depth, height = rng.uniform(0.15, 0.4), float(rng.choice([0.04, 0.15, 0.3]))
    thing = box((width, depth, height), (0, -depth / 2 + 0.05, -height / 2), stuff(rng, palette))
    return _rigid(thing, about("z", yaw), middle)


def _on_back(
    rng: np.random.Generator, palette: Palette, rig: Rig, turns: np.ndarray, places: np.ndarray
) -> Carried:
    """A backpack between the shoulder blades."""
    size = rng.uniform(0.24, 0.36), rng.uniform(0.12, 0.24), rng.uniform(0.3, 0.55)
    back = rig.body.rest[rig.body.parts == 3]
    behind = float(back[:, 1].max()) + size[1] / 2 - 0.02
    bone = rig.index["spine01"]
    at = np.array([0, behind, rig.head("spine01")[2] - size[2] * 0.6]) - rig.head("spine01")
    thing = box(size, (float(at[0]), float(at[1]), float(at[2])), stuff(rng, palette))
    return _rigid(thing, turns[:, bone], places[:, bone])
