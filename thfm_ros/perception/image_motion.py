# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where a person will be seen: a Kalman filter of the direction and the distance of the pelvis.

The pelvis is estimated from all keypoints, so it moves more steadily than the middle of a box,
which changes with arms, legs and what hides them. It tells which of two people who pass each other
a detection shows, also with an assumed camera: it compares directions and ratios of distances.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

BODY_LENGTH_M = 1.7
"""Directions are measured in lengths of a body at the person's distance."""
_NOISE = np.array([0.02, 0.02, 0.04])
"""Standard deviations of a measurement: x and y in body lengths, logarithm of the distance. On
rendered people 0.005, 0.005 and 0.018; people in films move less evenly."""
_ACCELERATION = np.array([0.1, 0.05, 0.05])
"""Spectral density of the acceleration, body lengths^2/s^3, and 1/s^3."""
_SPEED_SIGMA = np.array([0.8, 0.2, 0.4])  # of a person whose velocity is not known yet, per second

OVERLAPPED_NOISE = 3.0
"""Factor on the standard deviations of people whose box overlaps another one."""


class Surprise(NamedTuple):
    """How badly a detection fits the motion of a track; zeros if one of them is not known."""

    distance: float = 0.0  # squared Mahalanobis distance; three degrees of freedom
    cost: float = 0.0  # minus the log-likelihood, up to a constant


class ImageMotion:
    """The motion of one track; not thread-safe."""

    def __init__(self) -> None:
        self._stamp_ns = 0
        self._known = False
        self._mean = np.zeros((3, 2))  # position and velocity of x / z, y / z and ln z
        self._covariance = np.zeros((3, 2, 2))

    @property
    def is_known(self) -> bool:
        """Whether there was a measurement."""
        return self._known

    def update(
        self, stamp_ns: int, root_m: Float[np.ndarray, "3"], noise_factor: float = 1.0
    ) -> None:
        """Add a measurement; one that is not finite or not before the camera is left out.

        Args:
            stamp_ns: of the measurement; one that is not later than the last begins anew.
            root_m: the pelvis in the optical frame, of a real or an assumed camera.
            noise_factor: on the standard deviations of the measurement.
        """
        measured = _polar(root_m)
        if measured is None:
            return
        scale = _scale(measured)
        noise = (_NOISE * scale * noise_factor) ** 2
        dt = (stamp_ns - self._stamp_ns) * 1e-9
        if not self._known or dt <= 0:
            self._mean = np.stack([measured, np.zeros(3)], axis=1)
            self._covariance = np.zeros((3, 2, 2))
            self._covariance[:, 0, 0] = noise
            self._covariance[:, 1, 1] = (_SPEED_SIGMA * scale) ** 2
        else:
            mean, covariance = self._predicted(dt)
            gain = covariance[:, :, 0] / (covariance[:, 0, 0] + noise)[:, None]
            self._mean = mean + gain * (measured - mean[:, 0])[:, None]
            self._covariance = covariance - gain[:, :, None] * covariance[:, None, 0, :]
        self._stamp_ns, self._known = stamp_ns, True

    def root_at(self, stamp_ns: int) -> Float64[np.ndarray, "3"]:
        """The predicted pelvis, in the frame of the measurements."""
        x, y, logarithm = self._predicted((stamp_ns - self._stamp_ns) * 1e-9)[0][:, 0]
        return np.asarray(np.array([x, y, 1.0]) * np.exp(logarithm))

    def surprise(self, stamp_ns: int, root_m: Float[np.ndarray, "3"]) -> Surprise:
        """How badly a measurement fits the prediction."""
        measured = _polar(root_m)
        if measured is None or not self._known:
            return Surprise()
        mean, covariance = self._predicted((stamp_ns - self._stamp_ns) * 1e-9)
        scale = _scale(mean[:, 0])
        variance = (covariance[:, 0, 0] + (_NOISE * scale) ** 2) / scale**2
        innovation = (measured - mean[:, 0]) / scale
        distance = float((innovation**2 / variance).sum())
        return Surprise(distance, 0.5 * (distance + float(np.log(variance).sum())))

    def _predicted(
        self, dt: float
    ) -> tuple[Float64[np.ndarray, "3 2"], Float64[np.ndarray, "3 2 2"]]:
        mean = self._mean.copy()
        mean[:, 0] += mean[:, 1] * dt
        density = _ACCELERATION * _scale(mean[:, 0]) ** 2
        transition = np.array([[1.0, dt], [0.0, 1.0]])
        process = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        covariance = transition @ self._covariance @ transition.T
        return mean, covariance + density[:, None, None] * process


def _polar(root_m: Float[np.ndarray, "3"]) -> Float64[np.ndarray, "3"] | None:
    """x / z, y / z and ln z; None if that is not known."""
    x, y, z = (float(value) for value in root_m)
    if not (np.isfinite([x, y, z]).all() and z > 1e-3):
        return None
    return np.array([x / z, y / z, np.log(z)])


def _scale(polar: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    """The tangent under which a body length is seen, for x and y; 1 for the distance."""
    length = BODY_LENGTH_M * float(np.exp(-polar[2]))
    return np.array([length, length, 1.0])
