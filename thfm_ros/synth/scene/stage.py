# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Random scenes: people in motion, props, a backdrop and lighting."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.people.body import bone_positions, linear_blend_skinning, regress_joints
from thfm_ros.synth.people.person import PersonModel, random_person_model
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import axis_rotation
from thfm_ros.synth.scene.assemble import PosedPerson, Scene, assemble_scene
from thfm_ros.synth.scene.asset_choices import AssetChoices, random_motion
from thfm_ros.synth.scene.carried import carried_props
from thfm_ros.synth.scene.clutter import Prop, chair, random_prop, table
from thfm_ros.synth.scene.decoys import random_decoy
from thfm_ros.synth.scene.lying import random_lying_prop
from thfm_ros.synth.scene.place import random_backdrop
from thfm_ros.synth.shading.backdrop import ROOM
from thfm_ros.synth.shading.light import indoor_lighting, random_lighting

NEAREST_M = 0.55  # least distance between two people
DECOY_SHARE = 0.1  # share of decoys among the props
LYING_SHARE = 0.2  # share of props on the floor or below the ceiling


@dataclass(frozen=True)
class PersonGroup:
    """Person models that appear together in several clips, with their materials."""

    people: tuple[PersonModel, ...]
    palette: Palette


@dataclass(frozen=True)
class SceneLayout:
    """Distribution of people and props in a scene."""

    person_spread_m: float = 0.8  # standard deviation of the people's positions
    prop_spread_m: float = 1.4  # standard deviation of the props' positions
    # Probability of 0, 1, .. props.
    prop_probabilities: tuple[float, ...] = (0.3, 0.2, 0.2, 0.15, 0.1, 0.05)
    flat_probability: float = 0.22  # probability of a flat image as backdrop


def random_person_group(rng: np.random.Generator, choices: AssetChoices, count: int) -> PersonGroup:
    """Draw ``count`` person models."""
    palette = Palette()
    people = [random_person_model(rng, choices.pack, palette, choices.bodies) for _ in range(count)]
    return PersonGroup(tuple(people), palette)


def random_scene(
    rng: np.random.Generator,
    choices: AssetChoices,
    group: PersonGroup,
    frames: int,
    fps: float,
    layout: SceneLayout,
) -> Scene:
    """Draw motions, props, backdrop and lighting for a group of people.

    Args:
        rng: random generator.
        choices: the assets that may be used.
        group: the people; may be empty.
        frames: number of frames.
        fps: frames per second.
        layout: distribution of people and props.
    """
    palette = group.palette.copy()
    spots = _spots(rng, len(group.people), layout.person_spread_m)
    people: list[PosedPerson] = []
    props: list[Prop] = []
    for person, spot in zip(group.people, spots, strict=True):
        motion = random_motion(rng, choices, frames, fps)
        yaw = _random_heading(rng, motion.passing)
        posed = pose_person(rng, choices, palette, person, motion, spot, yaw)
        people.append(posed)
        if motion.seat_m is not None:
            props += _furniture(rng, palette, posed, person.shape.leg_m)
    props += _clutter(rng, palette, choices, layout, spots)
    lighting = random_lighting(rng, choices.panoramas)
    backdrop = random_backdrop(rng, palette, choices, lighting, people, layout.flat_probability)
    if backdrop.mode == ROOM:
        lighting = indoor_lighting(lighting)
    return assemble_scene(people, props, palette, backdrop, lighting, frames)


def _spots(rng: np.random.Generator, count: int, person_spread_m: float) -> list[np.ndarray]:
    spots: list[np.ndarray] = []
    for number in range(count):
        spot = np.zeros(2)
        for _ in range(50):
            spot = rng.normal(0, person_spread_m, 2) * [1, 1.4] * (number > 0)
            if all(np.linalg.norm(spot - other) > NEAREST_M for other in spots):
                break
        spots.append(spot)
    return spots


