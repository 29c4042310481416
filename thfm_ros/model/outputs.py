"""What the network says about one image, before anybody interprets it. Numpy only."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32


class DenseOutputs(NamedTuple):
    """Maps at half the image's resolution (``h`` = image height / 2)."""

    mask: Float32[np.ndarray, "h w"]  # logit of "a person", any person
    parts: Float32[np.ndarray, "17 h w"]  # logits, skeleton.PART_NAMES
    relief: Float32[np.ndarray, "h w"]  # metres behind (+) the target's pelvis, along the axis
    normals: Float32[np.ndarray, "3 h w"]  # optical frame, not yet of unit length
    surface: Float32[np.ndarray, "3 h w"]  # cos 2*pi*u, sin 2*pi*u, v on the body part
    votes: Float32[
        np.ndarray, "2 h w"
    ]  # from this pixel to its person's box centre, in longer sides


class BodyOutputs(NamedTuple):
    """The target: the person in the middle of the image. ``g`` is a quarter of the size."""

    heatmaps: Float32[np.ndarray, "k g_h g_w"]  # logits over cells, softmax over the whole map
    positions: Float32[np.ndarray, "k 3"]  # metres from the pelvis, axes of the optical frame
    visibility: Float32[np.ndarray, "k 2"]  # logits: inside the image; not hidden
    log_width: float  # ln of the metres that the image's width spans at the pelvis' depth
    presence: float  # logit: there is somebody in the middle


class RawOutputs(NamedTuple):
    """One image. ``dense`` is None when only the body was asked for."""

    body: BodyOutputs
    dense: DenseOutputs | None
