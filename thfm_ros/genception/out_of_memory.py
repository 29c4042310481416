# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""If the full-size network does not fit into memory: which errors say so, and what to try next."""

import torch

from thfm_ros.genception.clip_input import SIZE_MULTIPLE
from thfm_ros.genception.config import VAE_TEMPORAL, GenceptionError
from thfm_ros.genception.subgraphs import Profile

_MIN_SIDE = 128
"""Pixels of the shorter side; people are too small in images below that."""


class OutOfMemoryError(GenceptionError):
    """The weights, or a pass of the smallest profile, do not fit into memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the GPU or of the computer was too small."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch has no class of its own for the computer's memory, nor TensorRT for the GPU's.
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "not enough memory" in text
    )


def smaller_profile(profile: Profile) -> Profile | None:
    """The profile to try next: half the latent frames; then half the pixels; None if none is left.

    A pass needs memory in proportion to both, and a short window costs less accuracy than small
    images do.
    """
    later = (profile.frames - 1) // VAE_TEMPORAL
    if later > 1:
        return Profile(1 + VAE_TEMPORAL * (later // 2), profile.width, profile.height)
    width, height = (
        round(side / 2**0.5 / SIZE_MULTIPLE) * SIZE_MULTIPLE
        for side in (profile.width, profile.height)
    )
    if min(width, height) < _MIN_SIDE:
        return None
    return Profile(profile.frames, width, height)
