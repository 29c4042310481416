"""Which of the assets a run may use: training and held-out clips share no body, motion or light."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.synth.gestures import gesture
from thfm_ros.synth.motion import Motion, captured, posture
from thfm_ros.synth.pack import AssetPack, Light
from thfm_ros.synth.rig import Rig
from thfm_ros.synth.vary import varied


@dataclass(frozen=True)
class Choices:
    """A part of a pack, with the rig that its motions turn."""

    pack: AssetPack
    rig: Rig
    bodies: np.ndarray  # numbers of known bodies
    captures: np.ndarray  # numbers of captured clips
    postures: np.ndarray
    lights: tuple[Light, ...]


def choose(pack: AssetPack, split: str) -> Choices:
    """The assets of a split.

    Args:
        pack: all assets.
        split: "train", "val" (every sixth to eighth asset), or "all".
    """

    def part(count: int, every: int) -> np.ndarray:
        numbers = np.arange(count)
        if split == "all" or count < every:
            return numbers
        held_out = numbers % every == every - 1
        out: np.ndarray = numbers[held_out if split == "val" else ~held_out]
        return out

    return Choices(
        pack=pack,
        rig=Rig(pack.body),
        bodies=part(len(pack.body.shape_samples), 8),
        captures=part(len(pack.motions), 7),
        postures=part(len(pack.poses), 7),
        lights=tuple(pack.lights[number] for number in part(len(pack.lights), 6)),
    )


def random_motion(rng: np.random.Generator, choices: Choices, frames: int, fps: float) -> Motion:
    """A gesture made by rule, a capture or a posture; two thirds of the latter are varied."""
    kind = rng.random()
    if kind < 0.4 or (not len(choices.captures) and not len(choices.postures)):
        return gesture(rng, choices.rig, frames, fps)
    if kind < 0.85 and len(choices.captures):
        which = int(rng.choice(choices.captures))
        motion = captured(rng, choices.pack, which, frames, fps)
    elif len(choices.postures):
        motion = posture(rng, choices.pack, frames, choices.postures)
    else:
        return gesture(rng, choices.rig, frames, fps)
    return varied(rng, motion, choices.rig) if rng.random() < 0.67 else motion
