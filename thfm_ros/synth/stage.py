"""A scene: posed people, things around them, a place and its light."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from thfm_ros.synth.backdrop import OUTDOORS, PICTURE, ROOM, Backdrop
from thfm_ros.synth.body import bone_positions, joints_of, skinned
from thfm_ros.synth.choices import Choices, random_motion
from thfm_ros.synth.clutter import Thing, chair, merged, random_thing, table
from thfm_ros.synth.light import Lighting, random_lighting
from thfm_ros.synth.mesh import Palette, joined
from thfm_ros.synth.motion import Motion
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.person import Person, random_person
from thfm_ros.synth.picture import random_picture
from thfm_ros.synth.rotation import about
from thfm_ros.synth.texture import surface

NEAREST_M = 0.55  # how close two people may stand


@dataclass(frozen=True)
class Cast:
    """People who may appear in several clips, with their materials."""

    people: tuple[Person, ...]
    palette: Palette


@dataclass(frozen=True)
class Posed:
    """One person in motion, world axes, metres."""

    vertices: Float32[np.ndarray, "t v 3"]
    joints: Float[np.ndarray, "t 35 3"]
    body: slice  # of the stage's vertices: the body without clothes
    motion: Motion


@dataclass(frozen=True)
class Stage:
    """Everything that a camera could see."""

    vertices: Float32[np.ndarray, "t v 3"]
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    materials: Int32[np.ndarray, "f"]
    owners: UInt8[np.ndarray, "f"]  # 0 thing, 1.. number of the person
    colours: Float32[np.ndarray, "v 3"]
    surface: Float32[np.ndarray, "v 3"]
    parts: UInt8[np.ndarray, "v"]
    people: tuple[Posed, ...]
    table: Float32[np.ndarray, "m 6"]
    textures: Float32[np.ndarray, "k n n 3"]
    place: Backdrop
    lighting: Lighting


def random_cast(rng: np.random.Generator, pack: AssetPack, choices: Choices, count: int) -> Cast:
    """Draw ``count`` people."""
    palette = Palette()
    people = [random_person(rng, pack, palette, choices.bodies) for _ in range(count)]
    return Cast(tuple(people), palette)


def random_stage(
    rng: np.random.Generator,
    pack: AssetPack,
    choices: Choices,
    cast: Cast,
    frames: int,
    fps: float,
    spread_m: float = 0.8,
) -> Stage:
    """Let a cast act somewhere.

    Args:
        rng: source of chance.
        pack: the assets.
        choices: which of the assets may be used.
        cast: who acts; nobody is allowed.
        frames: how many moments are needed.
        fps: moments per second.
        spread_m: how far from each other people stand.
    """
    palette = cast.palette.copy()
    spots = _spots(rng, len(cast.people), spread_m)
    people, things, start = [], [], 0
    for person, spot in zip(cast.people, spots, strict=True):
        motion = random_motion(rng, choices, frames, fps)
        posed, yaw = _posed(rng, pack, person, motion, spot, start)
        people.append(posed)
        start += len(person.mesh.rest)
        if motion.seat_m is not None:
            things += _furniture(rng, palette, posed, person.shape.leg_m, yaw)
    things += _clutter(rng, palette, spots)
    lighting = random_lighting(rng, choices.lights)
    place = _place(rng, palette, choices, lighting, people)
    return _assembled(cast, people, things, palette, place, lighting, frames)


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
    pack: AssetPack,
    person: Person,
    motion: Motion,
    spot: np.ndarray,
    start: int,
) -> tuple[Posed, float]:
    """Turn, bend, drop to the floor and shift a person; also the yaw that it looks along."""
    middle = motion.turns[len(motion.turns) // 2, 0] @ np.array([0.0, -1.0, 0.0])
    now = np.arctan2(middle[0], -middle[1])
    yaw = rng.uniform(-np.pi, np.pi) if rng.random() < 0.35 else rng.normal(0, 0.7)
    turn = about("z", yaw - now)
    turns = turn @ motion.turns
    root = motion.root @ turn.T * person.shape.leg_m
    places = bone_positions(turns, root, person.shape.heads, pack.body.parents)
    mesh = person.mesh
    vertices = skinned(mesh.rest, mesh.bones, mesh.weights, turns, places, person.shape.heads)
    body = slice(0, len(pack.body.rest))
    joints = joints_of(pack.body, vertices[:, body], places)
    middle_xy = vertices[:, :, :2].mean(axis=(0, 1))
    shift = np.array([*(spot - middle_xy), -vertices[:, :, 2].min()])
    vertices += shift.astype(np.float32)
    seen = slice(start, start + len(pack.body.rest))
    return Posed(vertices, joints + shift, seen, motion), float(yaw)


def _furniture(
    rng: np.random.Generator, palette: Palette, posed: Posed, leg_m: float, yaw: float
) -> list[Thing]:
    """A seat below who sits, often with a table before it."""
    pelvis = posed.joints[:, 23].mean(axis=0)
    seat = max(0.15, float(pelvis[2]) - 0.1 * leg_m)
    forward = about("z", yaw) @ np.array([0.0, -1.0, 0.0])
    things = [chair(rng, palette, seat).moved(np.array([*pelvis[:2], 0]) - 0.02 * forward, yaw)]
    if rng.random() < 0.45:
        height = seat + rng.uniform(0.2, 0.32)
        desk = table(rng, palette, height)
        things.append(
            desk.moved(np.array([*pelvis[:2], 0]) + forward * rng.uniform(0.5, 0.75), yaw)
        )
    return things


def _clutter(rng: np.random.Generator, palette: Palette, spots: list[np.ndarray]) -> list[Thing]:
    things = []
    for _ in range(rng.choice([0, 1, 2, 3, 5], p=[0.3, 0.22, 0.22, 0.16, 0.1])):
        thing = random_thing(rng, palette)
        spot = np.zeros(2)
        for _ in range(20):
            spot = rng.normal(0, 1.3, 2)
            if all(np.linalg.norm(spot - other) > 0.75 for other in spots):
                break
        things.append(thing.moved(np.array([*spot, 0.0]), rng.uniform(0, 6.3)))
    return things


def _place(
    rng: np.random.Generator,
    palette: Palette,
    choices: Choices,
    lighting: Lighting,
    people: list[Posed],
) -> Backdrop:
    mode = int(rng.choice([OUTDOORS, ROOM, PICTURE], p=[0.4, 0.35, 0.25]))
    tallest = max((float(p.vertices[..., 2].max()) for p in people), default=1.7)
    half = np.array(
        [rng.uniform(2.2, 5), rng.uniform(2, 5), max(rng.uniform(2.3, 3.5), tallest + 0.2)]
    )
    picture = np.zeros((2, 2, 3), np.float32)
    if mode == PICTURE:
        picture = random_picture(rng, choices.lights)
    return Backdrop(
        mode=mode,
        half=half,
        floor_texture=palette.texture(surface(rng)),
        wall_texture=palette.texture(surface(rng)),
        floor_repeat=float(rng.uniform(0.2, 1.0)),
        wall_repeat=float(rng.uniform(0.15, 0.7)),
        panorama=lighting.panorama,
        turn=lighting.turn,
        gain=lighting.gain,
        picture=picture,
        picture_place=np.array([*rng.uniform(0, 0.4, 2), rng.uniform(0.4, 0.6)]),
    )


def _assembled(
    cast: Cast,
    people: list[Posed],
    things: list[Thing],
    palette: Palette,
    place: Backdrop,
    lighting: Lighting,
    frames: int,
) -> Stage:
    vertices = [posed.vertices for posed in people]
    owners = [np.full(len(p.mesh.faces), n + 1) for n, p in enumerate(cast.people)]
    meshes = [person.mesh for person in cast.people]
    mesh = joined(meshes) if meshes else None
    thing = merged(things) if things else None
    if thing is not None:
        vertices.append(np.broadcast_to(thing.vertices, (frames, *thing.vertices.shape)))
        owners.append(np.zeros(len(thing.faces)))
    sources = [source for source in (mesh, thing) if source is not None]
    start = len(mesh.rest) if mesh is not None else 0
    offsets = [0 if source is mesh else start for source in sources]
    nothing = np.zeros((frames, 0, 3), np.float32)
    count = len(thing.vertices) if thing is not None else 0
    rows, textures = palette.arrays()
    own_surface = mesh.surface if mesh is not None else np.zeros((0, 3))
    own_parts = mesh.parts if mesh is not None else np.zeros(0)

    def every(name: str, empty: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([getattr(s, name) for s in sources] or [np.zeros(empty)])

    return Stage(
        vertices=np.ascontiguousarray(np.concatenate([*vertices, nothing], axis=1), np.float32),
        faces=np.concatenate(
            [np.zeros((0, 3)), *(s.faces + o for s, o in zip(sources, offsets, strict=True))]
        ).astype(np.int32),
        face_uv=every("face_uv", (0, 3, 2)).astype(np.float32),
        materials=every("materials", (0,)).astype(np.int32),
        owners=np.concatenate([*owners, np.zeros(0)]).astype(np.uint8),
        colours=every("colours", (0, 3)).astype(np.float32),
        surface=np.concatenate([own_surface, np.zeros((count, 3))]).astype(np.float32),
        parts=np.concatenate([own_parts, np.zeros(count)]).astype(np.uint8),
        people=tuple(people),
        table=rows,
        textures=textures,
        place=place,
        lighting=lighting,
    )
