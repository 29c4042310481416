# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Splits of the assets: training and held-out clips share no body, motion or panorama."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.synth.motion.captured import Motion, captured_motion, pose_motion
from thfm_ros.synth.motion.gestures import gesture_motion, striding_motion
from thfm_ros.synth.motion.variation import combine_motions, reorient_body, vary_motion
from thfm_ros.synth.pack import AssetPack, Panorama
from thfm_ros.synth.people.rig import Rig

REORIENTED_SHARE = 0.2
"""Share of the people whose whole body is reoriented (lying, upside down, any orientation)."""
STRIDING_SHARE = 0.1
"""Share of the people who walk, run or lunge past the camera."""


@dataclass(frozen=True)
class AssetChoices:
    """The part of a pack that a split may use, and the rig."""

    pack: AssetPack
    rig: Rig
    bodies: np.ndarray  # indices of the sampled bodies
    captures: np.ndarray  # indices of the captured clips
    capture_probabilities: np.ndarray  # probability of each of these
    poses: np.ndarray  # indices of the static poses
    panoramas: tuple[Panorama, ...]
    striding: float = STRIDING_SHARE  # share of the people who stride past the camera


def choose_assets(pack: AssetPack, split: str, striding: float = STRIDING_SHARE) -> AssetChoices:
    """The assets of a split.

    Args:
        pack: all assets.
        split: "train", "val" (every sixth to eighth asset), or "all".
        striding: share of the people who stride past the camera.
    """

    def subset(count: int, every: int) -> np.ndarray:
        indices = np.arange(count)
        if split == "all" or count < every:
            return indices
        held_out = indices % every == every - 1
        out: np.ndarray = indices[held_out if split == "val" else ~held_out]
        return out

    captures = subset(len(pack.motions), 7)
    return AssetChoices(
        pack=pack,
        rig=Rig(pack.body),
        bodies=subset(len(pack.body.shape_samples), 8),
        captures=captures,
        capture_probabilities=_capture_probabilities(
            [pack.motions[index].name for index in captures]
        ),
        poses=subset(len(pack.poses), 7),
        panoramas=tuple(pack.panoramas[index] for index in subset(len(pack.panoramas), 6)),
        striding=striding,
    )


def _capture_probabilities(names: list[str]) -> np.ndarray:
    """Probability of each clip, lower in kinds with many clips: half of all clips are walks."""
    kinds = [name.rpartition("_")[0] for name in names]
    weights = np.array([kinds.count(kind) ** -0.5 for kind in kinds])
    capture_probabilities: np.ndarray = weights / max(weights.sum(), 1e-9)
    return capture_probabilities


def random_motion(
    rng: np.random.Generator, choices: AssetChoices, frames: int, fps: float
) -> Motion:
    """Draw a motion: a procedural gesture, a captured clip, a static pose, or parts of two of them.

    Two thirds of all but the gestures are varied, and a share of REORIENTED_SHARE is reoriented as
    a whole. A share of ``choices.striding`` strides past the camera, upright.
    """
    if rng.random() < choices.striding:
        motion = striding_motion(rng, choices.rig, frames, fps)
        return vary_motion(rng, motion, choices.rig) if rng.random() < 0.3 else motion
    motion, is_gesture = _base_motion(rng, choices, frames, fps)
    if rng.random() < 0.35:
        other, _ = _base_motion(rng, choices, frames, fps)
        motion, is_gesture = combine_motions(rng, motion, other, choices.rig), False
    if not is_gesture and rng.random() >= 0.33:
        motion = vary_motion(rng, motion, choices.rig)
    return reorient_body(rng, motion) if rng.random() < REORIENTED_SHARE else motion


def _base_motion(
    rng: np.random.Generator, choices: AssetChoices, frames: int, fps: float
) -> tuple[Motion, bool]:
    """One unchanged motion, and whether it is a procedural gesture."""
    kind = rng.random()
    if kind < 0.4 or (not len(choices.captures) and not len(choices.poses)):
        return gesture_motion(rng, choices.rig, frames, fps), True
    if kind < 0.85 and len(choices.captures):
        which = int(rng.choice(choices.captures, p=choices.capture_probabilities))
        return captured_motion(rng, choices.pack, which, frames, fps), False
    if len(choices.poses):
        return pose_motion(rng, choices.pack, frames, choices.poses), False
    return gesture_motion(rng, choices.rig, frames, fps), True
