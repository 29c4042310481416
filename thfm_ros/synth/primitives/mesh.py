# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Skinned meshes, their materials and textures, and functions that join meshes."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from thfm_ros.synth.primitives.texture import Texture


@dataclass(frozen=True)
class Mesh:
    """A skinned triangle mesh with all attributes that shading and labelling need."""

    rest: Float32[np.ndarray, "v 3"]
    bones: Int32[np.ndarray, "v 8"]
    weights: Float32[np.ndarray, "v 8"]
    parts: UInt8[np.ndarray, "v"]  # skeleton.PART_NAMES; 0 is background
    dense_pose_uv: Float32[np.ndarray, "v 3"]  # cos 2 pi u, sin 2 pi u, v on the part
    colours: Float32[np.ndarray, "v 3"]  # linear, multiplies the texture
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    materials: Int32[np.ndarray, "f"]


@dataclass
class Palette:
    """The textures and materials of a scene; meshes refer to materials by index."""

    textures: list[Texture] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)

    def copy(self) -> "Palette":
        """A copy to which entries can be added without changing this one."""
        return Palette(list(self.textures), list(self.rows))

    def texture(self, image: Texture) -> int:
        """Add a texture and return its index."""
        self.textures.append(image)
        return len(self.textures) - 1

    def material(
        self,
        texture: int = -1,
        *,
        repeat: float = 1.0,
        shine: float = 0.0,
        gloss: float = 10.0,
        wrap: float = 0.0,
        stretch: float = 1.0,
    ) -> int:
        """Add a material and return its index.

        Args:
            texture: index of its texture; -1 for none.
            repeat: repetitions of the texture per unit of the texture coordinates.
            shine: strength of the specular highlight.
            gloss: exponent of the specular highlight.
            wrap: wrap lighting beyond the terminator, 0..1 (skin, hair).
            stretch: additional factor on the second texture coordinate.
        """
        self.rows.append((float(texture), repeat, shine, gloss, wrap, stretch))
        return len(self.rows) - 1

    def arrays(self) -> tuple[Float32[np.ndarray, "m 6"], Float32[np.ndarray, "k n n 3"]]:
        """All materials and all textures in the form that the shader reads."""
        table = np.array(self.rows or [(-1.0, 1, 0, 10, 0, 1)], np.float32)
        empty = np.ones((1, 4, 4, 3), np.float32)
        return table, np.stack(self.textures) if self.textures else empty


def drop_unused_vertices(mesh: Mesh) -> Mesh:
    """The mesh without the vertices that no triangle uses, which would only cost time."""
    used = np.zeros(len(mesh.rest), bool)
    used[mesh.faces] = True
    new_index = np.cumsum(used) - 1
    return replace(
        mesh,
        rest=mesh.rest[used],
        bones=mesh.bones[used],
        weights=mesh.weights[used],
        parts=mesh.parts[used],
        dense_pose_uv=mesh.dense_pose_uv[used],
        colours=mesh.colours[used],
        faces=new_index[mesh.faces].astype(np.int32),
    )


def join_meshes(meshes: list[Mesh]) -> Mesh:
    """Join several meshes into one."""
    starts = np.cumsum([0, *(len(mesh.rest) for mesh in meshes)])

    def concatenated(name: str) -> np.ndarray:
        return np.concatenate([getattr(mesh, name) for mesh in meshes])

    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(
        rest=concatenated("rest"),
        bones=concatenated("bones"),
        weights=concatenated("weights"),
        parts=concatenated("parts"),
        dense_pose_uv=concatenated("dense_pose_uv"),
        colours=concatenated("colours"),
        faces=np.concatenate(faces).astype(np.int32),
        face_uv=concatenated("face_uv"),
        materials=concatenated("materials"),
    )
