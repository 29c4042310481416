# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network in its 1.3B shapes with random weights: time and memory of each part."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from thfm_ros.genception.config import GenceptionConfig
from thfm_ros.genception.prompt_files import PROMPT_LENGTH
from thfm_ros.genception.subgraphs import (
    GenceptionSubgraphs,
    Profile,
    make_subgraphs,
    prompt_key_values,
)
from thfm_ros.genception.transformer import GenceptionTransformer, empty_transformer
from thfm_ros.genception.wan_vae import VaeVariant, WanVae, empty_vae
from thfm_ros.gpu_report.device import Device, durations_s, open_device
from thfm_ros.gpu_report.step_context import NotAvailableError, StepContext, reason_of

BEYOND_GB = 1.0
"""What CUDA and PyTorch use themselves."""

TIMED_S = 4.0


class Cost(NamedTuple):
    """Counted operations of the parts in TFLOP, and memory of results, see docs/full_size.md."""

    encoder: float
    transformer: float
    decoder: float
    peak_gb: float


WEIGHTS_GB = 3.1
PROFILES = {
    Profile(9, 448, 256): Cost(5.4, 3.8, 9.0, 1.6),
    Profile(17, 832, 480): Cost(34.9, 31.2, 58.6, 5.6),
    Profile(81, 832, 480): Cost(163.8, 282.5, 275.4, 5.6),
}
"""From the cheapest on, so that a GPU that is too small or slow for one has run those before."""

STAND_IN = {Profile(5, 48, 32): Cost(0.0, 0.0, 0.0, 0.0)}
TINY = GenceptionConfig(
    num_attention_heads=2, attention_head_dim=12, num_layers=2, ffn_dim=32, text_dim=16
)
TINY_VAE: dict[str, object] = {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}


class Network(NamedTuple):
    """A network with random weights, and one prompt."""

    transformer: GenceptionTransformer
    vae: WanVae
    prompt: Tensor


def run(context: StepContext) -> None:
    """Record the weights, the prompt, then each part in each profile."""
    device = open_device(stand_in=context.stand_in)
    profiles = _fitting(context, STAND_IN if context.stand_in else PROFILES, device.memory_bytes)
    begin = time.perf_counter()
    device.reset_peak()
    network = random_network(device)
    device.synchronize()
    record = {"part": "weights", "seconds": time.perf_counter() - begin, **_peak(device)}
    context.record(record)
    context.record({"part": "prompt", **_prompt(network, device)})
    for profile, cost in profiles.items():
        measure_profile(context, network, profile, cost, device)


def _fitting(
    context: StepContext, profiles: dict[Profile, Cost], memory_bytes: int
) -> dict[Profile, Cost]:
    """The profiles for which the memory suffices; the others are recorded with what they need.

    Raises:
        NotAvailableError: it does not suffice for any.
    """
    fitting = {}
    for profile, cost in profiles.items():
        needed_gb = WEIGHTS_GB + cost.peak_gb + BEYOND_GB
        if memory_bytes >= needed_gb * 1e9:
            fitting[profile] = cost
            continue
        reason = f"needs about {needed_gb:.1f} GB; this GPU has {memory_bytes / 1e9:.1f}"
        context.record({"profile": profile.name, "does_not_fit": reason})
        if profile == next(iter(profiles)):
            raise NotAvailableError(f"the smallest profile, {profile.name}, {reason}")
    return fitting


def random_network(device: Device) -> Network:
    """Transformer and VAE made on the device, in bfloat16; on a stand-in tiny, in float32."""
    config, vae_config, dtype = (
        (TINY, TINY_VAE, torch.float32)
        if device.stand_in
        else (GenceptionConfig(), {}, torch.bfloat16)
    )
    generator = torch.Generator(device.torch_device).manual_seed(0)
    transformer = empty_transformer(config).to(dtype)
    vae = empty_vae(vae_config).to(dtype)
    for module in (transformer, vae):
        module.to_empty(device=device.torch_device)
        fill(module, generator)
    prompt = torch.randn(
        (1, PROMPT_LENGTH, config.text_dim),
        generator=generator,
        device=device.torch_device,
        dtype=dtype,
    )
    wan_vae = WanVae(vae, VaeVariant.AS_RELEASED).to(device.torch_device)
    return Network(transformer, wan_vae.eval(), prompt)


