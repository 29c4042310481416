# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Network outputs of one image before they are decoded. Numpy only."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32


class DenseOutputs(NamedTuple):
    """Maps at half the resolution of the network's image (``h`` = image height / 2)."""

    # Logits of "belongs to a person", whichever person it is.
    mask: Float32[np.ndarray, "h w"]
    # Logits of skeleton.PART_NAMES.
    parts: Float32[np.ndarray, "17 h w"]
    # Metres behind (+) the target person's pelvis, along the axis of the crop's view.
    relative_depth_m: Float32[np.ndarray, "h w"]
    # In the axes of the crop's view, not normalized.
    normals: Float32[np.ndarray, "3 h w"]
    # cos(2 pi u), sin(2 pi u) and v on the body part.
    dense_pose_uv: Float32[np.ndarray, "3 h w"]
    # From the pixel to the centre of its person's bounding box: x and y as shares of the image's
    # longer side.
    votes: Float32[np.ndarray, "2 h w"]
    # Logits of "belongs to the target person".
    target: Float32[np.ndarray, "h w"]


class DetectionOutputs(NamedTuple):
    """The detection read-out of a whole image; ``h`` = image height / 8, see model.detection."""

    centres: Float32[np.ndarray, "h w"]  # logits: the centre of a person's box is in this cell
    edges: Float32[np.ndarray, "4 h w"]  # ln of distances from the cell to the edges of that box


class BodyOutputs(NamedTuple):
    """The target person of a crop. ``g_h`` and ``g_w`` are a quarter of the image's size."""

    heatmaps: Float32[np.ndarray, "k g_h g_w"]  # logits; softmax over the whole map
    positions: Float32[np.ndarray, "k 3"]  # metres from the pelvis, axes of the crop's view
    visibility: Float32[np.ndarray, "k 2"]  # logits: inside the image; not occluded
    log_width: float  # ln of the metres that the longer side spans at the pelvis' depth
    presence: float  # logit: the target person is there


class RawOutputs(NamedTuple):
    """Outputs of one image. ``dense`` is None if only the body was asked for."""

    body: BodyOutputs
    dense: DenseOutputs | None
