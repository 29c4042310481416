"""Striding people: legs apart, either one ahead, arms against legs, seen from the side."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.gestures import striding
from thfm_ros.synth.motion.strides import Legs, lunge, run, swinging_hands, walk
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions
from thfm_ros.synth.people.limbs import Limbs
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.scene.asset_choices import Choices, random_motion
from thfm_ros.synth.scene.stage import Setting, random_cast, random_stage


def _places(rig: Rig, motion: Motion) -> np.ndarray:
    """Where bones begin, for legs of one metre; -y is ahead."""
    heads, unit_m = rig.body.heads.astype(float), Limbs.of(rig).unit_m
    places = bone_positions(motion.turns, motion.root * unit_m, heads, rig.body.parents)
    out: np.ndarray = places / unit_m
    return out


@pytest.mark.parametrize("seed", range(24))
def test_striding_people_stand_on_the_floor_and_their_knees_point_ahead(
    pack: AssetPack, seed: int
) -> None:
    rig = Rig(pack.body)
    places = _places(rig, striding(np.random.default_rng(seed), rig, 6, 10.0))
    for side in "LR":
        hip, knee, ankle = (
            places[:, rig.index[f"{bone}.{side}"]] for bone in ("upperleg01", "lowerleg01", "foot")
        )
        assert (ankle[:, 2] > -0.03).all()
        thigh, shin = knee - hip, ankle - knee
        # The shin goes back, never ahead; a leg held high may turn about itself a little.
        bent = thigh[:, 1] * shin[:, 2] - thigh[:, 2] * shin[:, 1]
        assert (bent > -0.05).all()


def test_legs_are_apart_and_either_one_leads_as_often(pack: AssetPack) -> None:
    rig = Rig(pack.body)
    left, right = rig.index["foot.L"], rig.index["foot.R"]
    apart = []
    for seed in range(200):
        places = _places(rig, striding(np.random.default_rng(seed), rig, 1, 10.0))[0]
        apart.append(places[left, 1] - places[right, 1])
    assert np.median(np.abs(apart)) > 0.25
    assert 0.4 < np.mean(np.array(apart) > 0) < 0.6


@pytest.mark.parametrize("legs", [walk, run])
def test_a_hand_swings_with_the_other_foot(pack: AssetPack, legs: Callable[..., Legs]) -> None:
    times = np.arange(60) / 30
    _, root, _, feet = legs(np.random.default_rng(1), times, Limbs.of(Rig(pack.body)))
    hands = swinging_hands(np.random.default_rng(2), root, feet)
    for side, other in ("LR", "RL"):
        wrist = hands(side, 1.0, times)[0][:, 1]
        with_other, with_own = (
            np.corrcoef(wrist, feet[each][:, 1] - root[:, 1])[0, 1] for each in (other, side)
        )
        assert with_other > 0.9 and with_own < 0


def test_a_held_leg_is_in_the_air_and_the_other_one_carries(pack: AssetPack) -> None:
    limbs = Limbs.of(Rig(pack.body))
    raised = 0
    for seed in range(60):
        _, _, _, feet = lunge(np.random.default_rng(seed), np.arange(3) / 10, limbs)
        heights = np.array([feet[side][:, 2].mean() - limbs.ankle_height for side in "LR"])
        assert heights.min() < 0.05
        raised += int(heights.max() > 0.06)
    assert 10 < raised < 35


def test_most_of_those_who_stride_are_seen_from_the_side(choices: Choices) -> None:
    rng = np.random.default_rng(3)
    passing = replace(choices, striding=1.0)
    turned = []
    for _ in range(60):
        cast = random_cast(rng, passing, 1)
        stage = random_stage(rng, passing, cast, 1, 10.0, Setting(things=(1.0,)))
        turned.append(abs(np.sin(stage.people[0].yaw)))
    assert np.mean(np.array(turned) > 0.7) > 0.7


def test_nobody_strides_where_nobody_shall(choices: Choices) -> None:
    rng = np.random.default_rng(4)
    still = replace(choices, striding=0.0)
    assert not any(random_motion(rng, still, 1, 10.0).passing for _ in range(80))
    moving = replace(choices, striding=1.0)
    assert all(random_motion(rng, moving, 1, 10.0).passing for _ in range(20))
