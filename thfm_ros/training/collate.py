# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Batches: samples stacked as tensors, which can be moved to a device."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from thfm_ros.training.crop_samples import CropSample
from thfm_ros.training.detection_samples import DetectionSample
from thfm_ros.training.unlabelled_photos import PhotoCrop


@dataclass(frozen=True, kw_only=True)
class CropBatch:
    """Stacked `CropSample`s: clips of ``t`` frames, labels flattened over clips and frames."""

    image: Float[Tensor, "n t 3 H W"]  # RGB in 0..255
    instances: UInt8[Tensor, "b h w"]
    parts: UInt8[Tensor, "b h w"]
    relative_depth: Float[Tensor, "b h w"]
    depth_known: Bool[Tensor, "b h w"]
    normals: Float[Tensor, "b h w 3"]
    dense_pose: Float[Tensor, "b h w 3"]
    votes: Float[Tensor, "b h w 2"]
    peaks: Float[Tensor, "b k 2"]
    visibility: UInt8[Tensor, "b k"]
    positions: Float[Tensor, "b k 3"]
    log_width: Float[Tensor, " b"]
    presence: Float[Tensor, " b"]
    cue: Float[Tensor, "b 5"]

    def to(self, device: torch.device) -> "CropBatch":
        """The batch on a device."""
        return CropBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class DetectionBatch:
    """Stacked `DetectionSample`s."""

    image: Float[Tensor, "b 3 H W"]  # RGB in 0..255
    centres: Float[Tensor, "b h w"]
    edges: Float[Tensor, "b 4 h w"]
    positive: Bool[Tensor, "b h w"]
    ignored: Bool[Tensor, "b h w"]

    def to(self, device: torch.device) -> "DetectionBatch":
        """The batch on a device."""
        return DetectionBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class PhotoBatch:
    """Stacked `PhotoCrop`s, whose only label is whether there is a person."""

    image: Float[Tensor, "b 1 3 H W"]  # RGB in 0..255
    altered: Float[Tensor, "b 1 3 H W"]
    cue: Float[Tensor, "b 5"]
    presence: Float[Tensor, " b"]

    def to(self, device: torch.device) -> "PhotoBatch":
        """The batch on a device."""
        return PhotoBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


Batch = CropBatch | DetectionBatch | PhotoBatch


def collate_photo_crops(samples: list[PhotoCrop]) -> PhotoBatch:
    """Stack samples of one size."""
    image, altered, cue, presence = (
        torch.from_numpy(np.stack(values)).float() for values in zip(*samples, strict=True)
    )
    return PhotoBatch(
        image=image.permute(0, 3, 1, 2)[:, None],
        altered=altered.permute(0, 3, 1, 2)[:, None],
        cue=cue,
        presence=presence,
    )


def collate_crops(samples: list[CropSample]) -> CropBatch:
    """Stack samples of one size and length."""
    stacked = CropSample(*(np.stack(values) for values in zip(*samples, strict=True)))
    labels = {
        name: torch.from_numpy(np.ascontiguousarray(values)).flatten(0, 1)
        for name, values in stacked._asdict().items()
        if name != "image"
    }
    image = torch.from_numpy(stacked.image).permute(0, 1, 4, 2, 3).float()
    return CropBatch(image=image, **labels)


def collate_detections(samples: list[DetectionSample]) -> DetectionBatch:
    """Stack samples of one size."""
    image = torch.from_numpy(np.stack([sample.image for sample in samples]))
    targets = {
        name: torch.from_numpy(np.stack([getattr(sample.targets, name) for sample in samples]))
        for name in samples[0].targets._fields
    }
    return DetectionBatch(image=image.permute(0, 3, 1, 2).float(), **targets)
