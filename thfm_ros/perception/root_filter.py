# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The motion of a person's root: a Kalman filter of constant velocity.

It gives a track its velocity, the prediction of where the person is when they are not measured,
and the covariance of both.

The size of the person is not known, so all positions of a track are too near or too far by one
factor, and speeds are too slow or too fast by it. To the filter it is invisible, so it is added
to the covariance of the velocity afterwards. What changes from image to image is noise; most of it
lies along the line of sight, and the part of it that the body's size shows is taken out before
(`size_reference`).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from thfm_ros.contract import Body

_SPEED_SIGMA_M_PER_S = 1.0  # per axis, of a person whose velocity is not known yet
ACCELERATION_DENSITY = 0.3
"""m^2/s^3: spectral density of the acceleration, per axis. With less, people who walk steadily are
known better, and those who start and stop worse (`scripts/evaluate_walks.py WALKS --filters`)."""
MIN_JITTER_M = 0.005  # standard deviation; no measurement is more precise
_GATE = 16.0  # squared Mahalanobis distance beyond which a measurement loses weight
_MIN_MEASUREMENTS = 2  # before that the velocity is unknown
MAX_EXTRAPOLATION_S = 0.5
"""A person who is not measured is moved with constant velocity for at most this time."""


def prediction_stamp(frame_ns: int, now_ns: int) -> int:
    """The time to which a frame's bodies are predicted, nanoseconds.

    It is not before the frame, and not more than ``MAX_EXTRAPOLATION_S`` after it.
    """
    return min(max(now_ns, frame_ns), frame_ns + round(MAX_EXTRAPOLATION_S * 1e9))


def extrapolation_s(body: Body) -> float:
    """For how long the body's position was moved with constant velocity since its measurement."""
    return min(body.measurement_age_s, MAX_EXTRAPOLATION_S)


class RootMotion(NamedTuple):
    """Position and velocity of a root with covariances; all in the frame of the measurements.

    Unknown values are NaN: the velocity before the second measurement, everything before the
    first.
    """

    position_m: Float64[np.ndarray, "3"]
    covariance_m2: Float64[np.ndarray, "3 3"]  # of the position, without the error of the scale
    velocity_m_s: Float64[np.ndarray, "3"]
    velocity_covariance: Float64[np.ndarray, "3 3"]  # (m/s)^2, with the error of the scale


UNKNOWN_MOTION = RootMotion(*(np.full(shape, np.nan) for shape in (3, (3, 3), 3, (3, 3))))


class RootFilter:
    """Filters the root of one track; not thread-safe.

    `predict` says where the root is some time after the last measurement.
    """

    def __init__(self, acceleration_density: float = ACCELERATION_DENSITY) -> None:
        self._density = acceleration_density
        self._measurements = 0
        self._stamp_ns = 0
        self._state = np.zeros(6)  # position, velocity
        self._covariance = np.zeros((6, 6))
        self._scale_variance = 0.0  # of the logarithm of the distance

    def update(
        self,
        stamp_ns: int,
        position_m: Float[np.ndarray, "3"],
        covariance_m2: Float[np.ndarray, "3 3"],
    ) -> None:
        """Add a measurement.

        A measurement that is not finite, or that is not later than the one before, begins anew:
        with it if it is finite.
        """
        position = np.asarray(position_m, np.float64)
        measured = np.asarray(covariance_m2, np.float64)
        if not (np.isfinite(position).all() and np.isfinite(measured).all()):
            self._measurements = 0
            return
        noise = measured + np.eye(3) * MIN_JITTER_M**2
        dt = (stamp_ns - self._stamp_ns) * 1e-9
        self._stamp_ns = stamp_ns
        self._scale_variance = _radial_variance(position, measured)
        if self._measurements == 0 or dt <= 0:
            self._measurements = 1
            self._state = np.concatenate([position, np.zeros(3)])
            self._covariance = np.diag([0.0] * 3 + [_SPEED_SIGMA_M_PER_S**2] * 3)
            self._covariance[:3, :3] = noise
            return
        self._measurements += 1
        state, covariance = self._propagated(dt)
        innovation = position - state[:3]
        sum_of_noise = covariance[:3, :3] + noise
        distance = float(innovation @ np.linalg.solve(sum_of_noise, innovation))
        if distance > _GATE:
            sum_of_noise = covariance[:3, :3] + noise * (distance / _GATE)
        gain = np.linalg.solve(sum_of_noise, covariance[:3]).T
        self._state = state + gain @ innovation
        reduced = covariance - gain @ covariance[:3]
        self._covariance = (reduced + reduced.T) / 2

    def predict(self, dt_s: float) -> RootMotion:
        """The root ``dt_s`` (0 or more) seconds after the last measurement.

        The position moves for at most ``MAX_EXTRAPOLATION_S``; beyond, the covariance contains
        both that the person went on and that they stopped.
        """
        if self._measurements == 0:
            return UNKNOWN_MOTION
        state, covariance = self._propagated(max(dt_s, 0.0))
        velocity, speed_covariance = state[3:], covariance[3:, 3:]
        stopped_s = max(dt_s - MAX_EXTRAPOLATION_S, 0.0)
        spread = np.outer(velocity, velocity)
        position = state[:3] - velocity * stopped_s
        position_covariance = covariance[:3, :3] + spread * stopped_s**2
        if self._measurements < _MIN_MEASUREMENTS:
            unknown = UNKNOWN_MOTION
            velocity, speed_covariance = unknown.velocity_m_s, unknown.velocity_covariance
        else:
            speed_covariance = speed_covariance + spread * self._scale_variance
        return RootMotion(position, position_covariance, velocity, speed_covariance)

    def _propagated(self, dt: float) -> tuple[Float64[np.ndarray, "6"], Float64[np.ndarray, "6 6"]]:
        """State and covariance ``dt`` seconds after the last measurement."""
        transition = np.eye(6)
        transition[:3, 3:] = np.eye(3) * dt
        covariance = transition @ self._covariance @ transition.T
        diagonal = np.arange(3)
        covariance[diagonal, diagonal] += self._density * dt**3 / 3
        covariance[diagonal, diagonal + 3] += self._density * dt**2 / 2
        covariance[diagonal + 3, diagonal] += self._density * dt**2 / 2
        covariance[diagonal + 3, diagonal + 3] += self._density * dt
        return transition @ self._state, covariance


def _radial_variance(
    position_m: Float64[np.ndarray, "3"], covariance_m2: Float64[np.ndarray, "3 3"]
) -> float:
    """Variance along the line of sight, relative to the squared distance."""
    distance = math.hypot(*position_m)
    if distance < 1e-6:
        return 0.0
    ray = position_m / distance
    return float(ray @ covariance_m2 @ ray) / distance**2
