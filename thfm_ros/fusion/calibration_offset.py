# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How far the poses of two cameras disagree: the rigid transform between the people they see.

The pelvises and poses of the same people at the same times give a weighted least-squares estimate
of the transform that takes camera b's people onto camera a's. Errors of a person's size are
unknowns of their own, so that a tall person is not taken for a wrong calibration. Only an offset
that is clearly larger than its own uncertainty counts.
"""

import math
from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64

from thfm_ros.fusion.association import POSE_JOINTS
from thfm_ros.fusion.detections import Detection
from thfm_ros.fusion.settings import FusionSettings

MAX_SAMPLES, MIN_SAMPLES = 120, 12
SAMPLE_EVERY_S = 0.2
MIN_SPREAD_M = 0.5
"""Standard deviation of the positions below which people have not moved enough to tell."""
POSE_SIGMA_M = 0.3
"""Of one joint's root-relative position: large, since joints err together."""
CLEAR = 3.0
"""Standard deviations beyond which an offset is clear."""
CORRELATION = 4.0
"""Samples that follow each other are worth one independent one in this number."""
MAX_RESIDUAL = 0.5
"""Mean squared residual, in standard deviations, beyond which two cameras see different people."""
_ITERATIONS, _HUBER = 8, 3.0


@dataclass(frozen=True, slots=True)
class Offset:
    """By how much camera b's people are displaced from camera a's, as far as that is clear.

    Directions in which the offset is within CLEAR standard deviations do not count.
    """

    metres: float  # at the middle of the people
    degrees: float
    metres_sigma: float
    degrees_sigma: float
    samples: int
    residual: float  # mean squared, in standard deviations

    def is_wrong(self, settings: FusionSettings) -> bool:
        """Whether the offset is above the limits, and clearly so."""
        if self.residual > MAX_RESIDUAL:
            return False
        return self.metres > settings.offset_warn_m or self.degrees > settings.offset_warn_deg

    def text(self, a: str, b: str) -> str:
        """What to tell the user."""
        return (
            f"cameras {a} and {b} disagree: {b} sees people {self.metres:.2f} m "
            f"(+-{self.metres_sigma:.2f}) and {self.degrees:.1f} degrees "
            f"(+-{self.degrees_sigma:.1f}) from where {a} sees them. Calibrate the tf frame of one "
            "of them again"
        )


class PairOffset:
    """Collects people that two cameras see at the same time."""

    def __init__(self, settings: FusionSettings) -> None:
        self._settings = settings
        self._samples: deque[tuple[Detection, Detection]] = deque(maxlen=MAX_SAMPLES)
        self._sampled_ns: dict[tuple[str, str], int] = {}

    def add(self, a: Detection, b: Detection, stamp_ns: int) -> None:
        """One person, seen by both cameras and predicted to one time."""
        key = a.member.body_id, b.member.body_id
        if abs(stamp_ns - self._sampled_ns.get(key, -(10**18))) < SAMPLE_EVERY_S * 1e9:
            return
        if len(self._sampled_ns) > MAX_SAMPLES:
            self._sampled_ns.clear()
        self._sampled_ns[key] = stamp_ns
        self._samples.append((a, b))

    def estimate(self) -> Offset | None:
        """The offset; None while too little was seen."""
        if len(self._samples) < MIN_SAMPLES:
            return None
        roots = np.stack([a.root_m for a, _ in self._samples])
        if roots.std(axis=0).max() < MIN_SPREAD_M:
            return None
        return _Fit(list(self._samples), self._settings).offset()


