# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fit the pack's garments to a body; fabrics, wrinkles and trimmed edges."""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import BodyAssets, Garment
from thfm_ros.synth.primitives.mesh import Mesh, Palette
from thfm_ros.synth.primitives.skin import vertex_normals
from thfm_ros.synth.primitives.texture import fabric_texture

SKIN_INSET_M = 0.012  # covered skin is moved inwards so that it does not poke through cloth
HAIR = PART_NAMES.index("hair")


def normals_of(vertices: Float[np.ndarray, "v 3"], faces: np.ndarray) -> Float32[np.ndarray, "v 3"]:
    """Vertex normals of a mesh."""
    out = np.zeros(vertices.shape, np.float32)
    vertex_normals(np.ascontiguousarray(vertices, np.float32), faces, out)
    return out


def fit_garment(garment: Garment, body: Float32[np.ndarray, "v 3"]) -> Float[np.ndarray, "n 3"]:
    """The garment's vertices on a body of any shape, in rest pose, metres."""
    placed = (garment.barycentric[:, :, None] * body[garment.reference]).sum(axis=1)
    for column, (axis, sign) in enumerate(((0, 1.0), (2, 1.0), (1, -1.0))):
        first, second = garment.scale_vertices[column]
        size = abs(body[first, axis] - body[second, axis]) / garment.scale_rest[column]
        placed[:, axis] += garment.offset[:, column] * size * sign
    out: np.ndarray = placed
    return out


def add_wrinkles(
    rng: np.random.Generator,
    vertices: Float[np.ndarray, "n 3"],
    faces: np.ndarray,
    depth_m: float,
    thickness_m: float,
) -> Float[np.ndarray, "n 3"]:
    """Displace vertices along their normals by a sum of waves plus the thickness."""
    waves = np.zeros(len(vertices))
    for _ in range(7):
        direction = rng.standard_normal(3) * rng.uniform(15, 60)
        waves += np.sin(vertices @ direction + rng.random() * 6.3)
    push = 0.35 * depth_m * waves + thickness_m
    return vertices + normals_of(vertices, faces) * push[:, None]


def garment_mesh(
    garment: Garment, vertices: Float[np.ndarray, "n 3"], materials: np.ndarray
) -> Mesh:
    """A fitted garment as a mesh; ``materials`` [f] holds a material index per face."""
    return Mesh(
        rest=vertices.astype(np.float32),
        bones=garment.bones,
        weights=garment.weights,
        parts=garment.parts,
        dense_pose_uv=garment.dense_pose_uv,
        colours=np.ones((len(vertices), 3), np.float32),
        faces=garment.faces,
        face_uv=garment.face_uv,
        materials=materials.astype(np.int32),
    )


def layer_materials(rng: np.random.Generator, garment: Garment, palette: Palette) -> np.ndarray:
    """Material per face [f]: a fabric for each layer of a suit (trousers, top, small pieces)."""
    out = np.zeros(len(garment.faces), np.int32)
    layer = garment.layer[garment.faces[:, 0]]
    for layer_number in np.unique(layer):
        out[layer == layer_number] = fabric_material(
            rng, palette, plain=0.75 if layer_number == 0 else 0.5
        )
    return out


def fabric_material(rng: np.random.Generator, palette: Palette, plain: float = 0.55) -> int:
    """Add a random fabric to the palette and return its material index."""
    return palette.material(
        palette.texture(fabric_texture(rng, plain)),
        repeat=float(rng.choice([1, 2, 3, 5])),
        shine=float(rng.choice([0, 0.02, 0.08])),
        gloss=rng.uniform(5, 40),
        wrap=0.15,
    )


def inset_skin(vertices: Float32[np.ndarray, "v 3"], body: BodyAssets, covered: np.ndarray) -> None:
    """Move covered skin inwards by SKIN_INSET_M, in place."""
    if len(covered):
        vertices[covered] -= SKIN_INSET_M * normals_of(vertices, body.faces)[covered]


def trim_to_edge(
    vertices: Float[np.ndarray, "n 3"], faces: np.ndarray, edge_distance: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n 3"]:
    """Move the vertices beyond a garment's edge back onto it, along triangle edges.

    A hem that followed the triangles would be jagged.

    Args:
        vertices: vertices of the cloth, metres.
        faces: triangles that are at least partly within the edge.
        edge_distance: signed distance of each vertex to the edge, positive inside.
    """
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    sides = np.concatenate([sides, sides[:, ::-1]])
    within, beyond = sides[(edge_distance[sides[:, 0]] > 0) & (edge_distance[sides[:, 1]] <= 0)].T
    share = edge_distance[within] / (edge_distance[within] - edge_distance[beyond] + 1e-9)
    crossing = vertices[within] + share[:, None] * (vertices[beyond] - vertices[within])
    count = np.bincount(beyond, minlength=len(vertices))
    out = np.array(vertices, float)
    out[count > 0] = 0
    np.add.at(out, beyond, crossing / count[beyond, None])
    return out
