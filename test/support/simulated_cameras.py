# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as cameras around a scene would report them, in the world (z up), without any image.

Each camera is precise across its rays and wrong along them by an error of the person's size that
stays as long as it sees the person, as networks are.
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np
from perceived import a_body

from thfm_ros.contract import Body, TrackState
from thfm_ros.fusion.detections import CameraFrame, camera_frame
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.geometry import pack_covariance
from thfm_ros.size_error import size_covariance
from thfm_ros.skeleton import Joint

PLACES = {
    "front": np.array([0.0, -5.0, 1.4]),
    "right": np.array([5.0, 0.0, 1.4]),
    "back": np.array([0.0, 5.0, 1.4]),
    "left": np.array([-5.0, 0.0, 1.4]),
}
PELVIS_M = 0.92
SETTINGS = FusionSettings(sigma_factor=1.0)
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Person:
    """A person who walks straight ahead."""

    name: str
    start: tuple[float, float] = (0.0, 0.0)
    velocity: tuple[float, float] = (0.0, 0.0)
    heading: float = 0.0  # about z; 0: faces -y
    swing: float = 0.3  # of arms, radians

    def root(self, t_s: float) -> np.ndarray:
        """The pelvis, world."""
        return np.array([*(np.array(self.start) + np.array(self.velocity) * t_s), PELVIS_M])

    def joints(self, t_s: float) -> np.ndarray:
        """All joints, world."""
        upright = a_body(at=(0.0, 0.0, 1.0)).positions_m - np.array([0.0, 0.0, 1.0])
        world = np.column_stack([upright[:, 0], upright[:, 2], -upright[:, 1]])  # faces -y
        raised = self.swing + 0.2 * np.sin(5 * t_s + self.heading)
        for joint in (Joint.LEFT_WRIST, Joint.LEFT_HAND, Joint.RIGHT_ELBOW, Joint.RIGHT_KNEE):
            world[joint] += [0.0, -raised, 0.4 * raised]
        c, s = np.cos(self.heading), np.sin(self.heading)
        return np.asarray(world @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + self.root(t_s))


def seen(
    person: Person,
    camera: str,
    t_s: float,
    *,
    size_sigma: float = 0.08,
    across_m: float = 0.015,
    state: TrackState = TrackState.TRACKED,
) -> Body:
    """The person as this camera reports them at ``t_s``, in the world."""
    centre = PLACES[camera]
    fixed = np.random.default_rng(zlib.crc32(f"{camera} {person.name}".encode()))
    rng = np.random.default_rng((zlib.crc32(f"{camera} {person.name}".encode()), round(t_s * 1e6)))
    scale = np.exp(fixed.normal(0, size_sigma))
    root = centre + (person.root(t_s) - centre) * scale + rng.normal(0, across_m, 3)
    joints = centre + (person.joints(t_s) - centre) * scale + rng.normal(0, across_m, (35, 3))
    ray = (root - centre) / np.linalg.norm(root - centre)
    distance = float(np.linalg.norm(root - centre))
    along = np.outer(ray, ray)
    across = (np.eye(3) - along) * (2 * across_m) ** 2
    covariance = across + along * (size_sigma * distance + across_m) ** 2
    of_joints = covariance + along * 0.05**2
    of_the_size = size_covariance(root - centre)
    body = a_body(f"{camera[:2]}{person.name:>3.3}".replace(" ", "x"), state=state)
    return replace(
        body,
        positions_m=joints.astype(np.float32),
        covariances_m2=np.tile(pack_covariance(of_joints + of_the_size), (35, 1)),
        root_m=root.astype(np.float32),
        root_covariance_m2=pack_covariance(covariance + of_the_size),
    )


def frame(
    camera: str,
    people: list[Person],
    t_s: float,
    settings: FusionSettings = SETTINGS,
    offset: tuple[np.ndarray, np.ndarray] | None = None,
    size_sigma: float = 0.08,
) -> CameraFrame:
    """What a camera sees at ``t_s``; with a wrong calibration if ``offset`` (R, t) is given."""
    bodies = [seen(person, camera, t_s, size_sigma=size_sigma) for person in people]
    centre = PLACES[camera]
    if offset is not None:
        rotation, shift = offset
        bodies = [moved(body, rotation, shift) for body in bodies]
        centre = rotation @ centre + shift
    return camera_frame(camera, round(t_s * 1e9) + SECOND, bodies, centre, settings)


def moved(body: Body, rotation: np.ndarray, shift: np.ndarray) -> Body:
    """The body, as a camera reports it whose pose is wrong by this transform."""
    return replace(
        body,
        root_m=(rotation @ body.root_m + shift).astype(np.float32),
        positions_m=(body.positions_m @ rotation.T + shift).astype(np.float32),
    )
