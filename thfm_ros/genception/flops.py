# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark flops`: the cost of a pass of the full-size network, counted, not measured.

Operations and bytes are counted on the modules that run, without their weights. Times are computed
from these counts, see `Gpu`: no GPU was available to measure them.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from thfm_ros.genception.config import (
    GenceptionConfig,
    GenceptionError,
    config_from_mapping,
)
from thfm_ros.genception.op_counter import OpCounter
from thfm_ros.genception.prompt_files import PROMPT_LENGTH
from thfm_ros.genception.subgraphs import GenceptionSubgraphs, Profile, make_subgraphs
from thfm_ros.genception.transformer import empty_transformer
from thfm_ros.genception.wan_vae import WanVae, empty_vae
from thfm_ros.model.weights import read_card

SIZES = {
    "1.3b": GenceptionConfig(),
    "14b": GenceptionConfig(num_attention_heads=40, num_layers=40, ffn_dim=13824),
}
PROFILES = (Profile(81, 832, 480), Profile(17, 832, 480), Profile(9, 448, 256))


@dataclass(frozen=True)
class Gpu:
    """Vendor's figures of a GPU for dense bfloat16, and the assumed share that is reached.

    The shares are assumptions that may be wrong by a factor of two.
    """

    name: str
    tflops: float
    bandwidth_gb_s: float
    transformer_share: float
    vae_share: float


GPUS = (
    Gpu("H100 SXM", 989, 3350, 0.50, 0.35),
    Gpu("RTX 4090", 165, 1008, 0.50, 0.35),
    Gpu("Jetson AGX Thor", 259, 273, 0.40, 0.30),
    Gpu("Jetson AGX Orin 64GB", 42, 205, 0.40, 0.30),
)


@dataclass(frozen=True)
class Cost:
    """Cost of one subgraph (encoder, transformer or decoder) in one profile, batch 1."""

    subgraph: str
    tflop: float
    weights_gb: float
    traffic_gb: float  # in eager PyTorch, without fusion
    peak_gb: float  # largest size of results at one time, without weights


@dataclass(frozen=True)
class Estimate:
    """Seconds on one GPU, computed, not measured."""

    gpu: str
    dense_s: float  # encoder, transformer and decoder, if limited by operations only
    tokens_s: float  # the same without the decoder
    eager_s: float  # dense, if every operation also reads and writes all its bytes


def count_costs(subgraphs: GenceptionSubgraphs) -> list[Cost]:
    """Count each subgraph on the device "meta"; encoder and decoder are counted step by step."""
    costs = []
    examples = subgraphs.step_examples()
    latent_frames = subgraphs.examples()["decoder"][0].shape[2]
    vae = subgraphs.vae.vae
    for name, steps, module in (
        ("encoder", subgraphs.encoder_steps, vae.encoder),
        ("decoder", subgraphs.decoder_steps, vae.decoder),
    ):
        first = _run_counted(steps.first, examples[f"{name}_first"])
        later = _run_counted(steps.later, examples[f"{name}_later"])
        flop = first.flop + (latent_frames - 1) * later.flop
        traffic = first.traffic + (latent_frames - 1) * later.traffic
        # The feature cache is an input of the step, which `OpCounter.peak` does not include.
        cache = sum(_bytes(each) for each in examples[f"{name}_later"][1:])
        peak = max(first.peak, later.peak) + cache
        costs.append(_cost(name, module, flop, traffic, peak))
    counter = _run_counted(subgraphs.transformer, subgraphs.examples()["transformer"])
    network = subgraphs.transformer.network
    costs.insert(1, _cost("transformer", network, counter.flop, counter.traffic, counter.peak))
    return costs


def _run_counted(module: object, inputs: tuple[Tensor, ...]) -> OpCounter:
    with torch.no_grad(), OpCounter() as counter:
        module(*inputs)  # type: ignore[operator]
    return counter


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _cost(subgraph: str, module: nn.Module, flop: int, traffic: int, peak: int) -> Cost:
    weights = sum(_bytes(parameter) for parameter in module.parameters())
    return Cost(subgraph, flop / 1e12, weights / 1e9, traffic / 1e9, peak / 1e9)