def pose_person(
    rng: np.random.Generator,
    choices: AssetChoices,
    palette: Palette,
    person: PersonModel,
    motion: Motion,
    spot: np.ndarray,
    yaw: float,
) -> PosedPerson:
    """Pose a person in all frames: heading, skinning, contact with the floor, position.

    Args:
        rng: random generator, for what the person carries.
        choices: the assets.
        palette: materials of carried props are added to it.
        person: the person in rest pose.
        motion: the motion; its heading is that of its middle frame.
        spot: x and y of the middle of the path, world, metres.
        yaw: heading about z, radians; 0 faces -y, where the camera is.
    """
    body, mesh, heads = choices.pack.body, person.mesh, person.shape.heads
    middle = motion.rotations[len(motion.rotations) // 2, 0] @ np.array([0.0, -1.0, 0.0])
    heading = np.arctan2(middle[0], -middle[1])
    rotation = axis_rotation("z", yaw - heading)
    rotations = rotation @ motion.rotations
    root = motion.root @ rotation.T * person.shape.leg_m
    positions = bone_positions(rotations, root, heads, body.parents)
    vertices = linear_blend_skinning(
        mesh.rest, mesh.bones, mesh.weights, rotations, positions, heads
    )
    landmark_ids = body.regressor_vertices
    landmarks = linear_blend_skinning(
        person.landmarks,
        body.bones[landmark_ids],
        body.weights[landmark_ids],
        rotations,
        positions,
        heads,
    )
    joints = regress_joints(body, landmarks, positions)
    middle_xy = vertices[:, :, :2].mean(axis=(0, 1))
    shift = np.array([*(spot - middle_xy), -vertices[:, :, 2].min()])
    positions += shift
    carried = carried_props(rng, palette, choices.rig, rotations, positions, motion.source)
    return PosedPerson(
        vertices=vertices + shift.astype(np.float32),
        mesh=mesh,
        joints=joints + shift,
        bones=positions,
        motion=motion,
        yaw=yaw,
        carried=tuple(carried),
    )


def _random_heading(rng: np.random.Generator, passing: bool) -> float:
    """Heading of a person, radians; 0 faces the camera roughly."""
    if passing and rng.random() < 0.75:
        return float(rng.choice([-0.5, 0.5]) * np.pi + rng.normal(0, 0.35))
    anywhere = rng.random() < 0.65
    return float(rng.uniform(-np.pi, np.pi) if anywhere else rng.normal(0, 0.7))


def _furniture(
    rng: np.random.Generator, palette: Palette, posed: PosedPerson, leg_m: float
) -> list[Prop]:
    """A seat below a seated person, often with a table in front."""
    pelvis = posed.joints[:, 23].mean(axis=0)
    seat = max(0.15, float(pelvis[2]) - 0.1 * leg_m)
    yaw = posed.yaw
    forward = axis_rotation("z", yaw) @ np.array([0.0, -1.0, 0.0])
    props = [chair(rng, palette, seat).moved(np.array([*pelvis[:2], 0]) - 0.02 * forward, yaw)]
    if rng.random() < 0.45:
        height = seat + rng.uniform(0.2, 0.32)
        desk = table(rng, palette, height)
        props.append(desk.moved(np.array([*pelvis[:2], 0]) + forward * rng.uniform(0.5, 0.75), yaw))
    return props


def _clutter(
    rng: np.random.Generator,
    palette: Palette,
    choices: AssetChoices,
    layout: SceneLayout,
    spots: list[np.ndarray],
) -> list[Prop]:
    """Draw props: clutter, props on the floor (people may stand on them), and decoys."""
    props = []
    for _ in range(rng.choice(len(layout.prop_probabilities), p=layout.prop_probabilities)):
        kind = rng.random()
        if kind < LYING_SHARE:
            prop = random_lying_prop(rng, palette)
        elif kind < LYING_SHARE + DECOY_SHARE:
            prop = random_decoy(rng, choices.pack, choices.rig, palette)
        else:
            prop = random_prop(rng, palette)
        widest = float(np.linalg.norm(prop.vertices[:, :2], axis=1).max())
        clearance = 0.0 if kind < LYING_SHARE else 0.35 + widest
        for _ in range(20):
            spot = rng.normal(0, layout.prop_spread_m, 2)
            if all(np.linalg.norm(spot - other) > clearance for other in spots):
                props.append(prop.moved(np.array([*spot, 0.0]), rng.uniform(0, 6.3)))
                break
    return props
