# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Soft masks over the skin for make-up, stubble, hair and the parts of the eye."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.skeleton import PART_NAMES, Joint

TEXTURES = ("lips", "ears", "fingernails", "eyelids")  # masks that come with the body model


def skin_masks(
    rest: Float32[np.ndarray, "v 3"],
    parts: UInt8[np.ndarray, "v"],
    joints: Float[np.ndarray, "23 3"],
    eyes: tuple[tuple[int, int], ...],
    texture: Callable[[str, int], np.ndarray],
) -> tuple[list[str], UInt8[np.ndarray, "k v"]]:
    """Compute the masks on the rest pose.

    Args:
        rest: vertices in rest pose, metres, facing -y.
        parts: part label per vertex.
        joints: the first 23 joints of the skeleton on that body, metres.
        eyes: first and past-the-last vertex of each eyeball.
        texture: function (name, vertices) -> mask 0..1 per vertex, for the names in TEXTURES.

    Returns:
        Names [k] and values 0..255 [k, v].
    """
    head = parts == PART_NAMES.index("head")
    left, right, nose = joints[Joint.LEFT_EYE], joints[Joint.RIGHT_EYE], joints[Joint.NOSE]
    bump = _bump(rest)
    masks = {name: texture(name, len(rest)) for name in TEXTURES}
    lips = masks["lips"]
    masks["cheeks"] = np.maximum(
        *(bump(eye + np.array([0, 0, -0.04]), 0.025) for eye in (left, right))
    )
    masks["sockets"] = np.maximum(*(bump(eye, 0.022) for eye in (left, right)))
    masks["stubble"] = (
        np.clip(1.5 * bump(nose + np.array([0, 0.02, -0.09]), 0.035), 0, 1) * head * (1 - lips)
    )
    masks["brows"] = np.maximum(*(_brow(rest, eye) for eye in (left, right))) * head
    masks["scalp"] = _scalp(rest, (left + right) / 2) * head
    masks["sclera"], masks["iris"], masks["pupil"] = (np.zeros(len(rest)) for _ in range(3))
    for first, end in eyes:
        ball = rest[first:end] - rest[first:end].mean(axis=0)
        radius = np.linalg.norm(ball, axis=1).max()
        off_axis = np.hypot(ball[:, 0], ball[:, 2]) / radius
        ahead = ball[:, 1] < 0
        masks["sclera"][first:end] = 1
        masks["iris"][first:end] = ahead & (off_axis < 0.55)
        masks["pupil"][first:end] = ahead & (off_axis < 0.22)
        masks["sockets"][first:end] = 0
    values = [np.round(np.clip(mask, 0, 1) * 255).astype(np.uint8) for mask in masks.values()]
    return list(masks), np.stack(values)


def _bump(rest: np.ndarray) -> Callable[[np.ndarray, float], np.ndarray]:
    def bump(centre: np.ndarray, width_m: float) -> np.ndarray:
        out: np.ndarray = np.exp(-((rest - centre) ** 2).sum(axis=1) / (2 * width_m**2))
        return out

    return bump


def _brow(rest: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """A bar 4 cm wide and 1 cm high, 2 cm above the eye."""
    across = np.abs(rest[:, 0] - eye[0] * 1.05) / 0.024
    above = np.abs(rest[:, 2] - eye[2] - 0.021) / 0.007
    out: np.ndarray = np.clip(1.6 - np.maximum(across, above), 0, 1) * (rest[:, 1] < eye[1] + 0.03)
    return out


def _scalp(rest: np.ndarray, between_eyes: np.ndarray) -> np.ndarray:
    """Mask above a hairline that falls from the forehead past the ears to the nape."""
    behind = rest[:, 1] - between_eyes[1]  # +y is towards the back of the head
    hairline = between_eyes[2] + np.interp(
        behind, [0.0, 0.05, 0.1, 0.15], [0.062, 0.05, 0.0, -0.06]
    )
    out: np.ndarray = np.clip((rest[:, 2] - hairline) / 0.012 + 0.5, 0, 1)
    return out
