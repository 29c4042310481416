"""A scene: posed people, things around them, a place and its light."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.people.body import bone_positions, joints_of, skinned
from thfm_ros.synth.people.person import Person, random_person
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import about
from thfm_ros.synth.scene.assemble import Posed, Stage, assembled
from thfm_ros.synth.scene.asset_choices import Choices, random_motion
from thfm_ros.synth.scene.carried import carried_things
from thfm_ros.synth.scene.clutter import Thing, chair, random_thing, table
from thfm_ros.synth.scene.decoys import random_decoy
from thfm_ros.synth.scene.lying import random_lying
from thfm_ros.synth.scene.place import random_place
from thfm_ros.synth.shading.backdrop import ROOM
from thfm_ros.synth.shading.light import indoors, random_lighting

NEAREST_M = 0.55  # how close two people may stand
DECOYS = 0.1  # share of the things that look like people
LYING = 0.2  # share of those that lie or hang where people walk


@dataclass(frozen=True)
class Cast:
    """People who may appear in several clips, with their materials."""

    people: tuple[Person, ...]
    palette: Palette


@dataclass(frozen=True)
class Setting:
    """How a scene is laid out."""

    spread_m: float = 0.8  # how far from each other people stand
    things_m: float = 1.4  # how far away things stand
    things: tuple[float, ...] = (0.3, 0.2, 0.2, 0.15, 0.1, 0.05)  # probability of 0, 1, ...
    flat: float = 0.22  # probability of a flat image behind


def random_cast(rng: np.random.Generator, choices: Choices, count: int) -> Cast:
    """Draw ``count`` people."""
    palette = Palette()
    people = [random_person(rng, choices.pack, palette, choices.bodies) for _ in range(count)]
    return Cast(tuple(people), palette)


def random_stage(
    rng: np.random.Generator,
    choices: Choices,
    cast: Cast,
    frames: int,
    fps: float,
    setting: Setting,
) -> Stage:
    """Let a cast act somewhere.

    Args:
        rng: source of chance.
        choices: the assets that may be used.
        cast: who acts; nobody is allowed.
        frames: how many moments are needed.
        fps: moments per second.
        setting: how the scene is laid out.
    """
    palette = cast.palette.copy()
    spots = _spots(rng, len(cast.people), setting.spread_m)
    people: list[Posed] = []
    things: list[Thing] = []
    for person, spot in zip(cast.people, spots, strict=True):
        motion = random_motion(rng, choices, frames, fps)
        posed = _posed(rng, choices, palette, person, motion, spot)
        people.append(posed)
        if motion.seat_m is not None:
            things += _furniture(rng, palette, posed, person.shape.leg_m)
    things += _clutter(rng, palette, choices, setting, spots)
    lighting = random_lighting(rng, choices.lights)
    place = random_place(rng, palette, choices, lighting, people, setting.flat)
    if place.mode == ROOM:
        lighting = indoors(lighting)
    return assembled(people, things, palette, place, lighting, frames)


def _spots(rng: np.random.Generator, count: int, spread_m: float) -> list[np.ndarray]:
    spots: list[np.ndarray] = []
    for number in range(count):
        spot = np.zeros(2)
        for _ in range(50):
            spot = rng.normal(0, spread_m, 2) * [1, 1.4] * (number > 0)
            if all(np.linalg.norm(spot - other) > NEAREST_M for other in spots):
                break
        spots.append(spot)
    return spots


def _posed(
    rng: np.random.Generator,
    choices: Choices,
    palette: Palette,
    person: Person,
    motion: Motion,
    spot: np.ndarray,
) -> Posed:
    """Turn, bend, drop to the floor and shift a person."""
    body, mesh, heads = choices.pack.body, person.mesh, person.shape.heads
    middle = motion.turns[len(motion.turns) // 2, 0] @ np.array([0.0, -1.0, 0.0])
    now = np.arctan2(middle[0], -middle[1])
    yaw = _facing(rng, motion.passing)
    turn = about("z", yaw - now)
    turns = turn @ motion.turns
    root = motion.root @ turn.T * person.shape.leg_m
    places = bone_positions(turns, root, heads, body.parents)
    vertices = skinned(mesh.rest, mesh.bones, mesh.weights, turns, places, heads)
    seen = body.regressor_vertices
    marks = skinned(person.landmarks, body.bones[seen], body.weights[seen], turns, places, heads)
    joints = joints_of(body, marks, places)
    middle_xy = vertices[:, :, :2].mean(axis=(0, 1))
    shift = np.array([*(spot - middle_xy), -vertices[:, :, 2].min()])
    places += shift
    carried = carried_things(rng, palette, choices.rig, turns, places, motion.source)
    return Posed(
        vertices=vertices + shift.astype(np.float32),
        mesh=mesh,
        joints=joints + shift,
        bones=places,
        motion=motion,
        yaw=yaw,
        carried=tuple(carried),
    )


def _facing(rng: np.random.Generator, passing: bool) -> float:
    """Where somebody looks, radians from the camera's direction, more or less."""
    if passing and rng.random() < 0.75:
        return float(rng.choice([-0.5, 0.5]) * np.pi + rng.normal(0, 0.35))
    anywhere = rng.random() < 0.65
    return float(rng.uniform(-np.pi, np.pi) if anywhere else rng.normal(0, 0.7))


def _furniture(
    rng: np.random.Generator, palette: Palette, posed: Posed, leg_m: float
) -> list[Thing]:
    """A seat below who sits, often with a table before it."""
    pelvis = posed.joints[:, 23].mean(axis=0)
    seat = max(0.15, float(pelvis[2]) - 0.1 * leg_m)
    yaw = posed.yaw
    forward = about("z", yaw) @ np.array([0.0, -1.0, 0.0])
    things = [chair(rng, palette, seat).moved(np.array([*pelvis[:2], 0]) - 0.02 * forward, yaw)]
    if rng.random() < 0.45:
        height = seat + rng.uniform(0.2, 0.32)
        desk = table(rng, palette, height)
        things.append(
            desk.moved(np.array([*pelvis[:2], 0]) + forward * rng.uniform(0.5, 0.75), yaw)
        )
    return things


def _clutter(
    rng: np.random.Generator,
    palette: Palette,
    choices: Choices,
    setting: Setting,
    spots: list[np.ndarray],
) -> list[Thing]:
    """Furniture, what lies about (people may stand on it), rarely something like a person."""
    things = []
    for _ in range(rng.choice(len(setting.things), p=setting.things)):
        kind = rng.random()
        if kind < LYING:
            thing = random_lying(rng, palette)
        elif kind < LYING + DECOYS:
            thing = random_decoy(rng, choices.pack, choices.rig, palette)
        else:
            thing = random_thing(rng, palette)
        widest = float(np.linalg.norm(thing.vertices[:, :2], axis=1).max())
        room = 0.0 if kind < LYING else 0.35 + widest
        for _ in range(20):
            spot = rng.normal(0, setting.things_m, 2)
            if all(np.linalg.norm(spot - other) > room for other in spots):
                things.append(thing.moved(np.array([*spot, 0.0]), rng.uniform(0, 6.3)))
                break
    return things
