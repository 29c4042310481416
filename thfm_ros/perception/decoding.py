# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From the network outputs of one crop to a body in source pixels and metres.

Cells of a heatmap are 4 network pixels, cells of a dense map 2; the centre of cell i lies at
(i + 0.5) cells. Dense maps of the whole image are painted from detections by dense_maps.py.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from thfm_ros.config import DecodeConfig
from thfm_ros.contract import Body, Intrinsics, PixelMap, TrackState
from thfm_ros.geometry import (
    CropView,
    crop_view,
    longer_side,
    normalized_center_distance,
    to_network,
    to_source,
)
from thfm_ros.model.outputs import DenseOutputs, RawOutputs
from thfm_ros.perception.instance_grouping import Cluster, group_instances
from thfm_ros.perception.keypoints import (
    decode_heatmaps,
    estimate_root,
    joints_in_optical_frame,
    temporal_prior,
)
from thfm_ros.skeleton import COCO_17

HEATMAP_CELL_PX = 4.0
"""Network pixels per cell of a heatmap."""
DENSE_CELL_PX = 2.0
"""Network pixels per cell of a dense map."""
_MIN_EXTENT_CONFIDENCE = 0.55
"""Confidence above which a keypoint must lie inside the crop of the next frame."""
_MAX_DISTANCE = 0.5
"""Of the longer side: a cluster farther from the expected box is another person."""
_MIN_SIZE = 0.4
"""Of the longer side: a smaller cluster is a rest of an occluded person, or a false positive."""
_MIN_TARGET_CELLS = 4
"""Fewer target cells are no detection."""
_BOX_PROBABILITY = 0.3
"""Of the target, in the cells that its box contains: at 0.5 hair, hands, feet are often missing."""
_BOX_OUTLIERS = 0.003
"""Share of these cells that may lie beyond each side of the box; at 0.01 it cuts off heads."""
_BOX_REACH = 3
"""Cells of the box are at most so far from the target's mask: the others are of a neighbour."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A possible person, to be confirmed or rejected by a crop."""

    box: Float32[np.ndarray, "4"]  # source pixels
    score: float
    external: bool = False  # of another detector


@dataclass(frozen=True, slots=True)
class Detection:
    """One person as detected in one crop, not yet assigned to a track.

    ``body`` has no id yet. Without calibration its metric fields are NaN, and ``camera`` is an
    assumed one (`assumed_camera`): ``root_m`` then gives the order and the relative distances of
    people only.
    """

    body: Body
    region: PixelMap  # where the crop lies
    camera: Intrinsics  # of the source image
    view: CropView
    root_m: Float64[np.ndarray, "3"]  # the pelvis in the optical frame of ``camera``
    dense: DenseOutputs | None
    mask: Float32[np.ndarray, "h w"] | None  # probability of any person, cells of the dense maps
    target: Bool[np.ndarray, "h w"] | None  # the cells that belong to this person
    neighbours: tuple[Proposal, ...]  # other people in this crop, largest first
    presence: float  # probability that the crop shows the target
    keypoint_confidence: float  # see mean_keypoint_confidence

    @property
    def extent(self) -> Float32[np.ndarray, "4"]:
        """The box that a crop must contain: ``body.box``, extended to all confident keypoints."""
        keypoints = self.body.keypoints
        confident = keypoints[keypoints[:, 2] > _MIN_EXTENT_CONFIDENCE, :2]
        low = np.minimum(self.body.box[:2], confident.min(axis=0, initial=np.inf))
        high = np.maximum(self.body.box[2:], confident.max(axis=0, initial=-np.inf))
        return np.asarray(np.concatenate([low, high]), np.float32)


@dataclass(frozen=True, slots=True)
class ExpectedPerson:
    """The box of a proposal, or the prediction of a track; source pixels."""

    box: Float[np.ndarray, "4"]
    keypoints: Float[np.ndarray, "k 2"] | None = None  # last known, moved along with the box
    age_s: float = 0.0  # since ``keypoints`` were detected


