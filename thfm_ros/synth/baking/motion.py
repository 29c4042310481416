# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Captured motion for a pack: CMU (exponential maps), DeepMimic (JSON), MakeHuman poses (BVH).

All are retargeted alike: a segment's rotation in world axes, times the smallest rotation from the
body's rest direction of that limb to the source's rest direction.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thfm_ros.synth.baking.body import AssetSourceError
from thfm_ros.synth.pack import QUATERNION_UNIT, BodyAssets, MotionClip
from thfm_ros.synth.people.segments import SEGMENTS, rest_directions
from thfm_ros.synth.primitives.rotation import (
    axis_rotation,
    from_axis_angle,
    from_quaternion,
    rotation_between,
    to_axis_angle,
    to_quaternion,
)

logger = logging.getLogger(__name__)
FPS = 30.0
Y_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # world from x left, y up, z ahead
DEEPMIMIC = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])  # world from x ahead, y up, z right
CMU_FPS, CMU_LEG_M = 120.0, 0.05644 / 0.95  # unit of length in metres over leg length in metres
CMU_PARENTS = np.array(
    [0, 1, 2, 3, 4, 5, 6, 1, 8, 9, 10, 11, 12, 1, 14, 15, 16, 17, 18, 19, 16, 21, 22, 23, 24, 25,
     26, 24, 28, 16, 30, 31, 32, 33, 34, 35, 33, 37]
) - 1  # fmt: skip
CMU_JOINTS = {
    "hips": 0, "thighL": 2, "shinL": 3, "footL": 4, "toeL": 5, "thighR": 8, "shinR": 9,
    "footR": 10, "toeR": 11, "spine0": 13, "spine1": 14, "spine2": 15, "neck": 17, "head": 18,
    "clavL": 20, "uarmL": 21, "farmL": 22, "handL": 23, "clavR": 29, "uarmR": 30, "farmR": 31,
    "handR": 32,
}  # fmt: skip
CMU_REST = {
    "thighL": (2.5972, -7.13576, 0), "shinL": (2.49236, -6.8477, 0),
    "footL": (0.19704, -0.54136, 2.14581), "thighR": (-2.59502, -7.12977, 0),
    "shinR": (-2.4678, -6.78024, 0), "footR": (-0.23024, -0.63258, 2.13368),
    "uarmL": (1, 0, 0), "farmL": (1, 0, 0), "handL": (1, 0, 0),
    "uarmR": (-1, 0, 0), "farmR": (-1, 0, 0), "handR": (-1, 0, 0),
}  # fmt: skip


def bake_motions(
    paths: list[Path], body: BodyAssets, read: Callable[[Path, BodyAssets], MotionClip]
) -> list[MotionClip]:
    """All files that ``read`` can parse; others are skipped with a warning."""
    out = []
    for path in paths:
        try:
            out.append(read(path, body))
        except (ValueError, OSError, KeyError, IndexError) as error:
            logger.warning("Skipped %s: %s", path.name, str(error)[:120])
    return out


def read_cmu(path: Path, body: BodyAssets) -> MotionClip:
    """Read comma-separated exponential maps of 38 joints; the first row is a T-pose.

    Raises:
        ValueError: a row does not hold 117 numbers.
    """
    rows = np.loadtxt(path, delimiter=",")[1 :: round(CMU_FPS / FPS)]
    if rows.ndim != 2 or rows.shape[1] != 117:
        raise ValueError("not 117 numbers per row")
    # The source's rotations act on row vectors, so they are inverted.
    local = from_axis_angle(-rows[:, 3:].reshape(len(rows), 38, 3))
    world_rotations = np.zeros_like(local)
    for joint, parent in enumerate(CMU_PARENTS):
        world_rotations[:, joint] = local[:, joint]
        if parent >= 0:
            world_rotations[:, joint] = world_rotations[:, parent] @ local[:, joint]
    segments = {
        name: Y_UP @ world_rotations[:, joint] @ Y_UP.T for name, joint in CMU_JOINTS.items()
    }
    rest = {name: Y_UP @ np.array(direction) for name, direction in CMU_REST.items()}
    root = rows[:, :3] @ Y_UP.T * CMU_LEG_M
    return _clip(f"cmu/{path.stem}", segments, rest, root, body)


