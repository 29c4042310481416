"""One mesh of everything in a scene, as renderer and labeller take it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.primitives.mesh import Mesh, Palette
from thfm_ros.synth.scene.carried import Carried
from thfm_ros.synth.scene.clutter import Thing
from thfm_ros.synth.shading.backdrop import Backdrop
from thfm_ros.synth.shading.light import Lighting


@dataclass(frozen=True)
class Posed:
    """One person in motion, world axes, metres."""

    vertices: Float32[np.ndarray, "t v 3"]
    mesh: Mesh
    joints: Float[np.ndarray, "t 35 3"]
    bones: Float[np.ndarray, "t b 3"]  # where each bone of the rig begins
    motion: Motion
    yaw: float  # where the person looks, radians about z; 0 is -y
    carried: tuple[Carried, ...]


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


@dataclass(frozen=True)
class _Piece:
    vertices: np.ndarray  # [t, v, 3]
    source: Mesh | Thing
    owner: int
    surface: np.ndarray
    parts: np.ndarray


def assembled(
    people: list[Posed],
    things: list[Thing],
    palette: Palette,
    place: Backdrop,
    lighting: Lighting,
    frames: int,
) -> Stage:
    """Join people, what they carry, and what stands around."""
    pieces = [
        _Piece(p.vertices, p.mesh, number, p.mesh.surface, p.mesh.parts)
        for number, p in enumerate(people, start=1)
    ]
    pieces += [_thing(item.thing, item.vertices) for p in people for item in p.carried]
    for thing in things:
        pieces.append(
            _thing(thing, np.broadcast_to(thing.vertices, (frames, *thing.vertices.shape)))
        )
    starts = np.cumsum([0, *(piece.vertices.shape[1] for piece in pieces)])
    sources = [piece.source for piece in pieces]
    faces = [s.faces + start for s, start in zip(sources, starts, strict=False)]
    table, textures = palette.arrays()
    return Stage(
        vertices=_joined([p.vertices for p in pieces], (frames, 0, 3), np.float32, axis=1),
        faces=_joined(faces, (0, 3), np.int32),
        face_uv=_joined([s.face_uv for s in sources], (0, 3, 2), np.float32),
        materials=_joined([s.materials for s in sources], (0,), np.int32),
        owners=_joined([np.full(len(p.source.faces), p.owner) for p in pieces], (0,), np.uint8),
        colours=_joined([s.colours for s in sources], (0, 3), np.float32),
        surface=_joined([p.surface for p in pieces], (0, 3), np.float32),
        parts=_joined([p.parts for p in pieces], (0,), np.uint8),
        people=tuple(people),
        table=table,
        textures=textures,
        place=place,
        lighting=lighting,
    )


def _thing(thing: Thing, vertices: np.ndarray) -> _Piece:
    count = len(thing.vertices)
    return _Piece(vertices, thing, 0, np.zeros((count, 3)), np.zeros(count))


def _joined(
    arrays: list[np.ndarray], empty: tuple[int, ...], kind: type, axis: int = 0
) -> np.ndarray:
    """Concatenated, contiguous, of one type; ``empty`` is the shape of nothing."""
    whole = np.concatenate([np.zeros(empty, kind), *arrays], axis=axis)
    return np.ascontiguousarray(whole, kind)
