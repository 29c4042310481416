# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Predictions, labels and metrics of held-out crops; the training loop follows them."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.metrics.crops import CropLabels, CropPredictions, CropScores, crop_scores
from thfm_ros.metrics.score import Score
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import readout_slices
from thfm_ros.training.collate import CropBatch


def score(network: NanoNetwork, batches: list[CropBatch]) -> CropScores:
    """All metrics of a network on fixed batches of single frames."""
    return crop_scores(predict(network, batches), labels_of(batches))


def predict(network: NanoNetwork, batches: list[CropBatch]) -> CropPredictions:
    """Predictions for all crops of these batches, frames of clips in order.

    The network is in inference mode afterwards.
    """
    network.eval()
    with torch.no_grad():
        found = [_predict(network, batch) for batch in batches]
    return CropPredictions(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def _predict(network: NanoNetwork, batch: CropBatch) -> CropPredictions:
    device = next(network.parameters()).device
    outputs = network(batch.image.to(device))
    assert outputs.dense is not None
    dense = outputs.dense.cpu().numpy()
    maps = {task: dense[:, channels] for task, channels in readout_slices().items()}
    return CropPredictions(
        mask=maps[Task.SEGMENTATION][:, 0] > 0,
        parts=maps[Task.PARTS].argmax(1).astype(np.uint8),
        relative_depth_m=maps[Task.DEPTH][:, 0],
        normals=maps[Task.NORMALS].transpose(0, 2, 3, 1),
        dense_pose=maps[Task.DENSE_POSE].transpose(0, 2, 3, 1),
        keypoints=outputs.peaks.cpu().numpy(),
        positions_m=outputs.positions.cpu().numpy(),
        log_width=outputs.log_width.cpu().numpy(),
    )


def labels_of(batches: list[CropBatch]) -> CropLabels:
    """The ground truth of all crops of these batches."""
    return CropLabels(
        instances=_joined(batch.instances for batch in batches),
        parts=_joined(batch.parts for batch in batches),
        relative_depth_m=_joined(batch.relative_depth for batch in batches),
        depth_known=_joined(batch.depth_known for batch in batches),
        normals=_joined(batch.normals for batch in batches),
        dense_pose=_joined(batch.dense_pose for batch in batches),
        keypoints=_joined(batch.peaks for batch in batches),
        visible=_joined(batch.visibility for batch in batches) == 2,
        positions_m=_joined(batch.positions for batch in batches),
        log_width=_joined(batch.log_width for batch in batches),
        person_present=_joined(batch.presence for batch in batches) > 0,
    )


def _joined(tensors: Iterable[Tensor]) -> np.ndarray:
    return np.concatenate([tensor.numpy() for tensor in tensors])


def named(scores: CropScores) -> dict[str, Score]:
    """The metrics that a run's log follows, by their names in it."""
    return {
        "mask_iou": scores.mask_iou,
        "part_miou": scores.part_miou,
        "normals_deg": scores.normals_deg,
        "dense_pose_close": scores.dense_pose.close,
        "relative_depth_cm": scores.relative_depth_cm,
        "pck10": scores.pck10,
        "pck05": scores.pck05,
        "swapped_people": scores.swapped_people,
        "mpjpe_mm": scores.mpjpe_mm,
        "pa_mpjpe_mm": scores.pa_mpjpe_mm,
        "z_error_mm": scores.z_error_mm,
        "log_width_error": scores.log_width_error,
        **{f"pck10_{name}": group.pck10 for name, group in scores.joint_groups.items()},
    }
