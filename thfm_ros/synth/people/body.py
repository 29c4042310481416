# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The unclothed body: random shape, skeleton, skinning and joint regression."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.primitives.rotation import TINY
from thfm_ros.synth.primitives.skin import blend

ADULT_AGE = 0.6  # unit of the shape space: 1/3 is a child of ten, 2/3 an adult

# Joints 23.. are the heads of these bones; joints 0..22 are regressed from vertices.
BONE_JOINTS: dict[Joint, str] = {
    Joint.PELVIS: "root",
    Joint.SPINE_LOWER: "spine04",
    Joint.SPINE_MIDDLE: "spine03",
    Joint.SPINE_UPPER: "spine01",
    Joint.NECK: "neck01",
    Joint.HEAD: "head",
    Joint.LEFT_COLLAR: "shoulder01.L",
    Joint.RIGHT_COLLAR: "shoulder01.R",
    Joint.LEFT_FOOT: "toe2-1.L",
    Joint.RIGHT_FOOT: "toe2-1.R",
    Joint.LEFT_HAND: "finger3-1.L",
    Joint.RIGHT_HAND: "finger3-1.R",
}


@dataclass(frozen=True)
class BodyShape:
    """One body in rest pose."""

    vertices: Float32[np.ndarray, "v 3"]
    heads: Float[np.ndarray, "b 3"]  # bone heads, metres
    female: bool
    child: bool
    ancestry: Float32[np.ndarray, "3"]  # african, asian, caucasian; sums to one

    @property
    def leg_m(self) -> float:
        """Height of the root above the lowest bone head, metres; 0.95 for the average adult."""
        return float(self.heads[0, 2] - self.heads[:, 2].min())


def random_body_shape(
    rng: np.random.Generator, body: BodyAssets, samples: np.ndarray | None = None
) -> BodyShape:
    """Draw a body shape: a sampled one, interpolated towards another of similar sex and age.

    Args:
        rng: random generator.
        body: the shape space.
        samples: indices of the sampled bodies that may be used; None means all.
    """
    allowed = np.arange(len(body.shape_samples)) if samples is None else samples
    first = int(rng.choice(allowed))
    traits = body.shape_traits
    distance = np.abs(traits[allowed, :2] - traits[first, :2]).sum(axis=1)
    second = int(rng.choice(allowed[np.argsort(distance)[:12]]))
    share = rng.uniform(0, 0.5)
    coefficients = (1 - share) * body.shape_samples[first] + share * body.shape_samples[second]
    traits_of_body = (1 - share) * traits[first] + share * traits[second]
    points = body.shape_mean + np.tensordot(
        coefficients, body.shape_axes.astype(np.float32), axes=1
    )
    count = len(body.rest)
    return BodyShape(
        vertices=np.ascontiguousarray(points[:count], np.float32),
        heads=points[count:].astype(np.float64),
        female=bool(traits_of_body[0] > 0.5),
        child=bool(traits_of_body[1] < 0.5),
        ancestry=traits_of_body[2:] / (traits_of_body[2:].sum() + TINY),
    )


def with_random_expression(
    rng: np.random.Generator, body: BodyAssets, vertices: Float32[np.ndarray, "v 3"]
) -> Float32[np.ndarray, "v 3"]:
    """A copy of the vertices with a random facial expression, neutral in a third of the cases."""
    out: np.ndarray = vertices.copy()
    if not len(body.expressions) or rng.random() < 0.33:
        return out
    strength = np.clip(rng.normal(0, 0.45, len(body.expressions)), 0, 1).astype(np.float32)
    names = [str(name) for name in body.expression_names]
    for index, name in enumerate(names):  # faces are nearly symmetric
        left_name = name.replace("Right", "Left")
        if left_name != name and left_name in names:
            strength[index] = strength[names.index(left_name)] * rng.uniform(0.8, 1.2)
    blink = [index for index, name in enumerate(names) if "Blink" in name]
    strength[blink] *= float(rng.random() < 0.15)
    out[body.expression_vertices] += np.tensordot(
        strength, body.expressions.astype(np.float32), axes=1
    )
    return out


def bone_positions(
    rotations: Float[np.ndarray, "t b 3 3"],
    root: Float[np.ndarray, "t 3"],
    heads: Float[np.ndarray, "b 3"],
    parents: np.ndarray,
) -> Float[np.ndarray, "t b 3"]:
    """Forward kinematics: bone heads under the given rotations (world axes, metres)."""
    out = np.zeros((*rotations.shape[:2], 3))
    for bone, parent in enumerate(parents):
        if parent < 0:
            out[:, bone] = root
        else:
            out[:, bone] = out[:, parent] + rotations[:, parent] @ (heads[bone] - heads[parent])
    return out


def linear_blend_skinning(
    rest: Float32[np.ndarray, "v 3"],
    bones: np.ndarray,
    weights: Float32[np.ndarray, "v 8"],
    rotations: Float[np.ndarray, "t b 3 3"],
    positions: Float[np.ndarray, "t b 3"],
    heads: Float[np.ndarray, "b 3"],
) -> Float32[np.ndarray, "t v 3"]:
    """All frames of a skinned mesh.

    Args:
        rest: vertices in rest pose, metres.
        bones: bone indices [v, 8].
        weights: skinning weights, descending along each row.
        rotations: rotation of each bone against the rest pose, world axes.
        positions: head of each bone, world, metres.
        heads: bone heads in rest pose, metres.
    """
    shifts = positions - (rotations @ heads[:, :, None])[..., 0]
    out = np.empty((len(rotations), *rest.shape), np.float32)
    for frame in range(len(rotations)):
        blend(
            rest,
            bones,
            weights,
            rotations[frame].astype(np.float32),
            shifts[frame].astype(np.float32),
            out[frame],
        )
    return out


def regress_joints(
    body: BodyAssets,
    landmarks: Float32[np.ndarray, "t m 3"],
    bones: Float[np.ndarray, "t b 3"],
) -> Float[np.ndarray, "t 35 3"]:
    """Joints of the skeleton from posed ``regressor_vertices`` and bone heads, in their frame."""
    names = [str(name) for name in body.bone_names]
    out = np.empty((len(landmarks), len(JOINT_NAMES), 3))
    out[:, : len(body.regressor)] = body.regressor @ landmarks
    for joint, bone in BONE_JOINTS.items():
        out[:, joint] = bones[:, names.index(bone)]
    return out
