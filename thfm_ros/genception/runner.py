# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network on a stream of camera frames: frames in, perceptions out."""

from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.contract import Body, Frame, Perception, PerceptionError, PixelMap, Task
from thfm_ros.genception.clip_input import (
    ClipWindow,
    PassInput,
    frames_to_network,
    letterbox,
    maps_to_source,
)
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.tasks import ASSUMED_NORMALS, NormalConvention, decode
from thfm_ros.genception.token_bodies import body_of, can_have_bodies, new_id
from thfm_ros.genception.token_map import maps_of_card
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.model.card import CardError, ModelCard

_FIELDS = {Task.DEPTH: "depth_relative", Task.NORMALS: "normals", Task.SEGMENTATION: "mask"}


class GenceptionNetwork(Protocol):
    """The network run by PyTorch (`GenceptionCheckpoint`) or by compiled engines.

    ``description`` and ``fallback_reason`` are as in engine.base.Engine.
    """

    card: ModelCard
    description: str
    fallback_reason: str | None

    @property
    def device(self) -> torch.device:
        """Device of inputs and outputs."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of inputs and outputs."""

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """Latents of a clip of RGB frames in -1..1."""

    def predict(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One forward pass with the prompt of ``task``, which must be one of the card's."""

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """The RGB video of predicted latents, in -1..1."""


class GenceptionRunner:
    """Runs the network on one stream. Depth is relative, in one unit for the whole stream."""

    def __init__(
        self,
        network: GenceptionNetwork,
        profile: Profile,
        stride: int,
        normals: NormalConvention = ASSUMED_NORMALS,
        used_ids: set[str] | None = None,
    ) -> None:
        """Start with an empty stream.

        Args:
            network: what computes.
            profile: window length and image size that it computes on.
            stride: frames that are published per pass; see `ClipWindow`.
            normals: signs of the normal encoding.
            used_ids: ids of bodies that are not used again; those of this runner are added.

        Raises:
            CardError: the card has a token map, or the task bodies, that no release writes.
        """
        self.profile = profile
        self.used_ids = set() if used_ids is None else used_ids
        self._token_maps = maps_of_card(network.card)
        tasks = frozenset(network.card.tasks)
        if Task.BODIES in tasks and not can_have_bodies(self._token_maps, tasks):
            raise CardError(
                f"The card of {network.card.name} has the task bodies, but not what it needs. Run "
                "`thfm calibrate-tokens` again on the imported checkpoint."
            )
        self._network = network
        self._normals = normals
        self._stride = stride
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._window = ClipWindow[Frame](self.profile.frames, self._stride)
        self._previous_depth: dict[int, Tensor] = {}  # of the previous pass, by time stamp
        self._body_id = ""  # of the one person that the token tables describe

    def push(self, frame: Frame, tasks: frozenset[Task]) -> list[Perception]:
        """Add a frame; return the perceptions of a pass if it made one ready, oldest first.

        Raises: see `perceive`.
        """
        self._check_tasks(tasks)
        self._window.push(frame)
        clip = self._window.take()
        return [] if clip is None else self.perceive(clip, tasks)

    def finish(self, tasks: frozenset[Task]) -> list[Perception]:
        """Perceptions of the remaining frames at the end of a stream.

        The last frame is repeated to fill the window.
        """
        clip = self._window.take(flush=True)
        return [] if clip is None else self.perceive(clip, tasks)

    def _check_tasks(self, tasks: frozenset[Task]) -> None:
        card = self._network.card
        if missing := tasks - set(card.tasks):
            names = ", ".join(sorted(task.value for task in missing))
            available = ", ".join(task.value for task in card.tasks)
            raise PerceptionError(f"{card.name} cannot estimate {names}; it can: {available}.")

    @torch.inference_mode()
    def perceive(self, clip: PassInput[Frame], tasks: frozenset[Task]) -> list[Perception]:
        """One pass per task over a window of frames; perceptions of its new frames.

        Raises:
            PerceptionError: a task that the checkpoint does not have.
            GenceptionError: frames of several sizes; `reset` when the size changes.
        """
        self._check_tasks(tasks)
        height, width = clip.items[0].rgb.shape[:2]
        box = letterbox(width, height, (self.profile.width, self.profile.height))
        images = [frame.rgb for frame in clip.items]
        network = self._network
        latents = network.encode(frames_to_network(images, box, network.device).to(network.dtype))
        maps: dict[Task, Any] = {}
        outputs: dict[Task, GenceptionOutputs] = {}
        # Whether a person is there at all is known from the mask only.
        masks = {Task.SEGMENTATION} if Task.BODIES in tasks else set()
        for task in sorted((tasks - {Task.BODIES}) | masks):
            outputs[task] = network.predict(latents, task)
            video = network.decode(outputs[task].video_latents)
            decoded = self._decode_task(task, (video[0].transpose(0, 1) + 1) / 2)
            if task is Task.DEPTH:
                decoded = self._match_previous_unit(decoded, clip)
            new = decoded[clip.new.start : clip.new.stop]
            maps[task] = maps_to_source(new, box, width, height).float().cpu().numpy()
        bodies: list[tuple[Body, ...]] = [()] * len(clip.new)
        if Task.BODIES in tasks:
            bodies = self._bodies(clip, box, latents, outputs, maps[Task.SEGMENTATION])
        return [
            self._perception(
                clip.items[index], {t: maps[t][i] for t in maps if t in tasks}, bodies[i]
            )
            for i, index in enumerate(clip.new)
        ]

    def _bodies(
        self,
        clip: PassInput[Frame],
        box: PixelMap,
        latents: Tensor,
        outputs: dict[Task, GenceptionOutputs],
        masks: np.ndarray[Any, Any],
    ) -> list[tuple[Body, ...]]:
        """The person of each new frame, if there is one, by the calibrated token tables."""
        points: dict[str, np.ndarray[Any, Any]] = {}
        for each in self._token_maps:
            task = Task(each.prompt)
            if task not in outputs:
                outputs[task] = self._network.predict(latents, task)
            table: Tensor = getattr(outputs[task], each.table)
            points[each.space] = each.points(table[0].float().cpu().numpy())
        found: list[tuple[Body, ...]] = []
        for i, index in enumerate(clip.new):
            self._body_id = self._body_id or new_id(self.used_ids)
            of_frame = {space: values[index] for space, values in points.items()}
            frame, mask = clip.items[index], masks[i][0]
            body = body_of(of_frame, self._token_maps, frame, box, mask, self._body_id)
            if body is None:
                self._body_id = ""  # whoever comes next may be another person
            found.append(() if body is None else (body,))
        return found

    def _decode_task(self, task: Task, rgb: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t c h w"]:
        scale = float(self._network.card.network["depth_scale"])
        return decode(task, rgb, depth_scale=scale, normals=self._normals)

    def _match_previous_unit(
        self, depth: Float[Tensor, "t 1 h w"], clip: PassInput[Frame]
    ) -> Float[Tensor, "t 1 h w"]:
        """Scale the depth of a pass to the unit of the previous pass over their common frames.

        Each pass has its own unit, the median depth of its clip. Without a common frame the unit
        of this pass is kept.
        """
        stamps = [frame.stamp_ns for frame in clip.items]
        common = [i for i, stamp in enumerate(stamps) if stamp in self._previous_depth]
        if common:
            previous = torch.stack([self._previous_depth[stamps[i]] for i in common])
            current = depth[common].clamp_min(1e-3)
            # In logarithms, because the network's errors are relative; the median, so that a few
            # far pixels do not dominate.
            ratio = (previous.clamp_min(1e-3) / current).log().nanmedian().exp()
            depth = depth * torch.nan_to_num(ratio, nan=1.0)
        self._previous_depth = dict(zip(stamps, depth, strict=True))
        return depth

    @staticmethod
    def _perception(
        frame: Frame, maps: dict[Task, np.ndarray[Any, Any]], bodies: tuple[Body, ...]
    ) -> Perception:
        height, width = frame.rgb.shape[:2]
        fields = {
            _FIELDS[task]: np.moveaxis(m, 0, -1) if task is Task.NORMALS else m[0]
            for task, m in maps.items()
        }
        return Perception(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            width=width,
            height=height,
            intrinsics=frame.intrinsics,
            bodies=bodies,
            left_out=0,  # the token tables describe one person at most
            **fields,
        )
