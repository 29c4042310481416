# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Join people and props of a scene into one mesh for rendering and labelling."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.primitives.mesh import Mesh, Palette
from thfm_ros.synth.scene.carried import CarriedProp
from thfm_ros.synth.scene.clutter import Prop
from thfm_ros.synth.shading.backdrop import Backdrop
from thfm_ros.synth.shading.light import Lighting


@dataclass(frozen=True)
class PosedPerson:
    """One person in motion, world axes, metres."""

    vertices: Float32[np.ndarray, "t v 3"]
    mesh: Mesh
    joints: Float[np.ndarray, "t 35 3"]
    bones: Float[np.ndarray, "t b 3"]  # bone heads
    motion: Motion
    yaw: float  # heading about z, radians; 0 faces -y
    carried: tuple[CarriedProp, ...]


@dataclass(frozen=True)
class Scene:
    """Everything that a camera can see, world axes, metres."""

    vertices: Float32[np.ndarray, "t v 3"]
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    materials: Int32[np.ndarray, "f"]
    instance_ids: UInt8[np.ndarray, "f"]  # 0 background, 1.. the person's number
    colours: Float32[np.ndarray, "v 3"]
    dense_pose_uv: Float32[np.ndarray, "v 3"]
    parts: UInt8[np.ndarray, "v"]
    people: tuple[PosedPerson, ...]
    material_table: Float32[np.ndarray, "m 6"]
    textures: Float32[np.ndarray, "k n n 3"]
    backdrop: Backdrop
    lighting: Lighting


@dataclass(frozen=True)
class _Piece:
    vertices: np.ndarray  # [t, v, 3]
    source: Mesh | Prop
    instance_id: int
    dense_pose_uv: np.ndarray
    parts: np.ndarray


def assemble_scene(
    people: list[PosedPerson],
    props: list[Prop],
    palette: Palette,
    backdrop: Backdrop,
    lighting: Lighting,
    frames: int,
) -> Scene:
    """Join people, the props that they carry, and the other props.

    Args:
        people: the people, all frames.
        props: static props.
        palette: materials and textures of all meshes.
        backdrop: what is behind them.
        lighting: the light.
        frames: number of frames.
    """
    pieces = [
        _Piece(p.vertices, p.mesh, number, p.mesh.dense_pose_uv, p.mesh.parts)
        for number, p in enumerate(people, start=1)
    ]
    pieces += [_prop_piece(item.prop, item.vertices) for p in people for item in p.carried]
    for prop in props:
        pieces.append(
            _prop_piece(prop, np.broadcast_to(prop.vertices, (frames, *prop.vertices.shape)))
        )
    starts = np.cumsum([0, *(piece.vertices.shape[1] for piece in pieces)])
    sources = [piece.source for piece in pieces]
    faces = [s.faces + start for s, start in zip(sources, starts, strict=False)]
    material_table, textures = palette.arrays()
    return Scene(
        vertices=_concatenated([p.vertices for p in pieces], (frames, 0, 3), np.float32, axis=1),
        faces=_concatenated(faces, (0, 3), np.int32),
        face_uv=_concatenated([s.face_uv for s in sources], (0, 3, 2), np.float32),
        materials=_concatenated([s.materials for s in sources], (0,), np.int32),
        instance_ids=_concatenated(
            [np.full(len(p.source.faces), p.instance_id) for p in pieces], (0,), np.uint8
        ),
        colours=_concatenated([s.colours for s in sources], (0, 3), np.float32),
        dense_pose_uv=_concatenated([p.dense_pose_uv for p in pieces], (0, 3), np.float32),
        parts=_concatenated([p.parts for p in pieces], (0,), np.uint8),
        people=tuple(people),
        material_table=material_table,
        textures=textures,
        backdrop=backdrop,
        lighting=lighting,
    )


def _prop_piece(prop: Prop, vertices: np.ndarray) -> _Piece:
    count = len(prop.vertices)
    return _Piece(vertices, prop, 0, np.zeros((count, 3)), np.zeros(count))


def _concatenated(
    arrays: list[np.ndarray], empty: tuple[int, ...], kind: type, axis: int = 0
) -> np.ndarray:
    """Concatenate to a contiguous array of one type; ``empty`` is the shape without any piece."""
    whole = np.concatenate([np.zeros(empty, kind), *arrays], axis=axis)
    return np.ascontiguousarray(whole, kind)