def read_deepmimic(path: Path, body: BodyAssets) -> MotionClip:
    """Read a humanoid3d clip: per frame the duration, root, and joint quaternions w x y z."""
    rows = np.array(json.loads(path.read_text())["Frames"], dtype=float)
    rows = _resampled(rows[:, 1:], 1.0 / rows[0, 0])

    def ball(column: int) -> np.ndarray:
        return from_quaternion(rows[:, [column + 1, column + 2, column + 3, column]])

    def hinge(column: int) -> np.ndarray:
        return axis_rotation("z", rows[:, column])

    root = ball(3)
    chest = root @ ball(7)
    head = chest @ ball(11)
    world_rotations = {
        "hips": root,
        "spine0": _halfway(root, chest),
        "spine1": chest,
        "spine2": chest,
    }
    world_rotations |= {"neck": _halfway(chest, head), "head": head}
    for side, (thigh, knee, ankle, shoulder, elbow) in {
        "R": (15, 19, 20, 24, 28), "L": (29, 33, 34, 38, 42),
    }.items():  # fmt: skip
        world_rotations["thigh" + side] = root @ ball(thigh)
        world_rotations["shin" + side] = world_rotations["thigh" + side] @ hinge(knee)
        world_rotations["foot" + side] = world_rotations["toe" + side] = world_rotations[
            "shin" + side
        ] @ ball(ankle)
        world_rotations["clav" + side] = chest
        world_rotations["uarm" + side] = chest @ ball(shoulder)
        world_rotations["farm" + side] = world_rotations["hand" + side] = world_rotations[
            "uarm" + side
        ] @ hinge(elbow)
    segments = {
        name: DEEPMIMIC @ rotation @ DEEPMIMIC.T for name, rotation in world_rotations.items()
    }
    down, ahead = DEEPMIMIC @ np.array([0, -1.0, 0]), DEEPMIMIC @ np.array([1, -0.25, 0])
    limbs = ("uarm", "farm", "hand", "thigh", "shin")
    rest = {limb + side: down for limb in limbs for side in "LR"} | {"footL": ahead, "footR": ahead}
    return _clip(f"deepmimic/{path.stem}", segments, rest, rows[:, :3] @ DEEPMIMIC.T / 0.95, body)


def bake_poses(paths: list[Path], body: BodyAssets) -> dict[str, np.ndarray]:
    """All readable poses by name; others are skipped with a warning."""
    out = {}
    for path in paths:
        try:
            out[path.stem] = read_pose(path, body)
        except (AssetSourceError, ValueError, OSError, KeyError, IndexError) as error:
            logger.warning("Skipped %s: %s", path.name, str(error)[:120])
    return out


def read_pose(path: Path, body: BodyAssets) -> np.ndarray:
    """Read a MakeHuman .bvh pose: quaternions int16 [b, 4] of each bone relative to its parent.

    Raises:
        AssetSourceError: it has no MOTION section.
    """
    names, parents, channels, values = _bvh(path)
    world_rotations: dict[str, np.ndarray] = {}
    at = 0
    for name, parent, joint_channels in zip(names, parents, channels, strict=True):
        rotation = np.eye(3)
        for channel, value in zip(
            joint_channels, values[at : at + len(joint_channels)], strict=True
        ):
            if channel.endswith("rotation"):
                rotation = rotation @ axis_rotation(channel[0].lower(), np.radians(value))
        at += len(joint_channels)
        world_rotations[name] = rotation if parent is None else world_rotations[parent] @ rotation
    out = np.zeros((len(body.bone_names), 3, 3))
    for bone, name in enumerate(body.bone_names):
        above = body.parents[bone]
        inherited = out[above] if above >= 0 else np.eye(3)
        out[bone] = Y_UP @ world_rotations[name] @ Y_UP.T if name in world_rotations else inherited
    local = np.stack(
        [out[p].T @ own if p >= 0 else own for p, own in zip(body.parents, out, strict=True)]
    )
    return _packed(local)


def _bvh(path: Path) -> tuple[list[str], list[str | None], list[list[str]], list[float]]:
    """Joint names, parents' names, channels per joint, and the values of the first frame."""
    names: list[str] = []
    parents: list[str | None] = []
    channels: list[list[str]] = []
    open_joints: list[str | None] = []
    current: str | None = None
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        words = line.split() or [""]
        if words[0] in ("ROOT", "JOINT"):
            current = words[1]
            names.append(current)
            parents.append(open_joints[-1] if open_joints else None)
            channels.append([])
        elif words[0] == "End":
            current = None
        elif words[0] == "{":
            open_joints.append(current)
        elif words[0] == "}":
            open_joints.pop()
        elif words[0] == "CHANNELS":
            channels[-1] = words[2:]
        elif words[0] == "MOTION":
            return names, parents, channels, [float(word) for word in lines[number + 3].split()]
    raise AssetSourceError(f"{path.name} has no MOTION section")


def _clip(
    name: str,
    segments: dict[str, np.ndarray],
    source_rest: dict[str, np.ndarray],
    root: np.ndarray,
    body: BodyAssets,
) -> MotionClip:
    rest_of_body = rest_directions([str(bone) for bone in body.bone_names], body.heads)
    rotations = []
    for segment in SEGMENTS:
        rotation = segments[segment]
        limb = segment.replace("toe", "foot")
        if limb in source_rest:
            rotation = rotation @ rotation_between(rest_of_body[limb], source_rest[limb])
        rotations.append(rotation)
    return MotionClip(name, FPS, _packed(np.stack(rotations, axis=1)), root.astype(np.float32))


def _packed(rotations: np.ndarray) -> np.ndarray:
    return np.round(to_quaternion(rotations) * QUATERNION_UNIT).astype(np.int16)


def _halfway(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    out: np.ndarray = start @ from_axis_angle(0.5 * to_axis_angle(start.transpose(0, 2, 1) @ end))
    return out


def _resampled(rows: np.ndarray, fps: float) -> np.ndarray:
    """Nearest frames at FPS: linear interpolation of quaternions could pass through zero."""
    count = max(2, int(len(rows) * FPS / fps))
    out: np.ndarray = rows[np.round(np.linspace(0, len(rows) - 1, count)).astype(int)]
    return out
