# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Striding people: leg and arm motion, and heading relative to the camera."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.gestures import striding_motion
from thfm_ros.synth.motion.strides import LegMotion, lunge, run, swinging_hands, walk
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions
from thfm_ros.synth.people.limbs import Limbs
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.scene.asset_choices import AssetChoices, random_motion
from thfm_ros.synth.scene.stage import SceneLayout, random_person_group, random_scene


def _bone_heads(rig: Rig, motion: Motion) -> np.ndarray:
    """Bone heads in leg lengths; -y is ahead."""
    heads, unit_m = rig.body.heads.astype(float), Limbs.of(rig).unit_m
    positions = bone_positions(motion.rotations, motion.root * unit_m, heads, rig.body.parents)
    out: np.ndarray = positions / unit_m
    return out


@pytest.mark.parametrize("seed", range(24))
def test_striding_people_stay_above_the_floor_and_their_knees_bend_ahead(
    pack: AssetPack, seed: int
) -> None:
    rig = Rig(pack.body)
    positions = _bone_heads(rig, striding_motion(np.random.default_rng(seed), rig, 6, 10.0))
    for side in "LR":
        hip, knee, ankle = (
            positions[:, rig.index[f"{bone}.{side}"]]
            for bone in ("upperleg01", "lowerleg01", "foot")
        )
        assert (ankle[:, 2] > -0.03).all()
        thigh, shin = knee - hip, ankle - knee
        # The shin bends backwards, never ahead; a raised leg may twist a little.
        bent = thigh[:, 1] * shin[:, 2] - thigh[:, 2] * shin[:, 1]
        assert (bent > -0.05).all()


def test_legs_are_apart_and_each_leads_equally_often(pack: AssetPack) -> None:
    rig = Rig(pack.body)
    left, right = rig.index["foot.L"], rig.index["foot.R"]
    leads = []
    for seed in range(200):
        positions = _bone_heads(rig, striding_motion(np.random.default_rng(seed), rig, 1, 10.0))[0]
        leads.append(positions[left, 1] - positions[right, 1])
    assert np.median(np.abs(leads)) > 0.25
    assert 0.4 < np.mean(np.array(leads) > 0) < 0.6


@pytest.mark.parametrize("legs", [walk, run])
def test_a_hand_swings_with_the_opposite_foot(
    pack: AssetPack, legs: Callable[..., LegMotion]
) -> None:
    times = np.arange(60) / 30
    _, root, _, ankles = legs(np.random.default_rng(1), times, Limbs.of(Rig(pack.body)))
    hands = swinging_hands(np.random.default_rng(2), root, ankles)
    for side, other in ("LR", "RL"):
        wrist = hands(side, 1.0, times)[0][:, 1]
        with_other, with_own = (
            np.corrcoef(wrist, ankles[each][:, 1] - root[:, 1])[0, 1] for each in (other, side)
        )
        assert with_other > 0.9 and with_own < 0


def test_a_raised_leg_is_in_the_air_and_the_other_one_on_the_floor(pack: AssetPack) -> None:
    limbs = Limbs.of(Rig(pack.body))
    raised = 0
    for seed in range(60):
        _, _, _, ankles = lunge(np.random.default_rng(seed), np.arange(3) / 10, limbs)
        heights = np.array([ankles[side][:, 2].mean() - limbs.ankle_height for side in "LR"])
        assert heights.min() < 0.05
        raised += int(heights.max() > 0.06)
    assert 10 < raised < 35


def test_most_striding_people_are_seen_from_the_side(choices: AssetChoices) -> None:
    rng = np.random.default_rng(3)
    choices = replace(choices, striding=1.0)
    sideways = []
    for _ in range(60):
        group = random_person_group(rng, choices, 1)
        scene = random_scene(rng, choices, group, 1, 10.0, SceneLayout(prop_probabilities=(1.0,)))
        sideways.append(abs(np.sin(scene.people[0].yaw)))
    assert np.mean(np.array(sideways) > 0.7) > 0.7


def test_the_share_of_striding_people_can_be_zero_or_one(choices: AssetChoices) -> None:
    rng = np.random.default_rng(4)
    without = replace(choices, striding=0.0)
    assert not any(random_motion(rng, without, 1, 10.0).passing for _ in range(80))
    always = replace(choices, striding=1.0)
    assert all(random_motion(rng, always, 1, 10.0).passing for _ in range(20))
