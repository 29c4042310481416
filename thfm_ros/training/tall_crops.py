# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tall training crops: the middle columns of square ones.

The axes of the view, and all metres, stay those of the square crop, which has the same middle.
"""

import numpy as np
from jaxtyping import Float, Shaped

from thfm_ros.training.crop_samples import CropSample, votes_of
from thfm_ros.training.unlabelled_photos import PhotoCrop

_MAPS = ("instances", "parts", "relative_depth", "depth_known", "normals", "dense_pose")


def tall_sample(sample: CropSample, width: int) -> CropSample:
    """The middle ``width`` columns (pixels, a multiple of four) of a square sample.

    Joints in the other columns are outside the image.
    """
    size = sample.image.shape[2]
    instances = _middle(sample.instances, width // 2)
    peaks = sample.peaks.copy()
    peaks[..., 0] = _in_middle(peaks[..., 0], width / size)
    outside = (peaks[..., 0] < 0) | (peaks[..., 0] >= 1)
    return sample._replace(
        image=_middle(sample.image, width),
        **{name: _middle(getattr(sample, name), width // 2) for name in _MAPS},
        votes=np.stack([votes_of(each) for each in instances]),
        peaks=peaks,
        visibility=np.where(outside, 0, sample.visibility).astype(np.uint8),
        cue=_tall_cue(sample.cue, width / size),
    )


def tall_photo(crop: PhotoCrop, width: int) -> PhotoCrop:
    """The middle ``width`` columns (pixels) of a square crop of a photograph."""
    size = crop.image.shape[1]
    return crop._replace(
        image=_middle(crop.image[None], width)[0],
        altered=_middle(crop.altered[None], width)[0],
        cue=_tall_cue(crop.cue[None], width / size)[0],
    )


def _middle(maps: Shaped[np.ndarray, "t h w *c"], width: int) -> Shaped[np.ndarray, "t h v *c"]:
    left = (maps.shape[2] - width) // 2
    return maps[:, :, left : left + width]


def _in_middle(x: Shaped[np.ndarray, "*n"], share: float) -> Float[np.ndarray, "*n"]:
    """Shares of a square's width as shares of its middle part, which has ``share`` of it."""
    return (x - (1 - share) / 2) / share


def _tall_cue(cue: Float[np.ndarray, "t 5"], share: float) -> Float[np.ndarray, "t 5"]:
    tall = cue.copy()
    tall[:, [0, 2]] = _in_middle(cue[:, [0, 2]], share)
    return np.where(cue[:, 4:] > 0, tall, cue).astype(np.float32)
