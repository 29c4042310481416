# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From the detection read-out of a whole image or a tile to proposals.

Cells are 8 network pixels; the centre of cell i lies at (i + 0.5) cells.
"""

import cv2
import numpy as np
from jaxtyping import Float32

from thfm_ros.contract import PixelMap
from thfm_ros.geometry import iou, to_source
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception.decoding import Proposal, sigmoid

DETECTION_CELL_PX = 8.0
"""Network pixels per cell of the detection read-out."""

_DISTANCE_UNIT = 4.0
"""Cells between a centre and an edge whose output is 0; see model.detection.UNIT."""

_MAX_IOU = 0.75
"""Boxes that overlap more are one person; those of people who embrace overlap less."""

_PEAK = np.ones((3, 3), np.uint8)


def find_proposals(
    outputs: DetectionOutputs, region: PixelMap, image_size: tuple[int, int], threshold: float
) -> list[Proposal]:
    """The people of a whole image or a tile, highest scores first.

    Args:
        outputs: of the network.
        region: where the image that it was shown lies in the source image.
        image_size: width and height of the source image.
        threshold: probability of a centre below which there is no proposal.
    """
    scores = sigmoid(outputs.centres)
    peaks = (scores >= cv2.dilate(scores, _PEAK)) & (scores >= threshold)
    rows, columns = np.nonzero(peaks)
    proposals: list[Proposal] = []
    for index in np.argsort(-scores[rows, columns], kind="stable"):
        row, column = rows[index], columns[index]
        box = _box(outputs.edges[:, row, column], row, column)
        box = to_source(box * DETECTION_CELL_PX, region).reshape(4)
        box = np.asarray(np.clip(box, 0, [*image_size, *image_size]), np.float32)
        if all(iou(box, each.box) <= _MAX_IOU for each in proposals):
            proposals.append(Proposal(box, float(scores[row, column])))
    return proposals


def _box(edges: Float32[np.ndarray, "4"], row: int, column: int) -> Float32[np.ndarray, "2 2"]:
    """Upper left and lower right corner in cells."""
    distances = _DISTANCE_UNIT * np.exp(np.clip(edges, -6.0, 4.0))
    centre = np.array([column + 0.5, row + 0.5])
    return np.asarray([centre - distances[:2], centre + distances[2:]], np.float32)
