# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Light temporal smoothing of points."""

import math

import numpy as np
from jaxtyping import Float

from thfm_ros.config import TrackConfig

_DERIVATIVE_HZ = 1.0


class OneEuroFilter:
    """The 1 euro filter: a low-pass whose cut-off rises with speed (Casiez et al., CHI 2012).

    It reduces jitter at rest and adds little lag in motion. Rows are points; the speed of a point
    is the norm of its velocity.
    """

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._value: Float[np.ndarray, "n d"] | None = None
        self._velocity: Float[np.ndarray, "n d"] | None = None

    def smooth(
        self, value: Float[np.ndarray, "n d"], dt: float, length: float
    ) -> Float[np.ndarray, "n d"]:
        """The filtered value, ``dt`` seconds after the previous one.

        Speeds are measured in ``length`` per second. A point that is unknown (NaN) stays unknown;
        its next known value is returned unfiltered.
        """
        if self._value is None or self._velocity is None or dt <= 0:
            self._value, self._velocity = value.copy(), np.zeros_like(value)
            return value
        previous = np.where(np.isfinite(self._value), self._value, value)
        gain = _gain(_DERIVATIVE_HZ, dt)
        velocity = self._velocity + gain * ((value - previous) / dt - self._velocity)
        self._velocity = np.where(np.isfinite(velocity), velocity, 0).astype(value.dtype)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True) / length
        cutoff = self._config.min_cutoff_hz + self._config.speed_coefficient * speed
        filtered: Float[np.ndarray, "n d"] = np.asarray(
            previous + _gain(cutoff, dt) * (value - previous), value.dtype
        )
        self._value = filtered
        return np.array(filtered)


def _gain(cutoff_hz: Float[np.ndarray, "*n"] | float, dt: float) -> Float[np.ndarray, "*n"]:
    """Weight of the new value in a first-order low-pass filter."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt)))
