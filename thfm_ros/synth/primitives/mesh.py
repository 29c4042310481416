"""Meshes that hang on bones, the materials they are made of, and how to join them."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from thfm_ros.synth.primitives.texture import Texture


@dataclass(frozen=True)
class Mesh:
    """Triangles with everything that shading and labelling need."""

    rest: Float32[np.ndarray, "v 3"]
    bones: Int32[np.ndarray, "v 8"]
    weights: Float32[np.ndarray, "v 8"]
    parts: UInt8[np.ndarray, "v"]  # skeleton.PART_NAMES; 0 what is no person
    surface: Float32[np.ndarray, "v 3"]  # cos 2 pi u, sin 2 pi u, v
    colours: Float32[np.ndarray, "v 3"]  # linear, multiplies the texture
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    materials: Int32[np.ndarray, "f"]


@dataclass
class Palette:
    """The textures and materials of a scene; a mesh names them by number."""

    textures: list[Texture] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)

    def copy(self) -> "Palette":
        """One that may grow without this one growing."""
        return Palette(list(self.textures), list(self.rows))

    def texture(self, image: Texture) -> int:
        """Add a texture and return its number."""
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
        """Add a material and return its number.

        Args:
            texture: number of its texture; -1 for none.
            repeat: how often the texture fits into 0..1 of the texture coordinates.
            shine: strength of the highlight.
            gloss: its exponent.
            wrap: how far light creeps round the edge, 0..1 (skin, hair).
            stretch: further factor on the texture's second coordinate.
        """
        self.rows.append((float(texture), repeat, shine, gloss, wrap, stretch))
        return len(self.rows) - 1

    def arrays(self) -> tuple[Float32[np.ndarray, "m 6"], Float32[np.ndarray, "k n n 3"]]:
        """All materials and all textures, as the shader takes them."""
        table = np.array(self.rows or [(-1.0, 1, 0, 10, 0, 1)], np.float32)
        empty = np.ones((1, 4, 4, 3), np.float32)
        return table, np.stack(self.textures) if self.textures else empty


def compacted(mesh: Mesh) -> Mesh:
    """The same without the vertices that no triangle uses: they would only cost time."""
    used = np.zeros(len(mesh.rest), bool)
    used[mesh.faces] = True
    number = np.cumsum(used) - 1
    return replace(
        mesh,
        rest=mesh.rest[used],
        bones=mesh.bones[used],
        weights=mesh.weights[used],
        parts=mesh.parts[used],
        surface=mesh.surface[used],
        colours=mesh.colours[used],
        faces=number[mesh.faces].astype(np.int32),
    )


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of many."""
    starts = np.cumsum([0, *(len(mesh.rest) for mesh in meshes)])

    def every(name: str) -> np.ndarray:
        return np.concatenate([getattr(mesh, name) for mesh in meshes])

    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(
        rest=every("rest"),
        bones=every("bones"),
        weights=every("weights"),
        parts=every("parts"),
        surface=every("surface"),
        colours=every("colours"),
        faces=np.concatenate(faces).astype(np.int32),
        face_uv=every("face_uv"),
        materials=every("materials"),
    )