def estimate(costs: list[Cost], gpu: Gpu) -> Estimate:
    """Seconds of one pass: operations and traffic divided by what the GPU is assumed to reach."""
    compute_s, eager_s = {}, {}
    for cost in costs:
        share = gpu.transformer_share if cost.subgraph == "transformer" else gpu.vae_share
        compute_s[cost.subgraph] = cost.tflop / (gpu.tflops * share)
        transfer_s = (cost.traffic_gb + cost.weights_gb) / gpu.bandwidth_gb_s
        eager_s[cost.subgraph] = max(compute_s[cost.subgraph], transfer_s)
    dense_s = sum(compute_s.values())
    return Estimate(gpu.name, dense_s, dense_s - compute_s["decoder"], sum(eager_s.values()))


def empty_subgraphs(
    config: GenceptionConfig,
    vae_config: dict[str, object],
    profile: Profile,
    length: int = PROMPT_LENGTH,
) -> GenceptionSubgraphs:
    """The subgraphs of a network of these sizes in bfloat16 on the device "meta"."""
    with torch.device("meta"):
        network = empty_transformer(config).bfloat16()
        vae = WanVae(empty_vae(vae_config).bfloat16())
        prompt = torch.empty(1, length, config.text_dim, dtype=torch.bfloat16)
        return make_subgraphs(network, vae, profile, prompt)


def report(costs: list[Cost], profile: Profile) -> str:
    """Costs and estimates of one profile as two Markdown tables."""
    lines = [
        f"### {profile.name} (width x height x frames)",
        "",
        "| subgraph | TFLOP | weights GB | traffic GB (eager) | peak results GB |",
        "|---|---|---|---|---|",
    ]
    total = Cost(
        "all",
        sum(cost.tflop for cost in costs),
        sum(cost.weights_gb for cost in costs),
        sum(cost.traffic_gb for cost in costs),
        max(cost.peak_gb for cost in costs),
    )
    lines += [
        f"| {c.subgraph} | {c.tflop:.2f} | {c.weights_gb:.3f} | {c.traffic_gb:.1f} "
        f"| {c.peak_gb:.2f} |"
        for c in (*costs, total)
    ]
    lines += [
        "",
        "| GPU (arithmetic, not measured) | dense s | tokens only s | dense, eager s |",
        "|---|---|---|---|",
    ]
    for gpu in GPUS:
        e = estimate(costs, gpu)
        lines.append(f"| {e.gpu} | {e.dense_s:.2g} | {e.tokens_s:.2g} | {e.eager_s:.2g} |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm benchmark flops`."""
    parser.add_argument(
        "--size",
        choices=sorted(SIZES),
        default="1.3b",
        help="public size of the network (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", type=Path, help="imported checkpoint, instead of --size")
    parser.add_argument(
        "--profile",
        action="append",
        metavar="WIDTHxHEIGHTxFRAMES",
        help="image size and window length; can be repeated (default: "
        + ", ".join(each.name for each in PROFILES)
        + ")",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Count, and print tables or JSON."""
    config = SIZES[args.size]
    vae_config: dict[str, object] = {}
    if args.checkpoint is not None:
        card = read_card(args.checkpoint)
        if card.family != "genception":
            raise GenceptionError(
                f"{args.checkpoint} is of the {card.family} family; only full-size checkpoints "
                "are counted. `thfm benchmark` measures nano."
            )
        config = config_from_mapping(card.network["transformer"])
        vae_config = card.network["vae"] or {}
    results = {}
    profiles = [Profile.from_text(text) for text in args.profile or ()]
    for profile in profiles or PROFILES:
        costs = count_costs(empty_subgraphs(config, vae_config, profile))
        results[profile.name] = {
            "counted": [asdict(cost) for cost in costs],
            "arithmetic_not_measured": [asdict(estimate(costs, gpu)) for gpu in GPUS],
        }
        if not args.json:
            sys.stdout.write(report(costs, profile) + "\n")
    if args.json:
        sys.stdout.write(json.dumps(results, indent=1) + "\n")
    return 0
