"""`thfm benchmark flops`: what a pass of the full-size network costs, counted and not measured.

Operations and bytes are counted exactly, on the modules that run, without their weights. Times
are arithmetic on top of that: see `Gpu`. No GPU was at hand when this was written.
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
from thfm_ros.genception.op_counter import Tally
from thfm_ros.genception.prompt_files import LENGTH
from thfm_ros.genception.subgraphs import GenceptionParts, Profile, make_parts
from thfm_ros.genception.transformer import empty_transformer
from thfm_ros.genception.wan_vae import WanCodec, empty_vae
from thfm_ros.model.weights import read_card

SIZES = {
    "1.3b": GenceptionConfig(),
    "14b": GenceptionConfig(num_attention_heads=40, num_layers=40, ffn_dim=13824),
}
PROFILES = (Profile(81, 832, 480), Profile(17, 832, 480), Profile(9, 448, 256))


@dataclass(frozen=True)
class Gpu:
    """A class of GPU: vendor's figures for dense bfloat16, and an assumed share of them.

    The shares are guesses that may be wrong by a factor of two.
    """

    name: str
    tflops: float
    bandwidth_gb_s: float
    transformer_share: float
    codec_share: float


GPUS = (
    Gpu("H100 SXM", 989, 3350, 0.50, 0.35),
    Gpu("RTX 4090", 165, 1008, 0.50, 0.35),
    Gpu("Jetson AGX Thor", 259, 273, 0.40, 0.30),
    Gpu("Jetson AGX Orin 64GB", 42, 205, 0.40, 0.30),
)


@dataclass(frozen=True)
class Cost:
    """One part at one profile, batch 1."""

    part: str
    tflop: float
    weights_gb: float
    traffic_gb: float  # as PyTorch runs it, one operation at a time
    peak_gb: float  # of results at one time; weights not counted


@dataclass(frozen=True)
class Estimate:
    """Seconds on one class of GPU. Arithmetic, not measured."""

    gpu: str
    dense_s: float  # one dense answer: encoder, transformer, decoder, if nothing but FLOPs counts
    tokens_s: float  # without the decoder
    eager_s: float  # the dense answer if every operation also moves all its bytes


def count(parts: GenceptionParts) -> list[Cost]:
    """Count each part; it must be on the device "meta". The codec is counted step by step."""
    costs = []
    steps = parts.step_examples()
    latent_frames = parts.examples()["decoder"][0].shape[2]
    for name, half, module in (
        ("encoder", parts.encoder_steps, parts.vae.vae.encoder),
        ("decoder", parts.decoder_steps, parts.vae.vae.decoder),
    ):
        first = _tally(half.first, steps[f"{name}_first"])
        later = _tally(half.later, steps[f"{name}_later"])
        flop = first.flop + (latent_frames - 1) * later.flop
        traffic = first.traffic + (latent_frames - 1) * later.traffic
        # Besides the step's own results there is what it remembers, and the whole result.
        kept = sum(_bytes(each) for each in steps[f"{name}_later"][1:])
        peak = max(first.peak, later.peak) + kept
        costs.append(_cost(name, module, flop, traffic, peak))
    middle = _tally(parts.transformer, parts.examples()["transformer"])
    network = parts.transformer.network
    costs.insert(1, _cost("transformer", network, middle.flop, middle.traffic, middle.peak))
    return costs


def _tally(module: object, inputs: tuple[Tensor, ...]) -> Tally:
    with torch.no_grad(), Tally() as tally:
        module(*inputs)  # type: ignore[operator]
    return tally


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _cost(part: str, module: nn.Module, flop: int, traffic: int, peak: int) -> Cost:
    weights = sum(_bytes(parameter) for parameter in module.parameters())
    return Cost(part, flop / 1e12, weights / 1e9, traffic / 1e9, peak / 1e9)


def estimate(costs: list[Cost], gpu: Gpu) -> Estimate:
    """Seconds of one pass, by division."""
    by_flop, by_traffic = {}, {}
    for cost in costs:
        share = gpu.transformer_share if cost.part == "transformer" else gpu.codec_share
        by_flop[cost.part] = cost.tflop / (gpu.tflops * share)
        moved = (cost.traffic_gb + cost.weights_gb) / gpu.bandwidth_gb_s
        by_traffic[cost.part] = max(by_flop[cost.part], moved)
    dense = sum(by_flop.values())
    return Estimate(gpu.name, dense, dense - by_flop["decoder"], sum(by_traffic.values()))


def empty_parts(
    config: GenceptionConfig, vae_config: dict[str, object], profile: Profile, length: int = LENGTH
) -> GenceptionParts:
    """The parts of a network of these sizes in bfloat16, without memory for anything."""
    with torch.device("meta"):
        network = empty_transformer(config).bfloat16()
        codec = WanCodec(empty_vae(vae_config).bfloat16())
        prompt = torch.empty(1, length, config.text_dim, dtype=torch.bfloat16)
        return make_parts(network, codec, profile, prompt)


def report(costs: list[Cost], profile: Profile) -> str:
    """One profile as two Markdown tables."""
    lines = [
        f"### {profile.name} (width x height x frames)",
        "",
        "| part | TFLOP | weights GB | moved GB (eager) | peak results GB |",
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
        f"| {c.part} | {c.tflop:.2f} | {c.weights_gb:.3f} | {c.traffic_gb:.1f} | {c.peak_gb:.2f} |"
        for c in (*costs, total)
    ]
    lines += [
        "",
        "| GPU (arithmetic, not measured) | dense answer s | tokens only s | dense, eager s |",
        "|---|---|---|---|",
    ]
    for gpu in GPUS:
        e = estimate(costs, gpu)
        lines.append(f"| {e.gpu} | {e.dense_s:.2g} | {e.tokens_s:.2g} | {e.eager_s:.2g} |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm benchmark flops`."""
    parser.add_argument("--size", choices=sorted(SIZES), default="1.3b", help="a public size")
    parser.add_argument("--checkpoint", type=Path, help="sizes of an imported file instead")
    parser.add_argument(
        "--profile",
        action="append",
        metavar="WIDTHxHEIGHTxFRAMES",
        help="may be given again; default: " + ", ".join(each.name for each in PROFILES),
    )
    parser.add_argument("--json", action="store_true", help="numbers instead of tables")


def run(args: argparse.Namespace) -> int:
    """Count, and print tables or JSON."""
    config = SIZES[args.size]
    vae_config: dict[str, object] = {}
    if args.checkpoint is not None:
        card = read_card(args.checkpoint)
        if card.family != "genception":
            raise GenceptionError(
                f"{args.checkpoint} is of the {card.family} family; only the full-size one is "
                "counted. `thfm benchmark` measures nano."
            )
        config = config_from_mapping(card.network["transformer"])
        vae_config = card.network["vae"] or {}
    found = {}
    asked = [Profile.from_text(text) for text in args.profile or ()]
    for profile in asked or PROFILES:
        costs = count(empty_parts(config, vae_config, profile))
        found[profile.name] = {
            "counted": [asdict(cost) for cost in costs],
            "arithmetic_not_measured": [asdict(estimate(costs, gpu)) for gpu in GPUS],
        }
        if not args.json:
            sys.stdout.write(report(costs, profile) + "\n")
    if args.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0
