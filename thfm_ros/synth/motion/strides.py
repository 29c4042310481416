# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Leg motions with the legs apart: walking, running, lunging, one leg raised.

Seen from the side, the left and the right leg look alike, and only their occlusion tells them
apart; few captured clips show people who pass a camera. All lengths are in leg lengths of the
person, who faces -y.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.motion.occupations import DOWN_BACK, Hands
from thfm_ros.synth.people.limbs import SIDES, Limbs
from thfm_ros.synth.primitives.rotation import axis_rotation, from_axis_angle, smooth_noise

Path = Float[np.ndarray, "t 3"]
Times = Float[np.ndarray, "t"]


class LegMotion(NamedTuple):
    """Motion of pelvis and legs."""

    pelvis: Float[np.ndarray, "t 3 3"]  # rotation
    root: Path  # position of the pelvis
    lean: float  # of the trunk, forwards, radians
    ankles: dict[str, Path]  # by side, "L" and "R"


def walk(rng: np.random.Generator, times: Times, limbs: Limbs) -> LegMotion:
    """Walk at 0.5 to 1.7 m/s: a foot stands for 60 % of its cycle and swings in an arc."""
    speed = rng.uniform(0.5, 1.7)
    stride = 0.75 + 0.42 * speed  # length of a gait cycle
    phase = times * speed / stride
    bob = 0.018 * np.cos(4 * np.pi * phase)
    ahead = -speed * (times - times[0])
    lift = limbs.leg_length * 0.955
    root = np.stack([0.015 * np.sin(2 * np.pi * phase), ahead, lift + bob], axis=1)
    pelvis = axis_rotation("z", 0.1 * np.sin(2 * np.pi * phase))

    def step(cycle: Times) -> tuple[Times, Times]:
        swinging = np.clip((cycle - 0.6) / 0.4, 0, 1)
        along = np.where(cycle < 0.6, 0.3 - cycle, -0.3 + 0.6 * swinging) * stride
        return along, limbs.ankle_height + 0.11 * np.sin(np.pi * swinging)

    return LegMotion(pelvis, root, 0.06, _alternating(phase, ahead, 0.08, step))


def run(rng: np.random.Generator, times: Times, limbs: Limbs) -> LegMotion:
    """Run at 1.8 to 5 m/s: a foot stands for a third of its cycle, the heel swings up behind."""
    speed = rng.uniform(1.8, 5.0)
    stance = rng.uniform(0.28, 0.4)
    stride = 0.9 + 0.38 * speed
    phase = times * speed / stride
    bob = 0.035 * np.cos(4 * np.pi * phase)
    ahead = -speed * (times - times[0])
    root = np.stack([0 * phase, ahead, limbs.leg_length * rng.uniform(0.9, 0.96) + bob], axis=1)
    pelvis = axis_rotation("z", 0.15 * np.sin(2 * np.pi * phase))
    heel_m = rng.uniform(0.2, 0.6)
    half = stance * stride / 2

    def step(cycle: Times) -> tuple[Times, Times]:
        swinging = np.clip((cycle - stance) / (1 - stance), 0, 1)
        along = np.where(cycle < stance, half - cycle * stride, -half * np.cos(np.pi * swinging))
        return along, limbs.ankle_height + heel_m * np.sin(np.pi * swinging**0.7)

    return LegMotion(pelvis, root, rng.uniform(0.0, 0.3), _alternating(phase, ahead, 0.05, step))


def _alternating(
    phase: Times, ahead: Times, sideways: float, step: Callable[[Times], tuple[Times, Times]]
) -> dict[str, Path]:
    """Paths of both ankles, half a gait cycle apart.

    ``step`` maps phases 0..1 to how far the ankle is ahead of the hips, and to its height.
    """
    ankles = {}
    for side, sign in SIDES:
        along, height = step((phase + (0.0 if sign > 0 else 0.5)) % 1)
        ankles[side] = np.stack(
            [np.full(len(phase), sideways * sign), ahead - along, height], axis=1
        )
    return ankles


def lunge(rng: np.random.Generator, times: Times, limbs: Limbs) -> LegMotion:
    """One foot ahead and one behind, hips lowered; or one leg raised, ahead or behind."""
    frames = len(times)
    leading = str(rng.choice(["L", "R"]))
    reach = {"ahead": rng.uniform(0.1, 0.65), "behind": rng.uniform(0.1, 0.65)}
    hips = np.sqrt(limbs.leg_length**2 - max(reach.values()) ** 2) * rng.uniform(0.7, 0.99)
    sway = smooth_noise(rng, frames, 3, 0.015)
    root = np.array([0.0, 0.0, hips]) + sway
    pelvis = from_axis_angle(2 * sway + [rng.normal(0.05, 0.12), rng.normal(0, 0.05), 0.0])
    raised = str(rng.choice(["L", "R"])) if rng.random() < 0.35 else ""
    ankles = {}
    for side, sign in SIDES:
        along = reach["ahead"] if side == leading else -reach["behind"]
        up = rng.uniform(0.1, 0.9) * hips if side == raised else 0.0
        if raised and side != raised:
            along *= 0.2  # the other leg carries the body
        position = [sign * abs(rng.normal(0.06, 0.05)), -along, limbs.ankle_height + up]
        ankles[side] = np.tile(position, (frames, 1)) + smooth_noise(rng, frames, 3, 0.02) * (
            up > 0
        )
    return LegMotion(pelvis, root, rng.normal(0.15, 0.25), ankles)


def swinging_hands(rng: np.random.Generator, root: Path, ankles: dict[str, Path]) -> Hands:
    """Each arm swings with the opposite leg, hanging or bent; see occupations.Hands."""
    bend = rng.uniform(0, 1)
    amplitude = rng.uniform(0.3, 0.9)
    offset = rng.normal(0, 0.05, 3)
    twist = {side: rng.normal(0, 0.2) for side, _ in SIDES}

    def hands(side: str, sign: float, times: Times) -> tuple[Path, np.ndarray, float]:
        other = ankles["R" if side == "L" else "L"]
        ahead = -(other - root)[:, 1] * amplitude
        hanging = np.stack([0.12 + 0 * ahead, -0.08 - ahead, -0.9 + 0.3 * ahead**2], axis=1)
        running = np.stack([0.05 - 0.25 * ahead, -0.3 - ahead, -0.45 + 0.5 * ahead], axis=1)
        path = (1 - bend) * hanging + bend * running + offset
        return path * [sign, 1, 1], DOWN_BACK * [sign, 1, 1], twist[side]

    return hands
