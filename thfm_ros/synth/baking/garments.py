# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bind MakeHuman's garments, shoes and hair (.mhclo + .obj, CC0) to the body."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.baking.body import AssetSourceError, BakedBody
from thfm_ros.synth.pack import Garment

logger = logging.getLogger(__name__)
KINDS = (("suit", "suit"), ("shoes", "shoes"), ("fedora", "hat"), ("hat", "hat"))
# World axis, sign and source axis; the source has y up, z ahead.
AXES = ((0, 1.0, "x"), (2, 1.0, "y"), (1, -1.0, "z"))


@dataclass(frozen=True)
class Binding:
    """The content of a .mhclo file: each garment vertex is bound to three body vertices."""

    reference: np.ndarray  # int [n, 3]
    barycentric: np.ndarray  # [n, 3]
    offset: np.ndarray  # [n, 3], in units of the scales, source axes
    scales: dict[str, tuple[int, int, float]]
    deleted: np.ndarray  # body vertices that are not drawn below the garment
    mesh: str


READ_ERRORS = (AssetSourceError, ValueError, OSError, KeyError, IndexError)
"""Raised by the readers of damaged files."""


def bake_garments(folder: Path, body: BakedBody) -> list[Garment]:
    """Garments, shoes, hats and hair below ``folder``.

    Unreadable ones are skipped with a warning.
    """
    out = []
    for path in sorted(folder.rglob("*.mhclo")):
        kind = _kind(path)
        if kind is None:
            continue
        try:
            out.append(_bind(path, kind, body))
        except READ_ERRORS as error:
            logger.warning("Skipped %s: %s", path.name, error)
    return out


def bake_brows(folder: Path, body: BakedBody) -> dict[str, np.ndarray]:
    """Masks 0..255 over body vertices [v] by name: where each eyebrow mesh touches the face.

    Unreadable ones are skipped with a warning.
    """
    tree = cKDTree(body.assets.rest[body.skin_vertices])
    out = {}
    for path in sorted(folder.rglob("eyebrow*.mhclo")):
        try:
            nearest = tree.query(_placed_vertices(read_binding(path), body.assets.rest))[1]
        except READ_ERRORS as error:
            logger.warning("Skipped %s: %s", path.name, error)
            continue
        mask = np.zeros(len(body.assets.rest), np.uint8)
        mask[body.skin_vertices[nearest]] = 255
        out[path.stem] = mask
    return out


def _kind(path: Path) -> str | None:
    if path.parent.parent.name == "hair":
        return "hair"
    if path.parent.parent.name != "clothes":
        return None
    return next((kind for word, kind in KINDS if word in path.stem), None)


def _bind(path: Path, kind: str, body: BakedBody) -> Garment:
    assets, binding = body.assets, read_binding(path)
    vertices, uv, faces, face_uv = read_obj(path.with_name(binding.mesh))
    if len(vertices) != len(binding.reference):
        raise AssetSourceError(f"{len(vertices)} vertices, {len(binding.reference)} bindings")
    placed = _placed_vertices(binding, assets.rest)
    tree = cKDTree(assets.rest[body.skin_vertices])
    nearest = body.skin_vertices[tree.query(placed)[1]]
    bones, weights = _inherited_weights(binding, body, kind)
    scale = [binding.scales[letter] for _, _, letter in AXES]
    covered, covered_by = _covered(placed, faces, body, kind)
    hair = PART_NAMES.index("hair")
    return Garment(
        kind=kind,
        name=path.stem,
        reference=binding.reference.astype(np.int32),
        barycentric=binding.barycentric.astype(np.float32),
        offset=binding.offset.astype(np.float32),
        scale_vertices=np.array([s[:2] for s in scale], np.int32),
        scale_rest=np.array([s[2] for s in scale], np.float32),
        faces=faces.astype(np.int32),
        face_uv=uv[face_uv].astype(np.float32),
        weights=weights,
        bones=bones,
        parts=np.where(kind == "hair", hair, assets.parts[nearest]).astype(np.uint8),
        dense_pose_uv=assets.dense_pose_uv[nearest],
        layer=_layers(faces, placed, assets.heads[list(assets.bone_names).index("spine04"), 2]),
        hidden=binding.deleted[binding.deleted < len(assets.rest)].astype(np.int32),
        covered=covered,
        covered_by=covered_by,
    )


def _placed_vertices(binding: Binding, body: np.ndarray) -> np.ndarray:
    """Garment vertices [n, 3] on the given body vertices, metres."""
    placed = (binding.barycentric[:, :, None] * body[binding.reference]).sum(axis=1)
    for column, (axis, sign, letter) in enumerate(AXES):
        first, second, rest = binding.scales[letter]
        size = abs(body[first, axis] - body[second, axis]) / rest
        placed[:, axis] += binding.offset[:, column] * size * sign
    out: np.ndarray = placed
    return out


