# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Verification of compiled engines: each subgraph is compared with PyTorch on the same inputs."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thfm_ros.engine.verify import fixed_clip
from thfm_ros.genception.clip_input import frames_to_network, letterbox
from thfm_ros.genception.runner import GenceptionNetwork
from thfm_ros.genception.subgraphs import GenceptionSubgraphs, Profile, PromptKeyValues
from thfm_ros.genception.vae_steps import Tensors
from thfm_ros.genception.wan_vae import WanVae

TOLERANCE = 0.03
"""Limit of each output's `relative_l2_error` in bfloat16.

Two computations of a tiny network in bfloat16 are 6e-3 to 8e-3 from the float32 result
(docs/full_size.md); the real weights have not been tried.
"""


def relative_l2_error(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest |a - b| / |b| (L2 norms) of any output.

    NaN, and an output of another shape, count as infinite.
    """
    largest = 0.0
    for a, b in zip(outputs, expected, strict=True):
        if a.shape != b.shape:
            return float("inf")
        norm = float(b.float().norm())
        # Where the expected output is all zeros (an empty cache), the error is absolute.
        error = float((a.float() - b.float()).norm()) / (norm or 1.0)
        largest = max(largest, error if np.isfinite(error) else float("inf"))
    return largest


def fixed_video(
    profile: Profile, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "1 3 t h w"]:
    """A moving test clip with smooth and sharp content, in -1..1; the same on every machine."""
    size = (profile.width, profile.height)
    clip = fixed_clip(size, profile.frames)
    return frames_to_network(clip, letterbox(*size, size), device).to(dtype)


@torch.no_grad()
def fixed_inputs(
    subgraphs: GenceptionSubgraphs, video: Float[Tensor, "1 3 t h w"], prompt: PromptKeyValues
) -> dict[str, Tensors]:
    """Inputs of each compiled graph, by its name, when PyTorch runs the network on ``video``."""
    latents = subgraphs.encoder(video)
    predicted = subgraphs.transformer(latents, prompt)[0]
    inputs: dict[str, Tensors] = {
        "encoder": (video,),
        "transformer": (latents, prompt),
        "decoder": (predicted,),
    }
    if isinstance(subgraphs.encoder.vae, WanVae):  # which is compiled in steps
        for name, steps in (
            ("encoder", subgraphs.encoder_steps),
            ("decoder", subgraphs.decoder_steps),
        ):
            first, later = steps.examples(*inputs.pop(name))
            inputs |= {f"{name}_first": first, f"{name}_later": later}
    return {name: tuple(each.contiguous() for each in tensors) for name, tensors in inputs.items()}


@torch.inference_mode()
def differences(
    network: GenceptionNetwork, reference: GenceptionNetwork, profile: Profile
) -> Mapping[str, float]:
    """`relative_l2_error` of encoder, transformer and decoder against a reference network.

    Each subgraph of ``network`` gets the inputs that the reference's gets, so that errors do not
    accumulate.
    """
    task = reference.card.tasks[0]
    video = fixed_video(profile, reference.device, reference.dtype)
    latents = reference.encode(video)
    expected = reference.predict(latents, task)
    decoded = reference.decode(expected.video_latents)

    def as_input(x: Tensor) -> Tensor:
        return x.to(network.device, network.dtype)

    def error(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        moved = [each.to(reference.device, reference.dtype) for each in outputs]
        return relative_l2_error(moved, expected)

    return {
        "encoder": error([network.encode(as_input(video))], [latents]),
        "transformer": error(network.predict(as_input(latents), task), expected),
        "decoder": error([network.decode(as_input(expected.video_latents))], [decoded]),
    }


@torch.inference_mode()
def seconds(network: GenceptionNetwork, profile: Profile, repeats: int) -> dict[str, float]:
    """Wall-clock seconds of each subgraph: the median of ``repeats`` runs after a warm-up run."""
    task = network.card.tasks[0]
    video = fixed_video(profile, network.device, network.dtype)
    latents = network.encode(video)
    predicted = network.predict(latents, task).video_latents
    runs = {
        "encoder": lambda: network.encode(video),
        "transformer": lambda: network.predict(latents, task),
        "decoder": lambda: network.decode(predicted),
    }
    return {name: _median_s(run, network.device, repeats) for name, run in runs.items()}


def _median_s(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    durations_s = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        durations_s.append(time.perf_counter() - start)
    return float(np.median(durations_s[1:]))