def decode_person(
    raw: RawOutputs,
    region: PixelMap,
    image_size: tuple[int, int],
    intrinsics: Intrinsics | None,
    expected: ExpectedPerson,
    config: DecodeConfig,
) -> Detection | None:
    """The target person of a crop; None if the crop does not show the expected person.

    Args:
        raw: network outputs for the crop.
        region: where the crop lies.
        image_size: width and height of the source image.
        intrinsics: of the source image; None: all metric values are NaN.
        expected: where the person should be.
        config: thresholds and standard deviations.
    """
    peaks = decode_heatmaps(
        raw.body.heatmaps, _log_prior(raw, region, expected, config.temporal_prior_weight)
    )
    inside, visible = sigmoid(raw.body.visibility).T
    known = np.sqrt(inside * peaks.mass) >= config.min_keypoint_confidence
    mask, share, others = _segment(raw.dense, config)
    target = None if share is None else share > config.mask_threshold
    pixels = to_source(peaks.positions * HEATMAP_CELL_PX, region)
    pixels[~known] = np.nan
    if target is not None and target.sum() < _MIN_TARGET_CELLS:
        return None
    box = _bounding_box(_box_cells(share, target), pixels, region, image_size)
    if box is None or not _is_plausible(box, expected.box):
        return None
    camera = intrinsics or assumed_camera(*image_size)
    view = crop_view(region, camera)
    sigma_px = peaks.sigma * (HEATMAP_CELL_PX * region.scale)
    root, relative = estimate_root(raw.body, pixels, sigma_px, region, view, camera, config)
    sigma_m = config.joint_depth_sigma_m
    joints = joints_in_optical_frame(root, relative, pixels, sigma_px, camera, sigma_m)
    if intrinsics is None:
        joints = joints.unknown()
    presence = float(sigmoid(np.asarray(raw.body.presence)))
    confidence = mean_keypoint_confidence(inside * visible, peaks.mass)
    # Geometric means: products are right far more often than they say (docs/results).
    keypoints = np.column_stack([pixels, np.sqrt(visible * peaks.mass) * known]).astype(np.float32)
    score = math.sqrt(presence * confidence)
    return Detection(
        body=Body("", TrackState.TENTATIVE, score, box, keypoints, *joints),
        region=region,
        camera=camera,
        view=view,
        root_m=root.position_m,
        dense=raw.dense,
        mask=mask,
        target=target,
        neighbours=tuple(_proposal(each, region, image_size) for each in others),
        presence=presence,
        keypoint_confidence=confidence,
    )


def _log_prior(
    raw: RawOutputs, region: PixelMap, expected: ExpectedPerson, weight: float
) -> Float32[np.ndarray, "k h w"] | None:
    if expected.keypoints is None or weight == 0:
        return None
    cells = to_network(expected.keypoints, region) / HEATMAP_CELL_PX
    rows, columns = raw.body.heatmaps.shape[1:]
    return temporal_prior(cells, expected.age_s, weight, (rows, columns))


def mean_keypoint_confidence(
    visibility: Float[np.ndarray, " k"], mass: Float[np.ndarray, " k"]
) -> float:
    """Mean confidence of the COCO keypoints, weighted by their visibility; 0..1.

    The heatmaps of a person have one peak each. A crop of an object that resembles a person, such
    as a tripod, has several peaks: this tells the two apart where the network's presence is 1 for
    both.

    Args:
        visibility: probability that a joint is inside the crop and not occluded.
        mass: share of each heatmap that lies at its peak, see `HeatmapPeaks`.
    """
    visibility, mass = visibility[list(COCO_17)], mass[list(COCO_17)]
    return float((visibility * mass).sum() / max(visibility.sum(), 1.0))