@torch.no_grad()
def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Random weights that keep the size of signals; scales of norms 1, biases 0."""
    for name, value in module.named_parameters():
        if name.endswith("bias"):
            value.zero_()
        elif value.ndim == 1 or name.endswith("gamma"):
            value.fill_(1.0)
        else:
            value.normal_(0.0, value[0].numel() ** -0.5, generator=generator)


@torch.no_grad()
def _prompt(network: Network, device: Device) -> dict[str, Any]:
    """The text prompt's keys and values, which are computed once and then cached."""
    seconds = durations_s(
        lambda: prompt_key_values(network.transformer, network.prompt),
        device,
        most_s=0.2,
        warm_up=1,
    )
    cached = prompt_key_values(network.transformer, network.prompt)
    megabytes = cached.numel() * cached.element_size() / 1e6
    return {"ms": _ms(seconds), "megabytes": round(megabytes, 1), **_finite(cached)}


def measure_profile(
    context: StepContext, network: Network, profile: Profile, cost: Cost, device: Device
) -> None:
    """Record encoder, transformer and decoder of one profile, each with the one before's output."""
    try:
        parts = _parts(network, profile, device)
    except Exception as error:
        context.record({"profile": profile.name, "failed": reason_of(error)})
        return
    for part, call in parts.items():
        record: dict[str, Any] = {"profile": profile.name, "part": part}
        try:
            record |= measure_part(call, getattr(cost, part), device)
        except torch.OutOfMemoryError as error:
            record["does_not_fit"] = reason_of(error)
        except Exception as error:
            record["failed"] = reason_of(error)
        context.record(record)
        device.synchronize()


@torch.no_grad()
def _parts(network: Network, profile: Profile, device: Device) -> dict[str, Callable[[], Tensor]]:
    """A call for each part. Inputs are random, so that a part that fails does not stop others."""
    graphs: GenceptionSubgraphs = make_subgraphs(network.transformer, network.vae, profile)
    prompt = prompt_key_values(network.transformer, network.prompt)
    examples = graphs.examples()
    video = torch.rand_like(examples["encoder"][0]) * 2 - 1
    latents = torch.randn_like(examples["decoder"][0])
    return {
        "encoder": lambda: graphs.encoder(video),
        "transformer": lambda: graphs.transformer(latents, prompt)[0],
        "decoder": lambda: graphs.decoder(latents),
    }


@torch.inference_mode()
def measure_part(call: Callable[[], Tensor], tflop: float, device: Device) -> dict[str, Any]:
    """First and median time, memory, and the share of arithmetic that is reached."""
    device.reset_peak()
    begin = time.perf_counter()
    finite = _finite(call())
    device.synchronize()
    first_s = time.perf_counter() - begin
    # A call that takes seconds is repeated once only.
    most_s = 0.02 if device.stand_in else TIMED_S
    few = 3 if 3 * first_s < most_s else 1
    seconds = durations_s(call, device, most_s=most_s, warm_up=0, fewest=few)
    reached = round(tflop / float(np.median(seconds)), 1) if tflop else None
    return {
        **{"ms": _ms(seconds), "first_ms": _ms([first_s]), "of": len(seconds)},
        **{"tflop_s": reached, **_peak(device), **finite},
    }


def _finite(output: Tensor) -> dict[str, bool]:
    return {"finite": bool(torch.isfinite(output).all())}


def _ms(seconds: list[float]) -> float:
    return round(1e3 * float(np.median(seconds)), 2)


def _peak(device: Device) -> dict[str, float | None]:
    peak = device.peak_bytes()
    return {"peak_gb": None if peak is None else round(peak / 1e9, 2)}
