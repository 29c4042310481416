# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Body part and dense-pose UV of each vertex.

Each part is parametrised as a cylinder: v runs along its axis from the proximal end (0) to the
distal end (1), u is the angle round the axis over 2 pi, 0 where the part faces the front of the
body in rest pose. UV is stored as (cos 2 pi u, sin 2 pi u, v), which has no seam.
"""

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.primitives.rotation import normalized

# Limbs: the bones at the proximal and the distal end of the axis. Other parts have a vertical axis.
_AXES = {
    "upper_arm": ("upperarm01", "lowerarm01"),
    "lower_arm": ("lowerarm01", "wrist"),
    "hand": ("wrist", "finger3-1"),
    "upper_leg": ("upperleg01", "lowerleg01"),
    "lower_leg": ("lowerleg01", "foot"),
    "foot": ("foot", "toe2-1"),
}
_UPRIGHT = {"head": "head", "neck": "neck01", "torso": "root"}
_PREFIXES = (
    (("head", "eye"), "head"),
    (("neck",), "neck"),
    (("upperarm",), "upper_arm"),
    (("lowerarm",), "lower_arm"),
    (("wrist", "finger", "metacarpal"), "hand"),
    (("upperleg",), "upper_leg"),
    (("lowerleg",), "lower_leg"),
    (("foot", "toe"), "foot"),
)


def part_of_bone(bone: str) -> str:
    """Name of the body part that a bone moves (skeleton.PART_NAMES)."""
    side = {"L": "left_", "R": "right_"}.get(bone.rpartition(".")[2], "")
    for prefixes, part in _PREFIXES:
        if bone.startswith(prefixes):
            return part if part in _UPRIGHT else side + part
    return "torso"


def vertex_parts(
    bone_names: list[str], bones: Int32[np.ndarray, "v w"], weights: Float32[np.ndarray, "v w"]
) -> UInt8[np.ndarray, "v"]:
    """Label of the part whose bones have the largest total skinning weight at each vertex."""
    part_of = np.array([PART_NAMES.index(part_of_bone(bone)) for bone in bone_names])
    weight_of_part = np.zeros((len(bones), len(PART_NAMES)), np.float32)
    for slot in range(bones.shape[1]):
        np.add.at(
            weight_of_part, (np.arange(len(bones)), part_of[bones[:, slot]]), weights[:, slot]
        )
    out: np.ndarray = weight_of_part.argmax(axis=1).astype(np.uint8)
    return out


def cylinder_coordinates(
    rest: Float32[np.ndarray, "v 3"],
    parts: UInt8[np.ndarray, "v"],
    bone_names: list[str],
    heads: Float32[np.ndarray, "b 3"],
) -> Float32[np.ndarray, "v 3"]:
    """Dense-pose UV (cos 2 pi u, sin 2 pi u, v) of each vertex on its part.

    Args:
        rest: vertices in rest pose, metres.
        parts: skeleton.PART_NAMES of each vertex.
        bone_names: names in index order.
        heads: bone heads in rest pose, metres.
    """
    head_of = {name: heads[index].astype(float) for index, name in enumerate(bone_names)}
    out = np.zeros((len(rest), 3), np.float32)
    for label, name in enumerate(PART_NAMES):
        members = np.flatnonzero(parts == label)
        if name in ("background", "hair") or not len(members):
            continue
        origin, axis, front = _cylinder(name, head_of)
        away = rest[members] - origin
        along = away @ axis
        low, high = along.min(), along.max()
        radial = away - np.outer(along, axis)
        if name in _UPRIGHT or name.endswith("foot"):
            radial -= radial.mean(axis=0)  # the bone is not central in these parts
        cosine, sine = radial @ front, radial @ np.cross(axis, front)
        length = np.hypot(cosine, sine) + 1e-6
        v = (along - low) / max(high - low, 1e-6)
        out[members] = np.stack([cosine / length, sine / length, v], axis=1)
    return out


def _cylinder(
    part: str, head_of: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin, axis and front direction of a part on the rest pose."""
    front, up = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    if part in _UPRIGHT:
        return head_of[_UPRIGHT[part]], up, front
    side, limb = part.split("_", 1)
    near, far = (f"{bone}.{side[0].upper()}" for bone in _AXES[limb])
    axis = normalized(head_of[far] - head_of[near])
    reference = up if limb == "foot" else front
    return head_of[near], axis, normalized(reference - axis * (reference @ axis))
