# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Motion: inverse kinematics, contact with the floor, smoothness, variations and splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.synth.motion.captured import captured_motion
from thfm_ros.synth.motion.gestures import gesture_motion
from thfm_ros.synth.motion.occupations import OCCUPATIONS, SEATED, STANDING, occupied_hands
from thfm_ros.synth.motion.variation import combine_motions, reorient_body, vary_motion
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions
from thfm_ros.synth.people.limbs import Limbs, solve_arm, two_bone_ik
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets, random_motion


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_two_bone_ik_reaches_every_point_within_its_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, pole = rng.normal(0, 0.4, (1, 3)), rng.normal(size=(1, 3))
    upper, lower, hinge = two_bone_ik(target, pole, 0.3, 0.25)
    end = 0.3 * upper + 0.25 * lower
    distance = np.linalg.norm(target)
    if 0.08 < distance < 0.54:
        np.testing.assert_allclose(end, target, atol=1e-6)
    else:  # out of reach: at least the direction is right
        assert np.dot(end[0], target[0]) > 0
    np.testing.assert_allclose(np.sum(hinge * upper), 0, atol=1e-6)


@pytest.mark.parametrize("side", ["L", "R"])
def test_solve_arm_brings_the_wrist_to_the_target(pack: AssetPack, side: str) -> None:
    rig, limbs = Rig(pack.body), Limbs.of(Rig(pack.body))
    sign = 1.0 if side == "L" else -1.0
    target = np.array([[0.1 * sign, -0.6, 0.2]])
    rotations = np.broadcast_to(np.eye(3), (1, len(rig.names), 3, 3)).copy()
    solve_arm(rig, limbs, rotations, np.eye(3)[None], side, target, np.array([0, 0, -1.0]), 0.0)
    heads = pack.body.heads.astype(float)
    positions = bone_positions(rotations, heads[:1], heads, pack.body.parents)[0]
    reached = positions[rig.index[f"wrist.{side}"]] - positions[rig.index[f"upperarm01.{side}"]]
    np.testing.assert_allclose(reached, target[0] * limbs.arm_length * limbs.unit_m, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_gestures_keep_feet_on_the_floor_and_knees_ahead_of_the_legs(
    pack: AssetPack, seed: int
) -> None:
    rig, limbs = Rig(pack.body), Limbs.of(Rig(pack.body))
    motion = gesture_motion(np.random.default_rng(seed), rig, 6, 10.0)
    heads = pack.body.heads.astype(float)
    positions = bone_positions(
        motion.rotations, motion.root * limbs.unit_m, heads, pack.body.parents
    )
    for side in "LR":
        hip, knee, ankle = (
            positions[:, rig.index[f"{bone}.{side}"]]
            for bone in ("upperleg01", "lowerleg01", "foot")
        )
        assert (ankle[:, 2] < 0.35).all() and (ankle[:, 2] > -0.02).all(), motion.source
        straight = (hip + ankle) / 2
        assert ((knee - straight)[:, 1] < 0.02).all(), motion.source  # -y is ahead
    assert np.abs(np.diff(positions, axis=0)).max() < 0.5, "nothing moves faster than 5 m/s"


def test_every_occupation_that_can_be_drawn_is_defined() -> None:
    assert set(STANDING) | set(SEATED) == set(OCCUPATIONS)
    for name, occupation in OCCUPATIONS.items():
        hands = occupied_hands(np.random.default_rng(1), occupation)
        for side, sign in (("L", 1.0), ("R", -1.0)):
            path, _, _ = hands(side, sign, np.arange(30) / 10)
            assert path.shape == (30, 3) and np.linalg.norm(path, axis=1).max() < 1.6, name


def test_a_captured_clip_is_resampled_at_the_requested_rate(pack: AssetPack) -> None:
    slow = captured_motion(np.random.default_rng(0), pack, 0, 11, fps=30.0)
    fast = captured_motion(np.random.default_rng(0), pack, 0, 11, fps=10.0)
    bone = Rig(pack.body).index["head"]
    angle = [np.degrees(np.ptp(motion.rotations[:, bone, 2, 1])) for motion in (slow, fast)]
    assert angle[1] > 1.5 * angle[0]


def test_a_motion_longer_than_its_captured_clip_is_slowed_down(pack: AssetPack) -> None:
    motion = captured_motion(np.random.default_rng(0), pack, 0, 200, fps=10.0)
    assert len(motion.rotations) == 200 and np.isfinite(motion.rotations).all()


@pytest.mark.parametrize("seed", range(8))
def test_varied_motions_consist_of_rotations(choices: AssetChoices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    motion = vary_motion(rng, random_motion(rng, choices, 3, 10.0), choices.rig)
    product = motion.rotations @ motion.rotations.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_a_reoriented_body_is_rotated_as_a_whole_and_has_no_seat(
    choices: AssetChoices, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    motion = random_motion(rng, choices, 3, 10.0)
    reoriented = reorient_body(rng, motion)
    rotation = reoriented.rotations @ motion.rotations.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(rotation, np.broadcast_to(rotation[0, 0], rotation.shape), atol=1e-6)
    np.testing.assert_allclose(rotation[0, 0] @ rotation[0, 0].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(reoriented.root, motion.root @ rotation[0, 0].T, atol=1e-6)
    assert reoriented.seat_m is None


def test_some_people_lie_and_some_are_upside_down(choices: AssetChoices) -> None:
    """Vertical component of the pelvis' up axis over many motions; most people are upright."""
    rng = np.random.default_rng(0)
    up = np.array(
        [
            (random_motion(rng, choices, 1, 10.0).rotations[0, 0] @ np.array([0.0, 0.0, 1.0]))[2]
            for _ in range(400)
        ]
    )
    assert 0.6 < (up > 0.7).mean() < 0.9
    assert (abs(up) < 0.5).mean() > 0.08
    assert (up < -0.7).mean() > 0.04


@pytest.mark.parametrize("seed", range(8))
def test_a_combined_motion_has_the_legs_of_one_and_at_least_one_arm_of_the_other(
    choices: AssetChoices, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    legs, other = (gesture_motion(rng, choices.rig, 3, 10.0) for _ in range(2))
    motion, rig = combine_motions(rng, legs, other, choices.rig), choices.rig
    product = motion.rotations @ motion.rotations.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6)
    subtree = rig.subtree("upperleg01.L")
    np.testing.assert_array_equal(motion.rotations[:, subtree], legs.rotations[:, subtree])

    def elbow(rotations: np.ndarray, side: str) -> np.ndarray:
        upper, lower = (
            rotations[:, rig.index[f"{bone}.{side}"]] for bone in ("upperarm01", "lowerarm01")
        )
        bent: np.ndarray = upper.transpose(0, 2, 1) @ lower
        return bent

    same = [
        np.allclose(elbow(motion.rotations, side), elbow(other.rotations, side), atol=1e-6)
        for side in "LR"
    ]
    assert any(same)


def test_training_and_held_out_assets_are_disjoint(pack: AssetPack) -> None:
    train, held_out = choose_assets(pack, "train"), choose_assets(pack, "val")
    assert not set(train.bodies) & set(held_out.bodies)
    assert set(train.bodies) | set(held_out.bodies) == set(choose_assets(pack, "all").bodies)
