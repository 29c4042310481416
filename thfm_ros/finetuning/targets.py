# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered clips as the full-size network is to predict them: videos to encode, and joints.

The videos are the inverse of `thfm_ros.genception.tasks.decode`: depth in units of the clip's
median as a colour, normals as a colour, the people white on black.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from thfm_ros.contract import PixelMap, Task
from thfm_ros.genception.clip_input import frames_to_network, letterbox
from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError
from thfm_ros.genception.depth_colour import depth_to_colour
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.tasks import ASSUMED_NORMALS
from thfm_ros.genception.token_calibration import KnownPoses
from thfm_ros.geometry import to_network

Clip = dict[str, np.ndarray]
"""Arrays of the frames of one clip; see "Shards" in docs/synthetic_humans.md."""


@dataclass(frozen=True)
class TargetVideo:
    """What the network is to predict for one task."""

    video: Float[Tensor, "1 3 t h w"]  # -1..1
    known: Bool[Tensor, "t h w"]  # False in the bars of the letterbox and where nothing is known

    def known_cells(self) -> Bool[Tensor, "1 1 s i j"]:
        """Latent cells all of whose pixels are known; the first encodes one frame, others four."""
        unknown = (~self.known).float()[:, None]
        per_frame = avg_pool2d(unknown, VAE_SPATIAL)[:, 0] > 0
        later = per_frame[1:].unflatten(0, (-1, VAE_TEMPORAL)).any(1)
        return ~torch.cat((per_frame[:1], later))[None, None]


@dataclass(frozen=True)
class Example:
    """One clip: the input, what is to be predicted per task, and the joints of its person.

    Joints are NaN in frames that do not show one person alone: a table describes one.
    """

    video: Float[Tensor, "1 3 t h w"]  # -1..1
    targets: dict[Task, TargetVideo]
    poses: KnownPoses


def example_of(
    clip: Clip, profile: Profile, tasks: tuple[Task, ...], depth_scale: float, device: torch.device
) -> Example:
    """Input and targets of a rendered clip.

    Args:
        clip: as many frames as the profile has, of any one size.
        profile: window and image size of the network.
        tasks: of depth, normals and segmentation.
        depth_scale: of the depth colour map.
        device: of the tensors.

    Raises:
        GenceptionError: the clip has another number of frames.
    """
    images = list(clip["rgb"])
    if len(images) != profile.frames:
        raise GenceptionError(
            f"A clip of {len(images)} frames cannot be used: the network takes {profile.frames}."
        )
    box = letterbox(images[0].shape[1], images[0].shape[0], (profile.width, profile.height))
    is_alone = (clip["people"] == 1) & (clip["instances"] == 1).any((1, 2))
    joints_m = np.where(is_alone[:, None, None], clip["keypoints3d"][:, 0], np.nan)
    pixels = np.where(is_alone[:, None, None], clip["keypoints2d"][:, 0], np.nan)
    poses = KnownPoses(joints_m, to_network(pixels, box), profile.width, np.zeros(len(images), int))
    targets = {task: _target(task, clip, box, depth_scale, device) for task in tasks}
    return Example(frames_to_network(images, box, device), targets, poses)


def _target(
    task: Task, clip: Clip, box: PixelMap, depth_scale: float, device: torch.device
) -> TargetVideo:
    if task is Task.DEPTH:
        depth = torch.from_numpy(clip["depth_m"].astype(np.float32)).to(device)
        known = depth > 0
        unit = depth[known].median() if known.any() else depth.new_tensor(1.0)
        rgb = depth_to_colour(depth / unit, depth_scale)
    elif task is Task.NORMALS:
        normals = torch.from_numpy(clip["normals"].astype(np.float32) / 127).to(device)
        known = normals.abs().sum(-1) > 0
        signs = normals.new_tensor((ASSUMED_NORMALS.x, ASSUMED_NORMALS.y, ASSUMED_NORMALS.z))
        rgb = (normals * signs + 1) / 2
    elif task is Task.SEGMENTATION:
        people = torch.from_numpy(clip["instances"] > 0).to(device)
        known = torch.ones_like(people)
        rgb = people.float()[..., None].expand(*people.shape, 3)
    else:
        raise GenceptionError(f"There is no video of {task.value} that could be trained.")
    maps = torch.cat((rgb, known.float()[..., None]), -1).movedim(-1, 1)
    maps = _to_network(maps, box)
    return TargetVideo((maps[:, :3].transpose(0, 1) * 2 - 1)[None], maps[:, 3] > 0)


def _to_network(maps: Float[Tensor, "t c height width"], box: PixelMap) -> Float[Tensor, "t c h w"]:
    """The nearest pixel of the source at each pixel of the network image, 0 outside."""
    height, width = maps.shape[-2:]
    columns = torch.arange(box.width, device=maps.device) + 0.5
    rows = torch.arange(box.height, device=maps.device) + 0.5
    x = (columns * box.scale + box.offset_x).floor().long()
    y = (rows * box.scale + box.offset_y).floor().long()
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    found = maps[:, :, y.clamp(0, height - 1)][..., x.clamp(0, width - 1)]
    return found * inside