def _inherited_weights(
    binding: Binding, body: BakedBody, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Bones and weights [n, 8], blended from the three body vertices; hair follows the head."""
    assets, rows = body.assets, np.arange(len(binding.reference))
    dense = np.zeros((len(rows), len(assets.bone_names)), np.float32)
    if kind in ("hair", "hat"):
        dense[:, list(assets.bone_names).index("head")] = 1
    else:
        share = np.clip(binding.barycentric, 0, None) + 1e-6
        share /= share.sum(axis=1, keepdims=True)
        for corner in range(3):
            vertex = binding.reference[:, corner]
            for slot in range(8):
                weight = share[:, corner] * assets.weights[vertex, slot]
                np.add.at(dense, (rows, assets.bones[vertex, slot]), weight)
    bones = np.argsort(-dense, axis=1)[:, :8]
    weights = np.take_along_axis(dense, bones, axis=1)
    return bones.astype(np.int32), weights / weights.sum(axis=1, keepdims=True)


def _layers(faces: np.ndarray, placed: np.ndarray, waist_z: float) -> np.ndarray:
    """Layer of each vertex by connected piece: 0 below the waist, 1 above it, 2 small pieces."""
    edges = (np.r_[faces[:, 0], faces[:, 1]], np.r_[faces[:, 1], faces[:, 2]])
    graph = coo_matrix((np.ones(len(edges[0])), edges), shape=(len(placed), len(placed)))
    _, piece = connected_components(graph, directed=False)
    out = np.full(len(placed), 2, np.uint8)
    for piece_number in np.unique(piece):
        members = piece == piece_number
        if members.sum() > 150:
            out[members] = int(placed[members, 2].mean() > waist_z)
    return out


def _covered(
    placed: np.ndarray, faces: np.ndarray, body: BakedBody, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Body vertices closer than 3 cm, and the garment vertex over each.

    They are moved inwards when the garment is worn, so that no skin pokes through.
    """
    if kind in ("hair", "hat"):
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    corners = placed[faces]
    middles = [corners.mean(axis=1), corners[:, :2].mean(axis=1), corners[:, 1:].mean(axis=1)]
    points = np.concatenate([placed, *middles])
    owner = np.concatenate([np.arange(len(placed)), faces[:, 0], faces[:, 0], faces[:, 1]])
    rest = body.assets.rest[body.skin_vertices]
    distance, found = map(np.asarray, cKDTree(points).query(rest))
    near = distance < 0.03
    return body.skin_vertices[near].astype(np.int32), owner[found[near]].astype(np.int32)


def read_binding(path: Path) -> Binding:
    """Parse a .mhclo file.

    Raises:
        AssetSourceError: it holds no vertices, scales or mesh.
    """
    rows: list[list[float]] = []
    scales: dict[str, tuple[int, int, float]] = {}
    deleted: list[int] = []
    mesh, section = "", ""
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif words[0] == "obj_file":
            mesh = words[1]
        elif section == "verts" and re.match(r"^-?\d", words[0]):
            exact = [float(words[0])] * 3 + [1.0, 0, 0, 0, 0, 0]
            rows.append(exact if len(words) < 9 else [float(word) for word in words[:9]])
        elif section == "delete_verts":
            deleted += _numbers(line)
    if not rows or len(scales) != 3 or not mesh:
        raise AssetSourceError("no vertices, scales or mesh in it")
    table = np.array(rows)
    deleted_vertices = np.array(sorted(set(deleted)), int)
    return Binding(
        table[:, :3].astype(int), table[:, 3:6], table[:, 6:], scales, deleted_vertices, mesh
    )


def _numbers(line: str) -> list[int]:
    """Parse a list of numbers and ranges: "3 - 5 9" is 3, 4, 5, 9."""
    out: list[int] = []
    for first, last in re.findall(r"(\d+)\s*-\s*(\d+)", line):
        out += range(int(first), int(last) + 1)
    rest = re.sub(r"\d+\s*-\s*\d+", "", line)
    return out + [int(word) for word in rest.split() if word.isdigit()]


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [n, 3], texture coordinates [m, 2], and triangles [f, 3] of both.

    Polygons are split into triangle fans.

    Raises:
        AssetSourceError: it holds no triangles.
    """
    vertices, points, faces, face_points = [], [], [], []
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "vt":
            points.append([float(word) for word in words[1:3]])
        elif words[0] == "f":
            corners = [word.split("/") for word in words[1:]]
            at = [int(corner[0]) - 1 for corner in corners]
            uv = [int(c[1]) - 1 if len(c) > 1 and c[1] else 0 for c in corners]
            for k in range(1, len(at) - 1):
                faces.append([at[0], at[k], at[k + 1]])
                face_points.append([uv[0], uv[k], uv[k + 1]])
    if not faces:
        raise AssetSourceError(f"no triangles in {path.name}")
    return (
        np.array(vertices),
        np.array(points or [[0.0, 0.0]]),
        np.array(faces),
        np.array(face_points),
    )
