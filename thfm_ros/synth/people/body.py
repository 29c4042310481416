"""The naked body: a random shape, its bones, and how a pose moves both."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.pack import BodyAssets
from thfm_ros.synth.primitives.rotation import TINY
from thfm_ros.synth.primitives.skin import blend

ADULT_AGE = 0.6  # in the shape space's own unit: 1/3 is a child of ten, 2/3 a grown-up

# Joints 23.. of the skeleton are where these bones begin; 0..22 are regressed from vertices.
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
class Shape:
    """One body in rest pose."""

    vertices: Float32[np.ndarray, "v 3"]
    heads: Float[np.ndarray, "b 3"]  # where the bones begin, metres
    female: bool
    child: bool
    ancestry: Float32[np.ndarray, "3"]  # african, asian, caucasian; sums to one

    @property
    def leg_m(self) -> float:
        """Height of the pelvis over the ankle bones' level; 0.95 m for the average adult."""
        return float(self.heads[0, 2] - self.heads[:, 2].min())


def random_shape(
    rng: np.random.Generator, body: BodyAssets, samples: np.ndarray | None = None
) -> Shape:
    """Draw a body: a known one, moved a little towards another of like sex and age.

    Args:
        rng: source of chance.
        body: the shape space.
        samples: indices of the known bodies that may be used; None means all.
    """
    allowed = np.arange(len(body.shape_samples)) if samples is None else samples
    first = int(rng.choice(allowed))
    traits = body.shape_traits
    distance = np.abs(traits[allowed, :2] - traits[first, :2]).sum(axis=1)
    second = int(rng.choice(allowed[np.argsort(distance)[:12]]))
    share = rng.uniform(0, 0.5)
    mixed = (1 - share) * body.shape_samples[first] + share * body.shape_samples[second]
    blended = (1 - share) * traits[first] + share * traits[second]
    points = body.shape_mean + np.tensordot(mixed, body.shape_axes.astype(np.float32), axes=1)
    count = len(body.rest)
    return Shape(
        vertices=np.ascontiguousarray(points[:count], np.float32),
        heads=points[count:].astype(np.float64),
        female=bool(blended[0] > 0.5),
        child=bool(blended[1] < 0.5),
        ancestry=blended[2:] / (blended[2:].sum() + TINY),
    )


def expressed(
    rng: np.random.Generator, body: BodyAssets, vertices: Float32[np.ndarray, "v 3"]
) -> Float32[np.ndarray, "v 3"]:
    """A copy with a random facial expression, neutral in a third of the cases."""
    out: np.ndarray = vertices.copy()
    if not len(body.expressions) or rng.random() < 0.33:
        return out
    strength = np.clip(rng.normal(0, 0.45, len(body.expressions)), 0, 1).astype(np.float32)
    names = [str(name) for name in body.expression_names]
    for index, name in enumerate(names):  # a face is symmetric, but not quite
        twin = name.replace("Right", "Left")
        if twin != name and twin in names:
            strength[index] = strength[names.index(twin)] * rng.uniform(0.8, 1.2)
    blink = [index for index, name in enumerate(names) if "Blink" in name]
    strength[blink] *= float(rng.random() < 0.15)
    out[body.expression_vertices] += np.tensordot(
        strength, body.expressions.astype(np.float32), axes=1
    )
    return out


def bone_positions(
    turns: Float[np.ndarray, "t b 3 3"],
    root: Float[np.ndarray, "t 3"],
    heads: Float[np.ndarray, "b 3"],
    parents: np.ndarray,
) -> Float[np.ndarray, "t b 3"]:
    """Walk down the bones: where each begins when its parent is turned (world axes, metres)."""
    out = np.zeros((*turns.shape[:2], 3))
    for bone, parent in enumerate(parents):
        if parent < 0:
            out[:, bone] = root
        else:
            out[:, bone] = out[:, parent] + turns[:, parent] @ (heads[bone] - heads[parent])
    return out


def skinned(
    rest: Float32[np.ndarray, "v 3"],
    bones: np.ndarray,
    weights: Float32[np.ndarray, "v 8"],
    turns: Float[np.ndarray, "t b 3 3"],
    places: Float[np.ndarray, "t b 3"],
    heads: Float[np.ndarray, "b 3"],
) -> Float32[np.ndarray, "t v 3"]:
    """All frames of a mesh that hangs on bones turned by ``turns`` and beginning at ``places``."""
    shifts = places - (turns @ heads[:, :, None])[..., 0]
    out = np.empty((len(turns), *rest.shape), np.float32)
    for frame in range(len(turns)):
        blend(
            rest,
            bones,
            weights,
            turns[frame].astype(np.float32),
            shifts[frame].astype(np.float32),
            out[frame],
        )
    return out


def joints_of(
    body: BodyAssets,
    landmarks: Float32[np.ndarray, "t m 3"],
    bones: Float[np.ndarray, "t b 3"],
) -> Float[np.ndarray, "t 35 3"]:
    """The skeleton's joints from posed ``regressor_vertices`` and bones, in their axes."""
    names = [str(name) for name in body.bone_names]
    out = np.empty((len(landmarks), len(JOINT_NAMES), 3))
    out[:, : len(body.regressor)] = body.regressor @ landmarks
    for joint, bone in BONE_JOINTS.items():
        out[:, joint] = bones[:, names.index(bone)]
    return out
