# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Body segments in which captured motion is stored; every bone follows one of them.

A segment's rotation is against the rest pose and in world axes, so a body in rest pose has the
identity everywhere, whatever the conventions of the source.
"""

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.synth.primitives.rotation import normalized

SEGMENTS = (
    "hips", "spine0", "spine1", "spine2", "neck", "head",
    "clavL", "uarmL", "farmL", "handL", "clavR", "uarmR", "farmR", "handR",
    "thighL", "shinL", "footL", "toeL", "thighR", "shinR", "footR", "toeR",
)  # fmt: skip
_OF_BONE = (
    (("root", "pelvis"), "hips"),
    (("spine05",), "spine0"),
    (("spine04", "spine03"), "spine1"),
    (("spine02", "spine01"), "spine2"),
    (("neck",), "neck"),
    (("head", "eye"), "head"),
    (("clavicle", "shoulder"), "clav"),
    (("upperarm",), "uarm"),
    (("lowerarm",), "farm"),
    (("wrist", "finger", "metacarpal"), "hand"),
    (("upperleg",), "thigh"),
    (("lowerleg",), "shin"),
    (("foot",), "foot"),
    (("toe",), "toe"),
)
_LIMBS = {
    "uarm": ("upperarm01", "lowerarm01"),
    "farm": ("lowerarm01", "wrist"),
    "hand": ("wrist", "finger3-1"),
    "thigh": ("upperleg01", "lowerleg01"),
    "shin": ("lowerleg01", "foot"),
    "foot": ("foot", "toe2-1"),
}


def segment_of(bone: str) -> str:
    """Name of the segment that a bone (anny's names) follows.

    Raises:
        ValueError: no segment moves that bone.
    """
    for prefixes, segment in _OF_BONE:
        if bone.startswith(prefixes):
            side = bone.rpartition(".")[2] if "." in bone else ""
            return segment if segment in SEGMENTS else segment + side
    raise ValueError(f"no segment moves the bone {bone}")


def segment_index(bone_names: list[str]) -> np.ndarray:
    """Index of the segment of each bone [b]."""
    return np.array([SEGMENTS.index(segment_of(bone)) for bone in bone_names])


def rest_directions(
    bone_names: list[str], heads: Float32[np.ndarray, "b 3"]
) -> dict[str, Float[np.ndarray, "3"]]:
    """Unit direction of each limb segment of the body in rest pose."""
    head_of = dict(zip(bone_names, np.asarray(heads, float), strict=True))
    out = {}
    for side in "LR":
        for segment, (near, far) in _LIMBS.items():
            out[segment + side] = normalized(head_of[f"{far}.{side}"] - head_of[f"{near}.{side}"])
    return out