class _Fit:
    """Gauss-Newton for rotation, translation and three errors of size per person."""

    def __init__(
        self, samples: list[tuple[Detection, Detection]], settings: FusionSettings
    ) -> None:
        self._a = np.stack([a.root_m for a, _ in samples])
        self._b = np.stack([b.root_m for _, b in samples])
        self._ray_a = np.stack([a.offset_m for a, _ in samples])
        self._ray_b = np.stack([b.offset_m for _, b in samples])
        self._cov_a = np.stack([a.root_covariance for a, _ in samples])
        self._cov_b = np.stack([b.root_covariance for _, b in samples])
        keys = [(a.member.body_id, b.member.body_id) for a, b in samples]
        self._person = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        self._pose_a, self._pose_b = self._poses(samples)
        self._sigmas = (settings.size_sigma, settings.view_size_sigma, settings.view_size_sigma)
        self._rotation, self._shift = self._first_guess()

    @staticmethod
    def _poses(samples: list[tuple[Detection, Detection]]) -> tuple[np.ndarray, np.ndarray]:
        joints = list(POSE_JOINTS)
        a = np.concatenate([one.joints_m[joints] - one.root_m for one, _ in samples])
        b = np.concatenate([other.joints_m[joints] - other.root_m for _, other in samples])
        known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        return a[known], b[known]

    def _first_guess(self) -> tuple[np.ndarray, np.ndarray]:
        """The rotation of the poses (Kabsch), and the shift of the middle."""
        u, _, vt = np.linalg.svd(self._pose_a.T @ self._pose_b)
        flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
        rotation = u @ flip @ vt
        return rotation, self._a.mean(axis=0) - rotation @ self._b.mean(axis=0)

    def offset(self) -> Offset:
        """Iterate, then express the transform at the middle of camera b's people."""
        for _ in range(_ITERATIONS):
            step, covariance, residual = self._step()
            turn = cv2.Rodrigues(step[:3])[0]
            self._rotation = turn @ self._rotation
            self._shift = turn @ self._shift + step[3:6]
        middle = self._b.mean(axis=0)
        moved = self._rotation @ middle + self._shift
        jacobian = np.hstack([-_cross(moved), np.eye(3)])
        metres, metres_sigma = _clear_part(
            moved - middle, jacobian @ covariance[:6, :6] @ jacobian.T
        )
        turn = cv2.Rodrigues(self._rotation)[0][:, 0]
        radians, radians_sigma = _clear_part(turn, covariance[:3, :3])
        return Offset(
            metres=metres,
            degrees=math.degrees(radians),
            metres_sigma=metres_sigma,
            degrees_sigma=math.degrees(radians_sigma),
            samples=len(self._a),
            residual=residual,
        )

    def _step(self) -> tuple[Float64[np.ndarray, " u"], Float64[np.ndarray, "u u"], float]:
        """The next step of all unknowns, their covariance and the mean squared residual."""
        r, people = self._rotation, int(self._person.max()) + 1
        turned = self._b @ r.T
        residual = turned + self._shift - self._a
        rows = np.zeros((len(residual), 3, 6 + 3 * people))
        rows[:, :, :3] = -_cross(turned + self._shift)
        rows[:, :, 3:6] = np.eye(3)
        number = np.arange(len(residual))
        rays_b = self._ray_b @ r.T
        rows[number, :, 6 + 3 * self._person] = rays_b - self._ray_a
        rows[number, :, 7 + 3 * self._person] = -self._ray_a
        rows[number, :, 8 + 3 * self._person] = rays_b
        information = np.linalg.inv(self._cov_a + r @ self._cov_b @ r.T) / CORRELATION
        away = np.sqrt(np.einsum("ni,nij,nj->n", residual, information, residual) * CORRELATION)
        information *= np.minimum(1, _HUBER / np.maximum(away, 1e-9))[:, None, None]
        normal = np.einsum("nij,nik,nkl->jl", rows, information, rows)
        gradient = np.einsum("nij,nik,nk->j", rows, information, residual)
        normal[6:, 6:] += np.diag(np.tile(np.square(self._sigmas) ** -1.0, people))
        self._add_poses(normal, gradient)
        step = -np.linalg.solve(normal, gradient)
        left = residual + np.einsum("nij,j->ni", rows, step)
        squares = np.einsum("ni,nij,nj->n", left, information, left) * CORRELATION / 3
        return step, np.linalg.inv(normal), float(squares.mean())

    def _add_poses(self, normal: np.ndarray, gradient: np.ndarray) -> None:
        turned = self._pose_b @ self._rotation.T
        rows = -_cross(turned)
        weight = POSE_SIGMA_M**-2 / CORRELATION
        normal[:3, :3] += weight * np.einsum("nij,nik->jk", rows, rows)
        gradient[:3] += weight * np.einsum("nij,ni->j", rows, turned - self._pose_a)


def _cross(v: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """The matrices of the cross products with these vectors."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    rows = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    return np.asarray(rows.reshape(*v.shape, 3))


def _clear_part(
    vector: Float64[np.ndarray, "3"], covariance: Float64[np.ndarray, "3 3"]
) -> tuple[float, float]:
    """Length of the vector's clear components, and its standard deviation.

    Components are those along the axes of the covariance. If none is clear the length is 0, and
    the standard deviation the largest.
    """
    variances, axes = np.linalg.eigh(covariance)
    along = axes.T @ vector
    clear = np.abs(along) > CLEAR * np.sqrt(variances)
    if not clear.any():
        return 0.0, float(np.sqrt(variances.max()))
    length = float(np.linalg.norm(along[clear]))
    return length, float(np.sqrt((along[clear] ** 2 * variances[clear]).sum()) / length)
