"""Motion: limbs end where they should, feet stand on the floor, nothing jumps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.synth.motion.captured import captured
from thfm_ros.synth.motion.gestures import gesture
from thfm_ros.synth.motion.occupations import OCCUPATIONS, SEATED, STANDING, occupied_hands
from thfm_ros.synth.motion.variation import mixed, tumbled, varied
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.body import bone_positions
from thfm_ros.synth.people.limbs import Limbs, solve_arm, two_bones
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.scene.asset_choices import Choices, choose, random_motion


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_two_bones_reach_every_point_within_their_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, pole = rng.normal(0, 0.4, (1, 3)), rng.normal(size=(1, 3))
    upper, lower, hinge = two_bones(target, pole, 0.3, 0.25)
    end = 0.3 * upper + 0.25 * lower
    distance = np.linalg.norm(target)
    if 0.08 < distance < 0.54:
        np.testing.assert_allclose(end, target, atol=1e-6)
    else:  # too near or too far: in the right direction at least
        assert np.dot(end[0], target[0]) > 0
    np.testing.assert_allclose(np.sum(hinge * upper), 0, atol=1e-6)


@pytest.mark.parametrize("side", ["L", "R"])
def test_an_arm_brings_the_wrist_to_the_target(pack: AssetPack, side: str) -> None:
    rig, limbs = Rig(pack.body), Limbs.of(Rig(pack.body))
    sign = 1.0 if side == "L" else -1.0
    target = np.array([[0.1 * sign, -0.6, 0.2]])
    turns = np.broadcast_to(np.eye(3), (1, len(rig.names), 3, 3)).copy()
    solve_arm(rig, limbs, turns, np.eye(3)[None], side, target, np.array([0, 0, -1.0]), 0.0)
    heads = pack.body.heads.astype(float)
    places = bone_positions(turns, heads[:1], heads, pack.body.parents)[0]
    reached = places[rig.index[f"wrist.{side}"]] - places[rig.index[f"upperarm01.{side}"]]
    np.testing.assert_allclose(reached, target[0] * limbs.arm_length * limbs.unit_m, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_gestures_keep_the_feet_on_the_floor_and_the_knees_ahead(
    pack: AssetPack, seed: int
) -> None:
    rig, limbs = Rig(pack.body), Limbs.of(Rig(pack.body))
    motion = gesture(np.random.default_rng(seed), rig, 6, 10.0)
    heads = pack.body.heads.astype(float)
    places = bone_positions(motion.turns, motion.root * limbs.unit_m, heads, pack.body.parents)
    for side in "LR":
        hip, knee, ankle = (
            places[:, rig.index[f"{bone}.{side}"]] for bone in ("upperleg01", "lowerleg01", "foot")
        )
        assert (ankle[:, 2] < 0.35).all() and (ankle[:, 2] > -0.02).all(), motion.source
        straight = (hip + ankle) / 2
        assert ((knee - straight)[:, 1] < 0.02).all(), motion.source  # -y is ahead
    assert np.abs(np.diff(places, axis=0)).max() < 0.5, "nothing moves faster than 5 m/s"


def test_every_occupation_that_is_drawn_has_a_rule() -> None:
    assert set(STANDING) | set(SEATED) == set(OCCUPATIONS)
    for name, what in OCCUPATIONS.items():
        hands = occupied_hands(np.random.default_rng(1), what)
        for side, sign in (("L", 1.0), ("R", -1.0)):
            path, _, _ = hands(side, sign, np.arange(30) / 10)
            assert path.shape == (30, 3) and np.linalg.norm(path, axis=1).max() < 1.6, name


def test_a_capture_is_played_at_the_speed_that_was_asked_for(pack: AssetPack) -> None:
    slow = captured(np.random.default_rng(0), pack, 0, 11, fps=30.0)
    fast = captured(np.random.default_rng(0), pack, 0, 11, fps=10.0)
    bone = Rig(pack.body).index["head"]
    angle = [np.degrees(np.ptp(motion.turns[:, bone, 2, 1])) for motion in (slow, fast)]
    assert angle[1] > 1.5 * angle[0]


def test_a_clip_longer_than_the_capture_ends_with_the_capture(pack: AssetPack) -> None:
    motion = captured(np.random.default_rng(0), pack, 0, 200, fps=10.0)
    assert len(motion.turns) == 200 and np.isfinite(motion.turns).all()


@pytest.mark.parametrize("seed", range(8))
def test_varied_motion_still_consists_of_rotations(choices: Choices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    motion = varied(rng, random_motion(rng, choices, 3, 10.0), choices.rig)
    product = motion.turns @ motion.turns.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6)


@given(seed=st.integers(0, 10_000))
def test_who_tumbles_is_turned_as_a_whole_and_sits_on_no_chair(choices: Choices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    motion = random_motion(rng, choices, 3, 10.0)
    fallen = tumbled(rng, motion)
    fall = fallen.turns @ motion.turns.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(fall, np.broadcast_to(fall[0, 0], fall.shape), atol=1e-6)
    np.testing.assert_allclose(fall[0, 0] @ fall[0, 0].T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(fallen.root, motion.root @ fall[0, 0].T, atol=1e-6)
    assert fallen.seat_m is None


def test_some_people_lie_and_some_stand_on_their_heads(choices: Choices) -> None:
    """How far the head's direction is from up, over many motions: most stand, few captures lie."""
    rng = np.random.default_rng(0)
    up = np.array(
        [
            (random_motion(rng, choices, 1, 10.0).turns[0, 0] @ np.array([0.0, 0.0, 1.0]))[2]
            for _ in range(400)
        ]
    )
    assert 0.6 < (up > 0.7).mean() < 0.9
    assert (abs(up) < 0.5).mean() > 0.08
    assert (up < -0.7).mean() > 0.04


@pytest.mark.parametrize("seed", range(8))
def test_a_mixed_motion_keeps_the_legs_of_one_and_takes_an_arm_as_it_hung_on_the_other(
    choices: Choices, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    legs, other = (gesture(rng, choices.rig, 3, 10.0) for _ in range(2))
    motion, rig = mixed(rng, legs, other, choices.rig), choices.rig
    product = motion.turns @ motion.turns.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6)
    below = rig.below("upperleg01.L")
    np.testing.assert_array_equal(motion.turns[:, below], legs.turns[:, below])

    def elbow(turns: np.ndarray, side: str) -> np.ndarray:
        upper, lower = (
            turns[:, rig.index[f"{bone}.{side}"]] for bone in ("upperarm01", "lowerarm01")
        )
        bent: np.ndarray = upper.transpose(0, 2, 1) @ lower
        return bent

    same = [
        np.allclose(elbow(motion.turns, side), elbow(other.turns, side), atol=1e-6) for side in "LR"
    ]
    assert any(same)


def test_training_and_held_out_assets_are_disjoint(pack: AssetPack) -> None:
    train, held_out = choose(pack, "train"), choose(pack, "val")
    assert not set(train.bodies) & set(held_out.bodies)
    assert set(train.bodies) | set(held_out.bodies) == set(choose(pack, "all").bodies)
