"""Which of the assets a run may use: training and held-out clips share no body, motion or light."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.synth.motion.captured import Motion, captured, posture
from thfm_ros.synth.motion.gestures import gesture, striding
from thfm_ros.synth.motion.variation import mixed, tumbled, varied
from thfm_ros.synth.pack import AssetPack, Light
from thfm_ros.synth.people.rig import Rig

FALLEN = 0.2
"""Share of the people who lie, tumble or stand on their heads: few captures show it."""
STRIDING = 0.1
"""Share of the people who walk, run or lunge past the camera."""


@dataclass(frozen=True)
class Choices:
    """A part of a pack, with the rig that its motions turn."""

    pack: AssetPack
    rig: Rig
    bodies: np.ndarray  # numbers of known bodies
    captures: np.ndarray  # numbers of captured clips
    chances: np.ndarray  # of these
    postures: np.ndarray
    lights: tuple[Light, ...]
    striding: float = STRIDING


def choose(pack: AssetPack, split: str, striding: float = STRIDING) -> Choices:
    """The assets of a split.

    Args:
        pack: all assets.
        split: "train", "val" (every sixth to eighth asset), or "all".
        striding: share of the people who stride past the camera.
    """

    def part(count: int, every: int) -> np.ndarray:
        numbers = np.arange(count)
        if split == "all" or count < every:
            return numbers
        held_out = numbers % every == every - 1
        out: np.ndarray = numbers[held_out if split == "val" else ~held_out]
        return out

    captures = part(len(pack.motions), 7)
    return Choices(
        pack=pack,
        rig=Rig(pack.body),
        bodies=part(len(pack.body.shape_samples), 8),
        captures=captures,
        chances=_chances([pack.motions[number].name for number in captures]),
        postures=part(len(pack.poses), 7),
        lights=tuple(pack.lights[number] for number in part(len(pack.lights), 6)),
        striding=striding,
    )


def _chances(names: list[str]) -> np.ndarray:
    """Of clips: half of the captures are walks, which would be half of what people do."""
    kinds = [name.rpartition("_")[0] for name in names]
    weights = np.array([kinds.count(kind) ** -0.5 for kind in kinds])
    chances: np.ndarray = weights / max(weights.sum(), 1e-9)
    return chances


def random_motion(rng: np.random.Generator, choices: Choices, frames: int, fps: float) -> Motion:
    """A gesture made by rule, a capture or a posture, or parts of two of them.

    Two thirds of all but the gestures are varied, and some people lie or stand on their heads.
    Some stride past the camera, upright.
    """
    if rng.random() < choices.striding:
        motion = striding(rng, choices.rig, frames, fps)
        return varied(rng, motion, choices.rig) if rng.random() < 0.3 else motion
    motion, ruled = _source(rng, choices, frames, fps)
    if rng.random() < 0.35:
        other, _ = _source(rng, choices, frames, fps)
        motion, ruled = mixed(rng, motion, other, choices.rig), False
    if not ruled and rng.random() >= 0.33:
        motion = varied(rng, motion, choices.rig)
    return tumbled(rng, motion) if rng.random() < FALLEN else motion


def _source(
    rng: np.random.Generator, choices: Choices, frames: int, fps: float
) -> tuple[Motion, bool]:
    """One motion as it is, and whether it is a gesture made by rule."""
    kind = rng.random()
    if kind < 0.4 or (not len(choices.captures) and not len(choices.postures)):
        return gesture(rng, choices.rig, frames, fps), True
    if kind < 0.85 and len(choices.captures):
        which = int(rng.choice(choices.captures, p=choices.chances))
        return captured(rng, choices.pack, which, frames, fps), False
    if len(choices.postures):
        return posture(rng, choices.pack, frames, choices.postures), False
    return gesture(rng, choices.rig, frames, fps), True