def _proposal(cluster: Cluster, region: PixelMap, image_size: tuple[int, int]) -> Proposal:
    corners = cluster.box.reshape(2, 2) * DENSE_CELL_PX
    return Proposal(_clipped(corners, region, image_size), cluster.score)


def _segment(
    dense: DenseOutputs | None, config: DecodeConfig
) -> tuple[Float32[np.ndarray, "h w"] | None, Float32[np.ndarray, "h w"] | None, list[Cluster]]:
    """Probability of any person and of the target, and the clusters of all other people, largest
    first; nothing without maps.
    """
    if dense is None:
        return None, None, []
    mask, share = sigmoid(dense.mask), sigmoid(dense.target)
    others, _ = group_instances(
        np.asarray(mask * (1 - share), np.float32),
        dense.votes,
        threshold=config.mask_threshold,
        radius=config.vote_radius,
        min_side=2,
    )
    return mask, share, others


def _is_plausible(box: Float[np.ndarray, "4"], expected: Float[np.ndarray, "4"]) -> bool:
    """Whether ``box`` can be the person of the ``expected`` box, one frame later or seen closer."""
    too_small = longer_side(box) < _MIN_SIZE * longer_side(expected)
    return not too_small and normalized_center_distance(box, expected) <= _MAX_DISTANCE


def assumed_camera(width: int, height: int) -> Intrinsics:
    """Stands in for an uncalibrated camera: a field of view of 53 degrees along the longer side."""
    focal = float(max(width, height))
    return Intrinsics(focal, focal, width / 2, height / 2, width, height)


def sigmoid(logits: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """1 / (1 + exp(-logits)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def _box_cells(
    share: Float32[np.ndarray, "h w"] | None, target: Bool[np.ndarray, "h w"] | None
) -> Bool[np.ndarray, "h w"] | None:
    """The cells that the box of the target contains; None without maps.

    Args:
        share: probability of the target.
        target: the cells of its mask.
    """
    if share is None or target is None:
        return None
    window = np.ones((2 * _BOX_REACH + 1, 2 * _BOX_REACH + 1), np.uint8)
    near = cv2.dilate(target.astype(np.uint8), window) > 0
    return np.asarray(near & (share > _BOX_PROBABILITY))


def _bounding_box(
    cells: Bool[np.ndarray, "h w"] | None,
    keypoints: Float[np.ndarray, "k 2"],
    region: PixelMap,
    image_size: tuple[int, int],
) -> Float32[np.ndarray, "4"] | None:
    """The box of the ``cells`` of the target; without maps, of the keypoints with a margin."""
    if cells is not None:
        x, y = _extent(cells.sum(axis=0)), _extent(cells.sum(axis=1))
        corners = np.array([x, y]).T * DENSE_CELL_PX
        return _clipped(corners, region, image_size)
    known = keypoints[np.isfinite(keypoints).all(axis=1)]
    if len(known) < 3:
        return None
    low, high = known.min(axis=0), known.max(axis=0)
    # The body reaches beyond its joints: by about 1 / 14 above the eyes, by less elsewhere.
    longer = float((high - low).max())
    low, high = low - np.array([0.04, 0.07]) * longer, high + 0.04 * longer
    size = np.array([*image_size, *image_size])
    return np.asarray(np.clip([*low, *high], 0, size), np.float32)


def _extent(counts: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """First and last edge, with `_BOX_OUTLIERS` of the cells beyond each."""
    total = np.cumsum(counts)
    first, last = np.searchsorted(total, np.array([_BOX_OUTLIERS, 1 - _BOX_OUTLIERS]) * total[-1])
    return float(first), float(last) + 1


def _clipped(
    corners: Float[np.ndarray, "2 2"], region: PixelMap, image_size: tuple[int, int]
) -> Float32[np.ndarray, "4"]:
    """A box in source pixels from two corners in network pixels, inside the image."""
    box = to_source(corners, region).reshape(4)
    return np.asarray(np.clip(box, 0, [*image_size, *image_size]), np.float32)
