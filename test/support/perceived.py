# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Perceptions made without a pipeline: known people in a small image."""

import numpy as np

from thfm_ros.contract import Body, Intrinsics, Perception, TrackState
from thfm_ros.skeleton import Joint

WIDTH, HEIGHT = 64, 48
CAMERA = Intrinsics(60.0, 60.0, 33.0, 23.0, WIDTH, HEIGHT)


def a_body(
    body_id: str = "abcde",
    at: tuple[float, float, float] = (0.1, 0.0, 2.5),
    state: TrackState = TrackState.TRACKED,
    seed: int = 0,
) -> Body:
    """A body that stands upright and faces the camera; all keypoints are known and different."""
    rng = np.random.default_rng(seed)
    k = len(Joint)
    positions = np.array([_UPRIGHT[joint] for joint in Joint]) + at
    keypoints = np.column_stack(
        [
            CAMERA.fx * positions[:, 0] / positions[:, 2] + CAMERA.cx,
            CAMERA.fy * positions[:, 1] / positions[:, 2] + CAMERA.cy,
            rng.uniform(0.5, 1.0, k),
        ]
    )
    return Body(
        id=body_id,
        state=state,
        score=0.9,
        box=np.array([20, 4, 50, 44], np.float32),
        keypoints=keypoints.astype(np.float32),
        positions_m=positions.astype(np.float32),
        covariances_m2=rng.uniform(0.001, 0.01, (k, 6)).astype(np.float32),
        root_m=np.array(at, np.float32),
        root_covariance_m2=np.array([0.1, 0, 0, 0.2, 0, 0.3], np.float32),
    )


def a_flat_body(body_id: str, box: list[float], pixels: np.ndarray) -> Body:
    """A body with keypoints at these pixels, [k 2], and unknown 3D positions."""
    unknown = np.full((len(Joint), 6), np.nan, np.float32)
    rows = np.column_stack([pixels, np.ones(len(Joint))]).astype(np.float32)
    return Body(
        body_id, TrackState.TRACKED, 1.0, np.array(box, np.float32), rows,
        unknown[:, :3], unknown, unknown[0, :3], unknown[0],
    )  # fmt: skip


def a_perception(*bodies: Body, calibrated: bool = True, seed: int = 0) -> Perception:
    """All dense maps; one rectangle belongs to people, around it nothing is known."""
    rng = np.random.default_rng(seed)
    person = np.zeros((HEIGHT, WIDTH), bool)
    person[4:44, 20:50] = True
    depth = np.where(person, rng.uniform(2, 3, person.shape), np.nan).astype(np.float32)
    normals = rng.normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    dense_pose = rng.uniform(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
    dense_pose[..., 0] = rng.integers(1, 17, person.shape)
    normals[~person], dense_pose[~person] = np.nan, np.nan
    return Perception(
        stamp_ns=1_700_000_000_123_456_789,
        frame_id="camera",
        width=WIDTH,
        height=HEIGHT,
        intrinsics=CAMERA if calibrated else None,
        bodies=bodies,
        mask=np.where(person, rng.uniform(0.6, 1, person.shape), 0.1).astype(np.float32),
        depth_m=depth if calibrated else None,
        depth_relative=None if calibrated else depth,
        normals=normals,
        parts=np.where(person, rng.integers(1, 17, person.shape), 0).astype(np.uint8),
        dense_pose=dense_pose,
        instances=np.where(person, 0, 65535).astype(np.uint16),
    )


def an_image(seed: int = 0) -> np.ndarray:
    """RGB of the perception's size."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def _upright() -> dict[Joint, tuple[float, float, float]]:
    """Keypoints in metres: x right, y down, z forward; the person's left is at larger x."""
    positions = {
        Joint.NOSE: (0.0, -0.62, -0.1),
        Joint.PELVIS: (0.0, 0.0, 0.0),
        Joint.SPINE_LOWER: (0.0, -0.1, 0.0),
        Joint.SPINE_MIDDLE: (0.0, -0.25, 0.0),
        Joint.SPINE_UPPER: (0.0, -0.4, 0.0),
        Joint.NECK: (0.0, -0.5, 0.0),
        Joint.HEAD: (0.0, -0.65, 0.0),
    }
    left_side = {
        "EYE": (0.03, -0.65, -0.09),
        "EAR": (0.07, -0.65, 0.0),
        "SHOULDER": (0.18, -0.5, 0.0),
        "ELBOW": (0.2, -0.2, 0.0),
        "WRIST": (0.2, 0.05, -0.1),
        "HIP": (0.09, 0.0, 0.0),
        "KNEE": (0.1, 0.42, -0.05),
        "ANKLE": (0.1, 0.83, 0.02),
        "BIG_TOE": (0.1, 0.9, -0.15),
        "SMALL_TOE": (0.13, 0.9, -0.12),
        "HEEL": (0.1, 0.9, 0.06),
        "COLLAR": (0.08, -0.47, 0.0),
        "FOOT": (0.1, 0.88, -0.1),
        "HAND": (0.2, 0.12, -0.13),
    }
    for name, (x, y, z) in left_side.items():
        positions[Joint[f"LEFT_{name}"]] = (x, y, z)
        positions[Joint[f"RIGHT_{name}"]] = (-x, y, z)
    return positions


_UPRIGHT = _upright()
