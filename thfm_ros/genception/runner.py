"""The full-size network on clips of camera frames: frames in, perceptions out."""

from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.contract import Frame, Perception, PerceptionError, Task
from thfm_ros.genception.clip_input import Batch, ClipWindow, letterbox, to_network, to_source
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.tasks import ASSUMED_NORMALS, NormalConvention, decode
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.model.card import ModelCard

_FIELDS = {Task.DEPTH: "depth_relative", Task.NORMALS: "normals", Task.SEGMENTATION: "mask"}


class Network(Protocol):
    """What computes: PyTorch (`GenceptionCheckpoint`), or compiled engines.

    ``description`` is for people and diagnostics, as that of engine.base.Engine.
    """

    card: ModelCard
    description: str

    @property
    def device(self) -> torch.device:
        """Where it takes its inputs."""

    @property
    def dtype(self) -> torch.dtype:
        """Of its inputs and answers."""

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """Latents of a clip in -1..1."""

    def answer(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """What the network says about a clip when it is asked for a task of its card."""

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """The clip that latents stand for, in -1..1."""


class GenceptionRunner:
    """One stream of frames. Depth is relative and keeps one unit for the whole stream."""

    def __init__(
        self,
        network: Network,
        profile: Profile,
        stride: int,
        normals: NormalConvention = ASSUMED_NORMALS,
    ) -> None:
        """``stride`` frames are published per pass; see `ClipWindow`."""
        self.profile = profile
        self._network = network
        self._normals = normals
        self._stride = stride
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._window = ClipWindow[Frame](self.profile.frames, self._stride)
        self._seen: dict[int, Tensor] = {}  # depth of the last pass by stamp, for the next one

    def push(self, frame: Frame, tasks: frozenset[Task]) -> list[Perception]:
        """Add a frame; perceptions of those frames that a pass has now seen, oldest first.

        Raises: see `perceive`.
        """
        self._refuse_unknown(tasks)
        self._window.push(frame)
        batch = self._window.take()
        return [] if batch is None else self.perceive(batch, tasks)

    def finish(self, tasks: frozenset[Task]) -> list[Perception]:
        """What is left at the end of a stream: the last frame is repeated to fill the window."""
        batch = self._window.take(rest=True)
        return [] if batch is None else self.perceive(batch, tasks)

    def _refuse_unknown(self, tasks: frozenset[Task]) -> None:
        card = self._network.card
        if missing := tasks - set(card.tasks):
            names = ", ".join(sorted(task.value for task in missing))
            able = ", ".join(task.value for task in card.tasks)
            raise PerceptionError(f"{card.name} cannot estimate {names}; it can: {able}.")

    @torch.inference_mode()
    def perceive(self, batch: Batch[Frame], tasks: frozenset[Task]) -> list[Perception]:
        """One pass per task over a window of frames; perceptions of its new frames.

        Raises:
            PerceptionError: a task that the checkpoint does not have.
            GenceptionError: frames of several sizes; `reset` when the size changes.
        """
        self._refuse_unknown(tasks)
        height, width = batch.items[0].rgb.shape[:2]
        box = letterbox(width, height, (self.profile.width, self.profile.height))
        images = [frame.rgb for frame in batch.items]
        network = self._network
        latents = network.encode(to_network(images, box, network.device).to(network.dtype))
        maps: dict[Task, Any] = {}
        for task in sorted(tasks):
            painted = network.decode(network.answer(latents, task).video_latents)
            decoded = self._decoded(task, (painted[0].transpose(0, 1) + 1) / 2)
            if task is Task.DEPTH:
                decoded = self._in_one_unit(decoded, batch)
            kept = decoded[batch.new.start : batch.new.stop]
            maps[task] = to_source(kept, box, width, height).float().cpu().numpy()
        return [
            self._perception(batch.items[position], {t: m[i] for t, m in maps.items()})
            for i, position in enumerate(batch.new)
        ]

    def _decoded(self, task: Task, rgb: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t c h w"]:
        scale = float(self._network.card.network["depth_scale"])
        return decode(task, rgb, depth_scale=scale, normals=self._normals)

    def _in_one_unit(
        self, depth: Float[Tensor, "t 1 h w"], batch: Batch[Frame]
    ) -> Float[Tensor, "t 1 h w"]:
        """Each pass has its own unit, its median: take that of the pass before, where they overlap.

        Without a frame in common nothing ties the two, and the unit begins anew.
        """
        stamps = [frame.stamp_ns for frame in batch.items]
        both = [i for i, stamp in enumerate(stamps) if stamp in self._seen]
        if both:
            before = torch.stack([self._seen[stamps[i]] for i in both])
            # Of logarithms, as the network's errors are: one far corner must not decide.
            ratio = (before.clamp_min(1e-3) / depth[both].clamp_min(1e-3)).log().nanmedian().exp()
            depth = depth * torch.nan_to_num(ratio, nan=1.0)
        self._seen = dict(zip(stamps, depth, strict=True))
        return depth

    @staticmethod
    def _perception(frame: Frame, maps: dict[Task, np.ndarray[Any, Any]]) -> Perception:
        height, width = frame.rgb.shape[:2]
        shaped = {
            _FIELDS[task]: np.moveaxis(m, 0, -1) if task is Task.NORMALS else m[0]
            for task, m in maps.items()
        }
        return Perception(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            width=width,
            height=height,
            intrinsics=frame.intrinsics,
            bodies=(),
            **shaped,
        )
