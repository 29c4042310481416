# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Begin the second architecture from a trained network of the first one.

Run as ``python -m thfm_ros.training.encoder_transfer --checkpoint nano.safetensors --data DIR
--steps 2800 --depth 5 --refine 2 --detect-depth 3 --out start.safetensors``, then train with
``thfm train RECIPE --begin-from start.safetensors``.

All weights but the encoder's are copied. The new encoder is the pretrained one, fitted so that its
feature pyramid matches that of the old encoder, on crops and images for detection; ``--encoder``
begins with the encoder, the detection read-out and the cue of an earlier run instead. What remains
is learned in the run itself.
"""

import argparse
import itertools
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.model.codec import Pyramid
from thfm_ros.model.efficientnet import EfficientNetEncoder
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import readout_slices
from thfm_ros.model.weights import CheckpointError, load_network, nano_card, save_network
from thfm_ros.training.batches import TrainingData
from thfm_ros.training.collate import collate_crops, collate_detections
from thfm_ros.training.optimizer import BETAS
from thfm_ros.training.prior import (
    is_pretrained,
    load_prior,
    prepare_prior,
    read_prior,
    weights_file,
)
from thfm_ros.training.recipe import TrainingStage

logger = logging.getLogger(__name__)

STAGE = TrainingStage(
    name="encoder transfer",
    steps=0,
    batch=16,
    size=128,
    frame_share=0.0,
    clean_share=0.4,
    detect_size=(320, 240),
    detect_batch=5,
)
"""Samples to which the encoder is fitted."""

DETECTION_EVERY = 4
"""Steps from one batch of images for detection to the next; the others are crops."""

LEARNING_RATE = 1.5e-3
PRIOR_RATE_SHARE = 0.25
WARM_UP = 100
MAX_GRADIENT_NORM = 1.0
BATCH_NORM_MOMENTUM = 0.05
LOG_EVERY = 40
SEED = 1
"""Of weights that are neither copied nor pretrained."""


def initial_weights(
    source: NanoNetwork, prior: Mapping[str, Tensor], depth: int, refine: int, detect_depth: int
) -> NanoNetwork:
    """A network of the second architecture with the weights of ``source`` and the prior.

    Fewer blocks are the first ones. The target's mask begins as that of all people, and the
    detection read-out with the decoder's first stage.

    Args:
        source: trained network of the first architecture.
        prior: see `prior.read_prior`.
        depth: transformer blocks, at most those of ``source``.
        refine: residual blocks before the dense read-outs, at most those of ``source``.
        detect_depth: transformer blocks before the detection read-out.

    Raises:
        CheckpointError: ``source`` is of the second architecture, or smaller.
    """
    if source.detect_depth:
        raise CheckpointError("The encoder of this checkpoint is a pretrained one already.")
    if depth > source.depth or refine > len(source.refine) or not 0 < detect_depth <= depth:
        raise CheckpointError(
            f"The checkpoint has {source.depth} blocks and {len(source.refine)} refining ones; "
            f"give at most as many (got {depth} and {refine}) and a detect_depth of 1 to the depth "
            f"(got {detect_depth})."
        )
    sizes = {"depth": depth, "refine": refine, "detect_depth": detect_depth}
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = NanoNetwork(**{**source.sizes(), **sizes})
    assert isinstance(network.encoder, EfficientNetEncoder)
    load_prior(network.encoder, prior)
    weights, trained = network.state_dict(), source.state_dict()
    for name in weights:
        copied = _name_in_source(name)
        if not name.startswith("encoder.") and copied in trained:
            weights[name] = trained[copied]
    mask = readout_slices()[Task.SEGMENTATION]
    weight, bias = trained["readout.read.weight"][mask], trained["readout.read.bias"][mask]
    weights["target_mask.weight"] = torch.zeros_like(weights["target_mask.weight"])
    weights["target_mask.bias"] = torch.cat([weight.flatten(), bias])
    network.load_state_dict(weights)
    return network


def _name_in_source(name: str) -> str:
    """The weight of the source with which a weight begins."""
    for new, old in (("detection.merge.", "to_eighth."), ("detection.norm.", "backbone.norm.")):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def take_over(earlier: NanoNetwork, network: NanoNetwork) -> None:
    """Copy into ``network`` what the first architecture does not have.

    Raises:
        CheckpointError: ``earlier`` is of the first architecture, or of other sizes.
    """
    weights = network.state_dict()
    for name, value in earlier.state_dict().items():
        if name.split(".")[0] in ("encoder", "detection", "cue", "target_mask"):
            weights[name] = value
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The earlier encoder does not fit: {error}") from error


def fit_encoder(
    network: NanoNetwork,
    reference: nn.Module,
    images: Iterator[Tensor],
    steps: int,
    prior_rate_share: float = PRIOR_RATE_SHARE,
) -> list[float]:
    """Fit the encoder of ``network`` to the outputs of another one.

    Args:
        network: of the second architecture; all its other weights stay as they are.
        reference: encoder of the first architecture.
        images: batches of RGB in 0..255, f32 [b 3 h w], on the networks' device.
        steps: of the optimizer; one batch each.
        prior_rate_share: learning rate of the pretrained layers over that of the adapters; 0: they
            stay as they are.

    Returns:
        Error of each level of the pyramid in the last step: mean squared error over variance.
    """
    network.requires_grad_(False).eval()
    reference.requires_grad_(False).eval()
    prepare_prior(network)
    encoder = network.encoder
    assert isinstance(encoder, EfficientNetEncoder)
    fitted, optimizer = _prepare_fit(network, trains_prior=prior_rate_share > 0)
    errors: list[Tensor] = []
    for step, image in zip(range(steps), images, strict=False):
        with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16):
            wanted = reference(image)
        errors = level_errors(encoder(image), wanted)
        rate = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP)
        rate *= (1 + math.cos(math.pi * step / steps)) / 2
        for group, share in zip(optimizer.param_groups, (1.0, prior_rate_share), strict=False):
            group["lr"] = rate * share
        optimizer.zero_grad()
        torch.stack(errors).sum().backward()
        nn.utils.clip_grad_norm_(fitted, MAX_GRADIENT_NORM)
        optimizer.step()
        if step % LOG_EVERY == 0 or step == steps - 1:
            logger.info("step %d: %s", step, [round(error.item(), 3) for error in errors])
    network.eval()
    return [error.item() for error in errors]


def _prepare_fit(
    network: NanoNetwork, *, trains_prior: bool
) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    """The encoder's weights to fit, and their optimizer: a group of the adapters, and one of the
    prior."""
    named = [pair for pair in network.named_parameters() if pair[0].startswith("encoder.")]
    groups = [[value for name, value in named if not is_pretrained(name)]]
    if trains_prior:
        groups.append([value for name, value in named if is_pretrained(name)])
    fitted = [*itertools.chain(*groups)]
    for value in fitted:
        value.requires_grad_(True)
    for name, module in network.encoder.named_modules(prefix="encoder"):
        if isinstance(module, nn.BatchNorm2d) and not is_pretrained(name):
            module.train()
            module.momentum = BATCH_NORM_MOMENTUM
    return fitted, torch.optim.AdamW([{"params": group} for group in groups], betas=BETAS)


def level_errors(outputs: Pyramid, wanted: Pyramid) -> list[Tensor]:
    """Mean squared error over the variance, for each level of the pyramid."""
    return [
        ((output.float() - want.float()) ** 2).mean() / want.float().var()
        for output, want in zip(outputs, wanted, strict=True)
    ]


def images_of(data: TrainingData, seed: int = 0) -> Iterator[Tensor]:
    """Augmented crops, and every fourth time images for detection; see STAGE."""
    rng = np.random.default_rng(seed)
    step = 0
    while True:
        step += 1
        if step % DETECTION_EVERY == 0:
            yield collate_detections(data.draw_detections(rng, STAGE)).image
        else:
            yield collate_crops(data.draw_crops(rng, STAGE)).image[:, 0]


def main() -> int:
    """Write the checkpoint with which a run begins."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of the first architecture")
    parser.add_argument("--data", type=Path, required=True, help="folder with shards in train/")
    parser.add_argument(
        "--encoder",
        type=Path,
        metavar="FILE",
        help="checkpoint of the second architecture whose encoder, detection read-out and cue are "
        "fitted on (default: the pretrained encoder)",
    )
    parser.add_argument("--steps", type=int, default=2800, help="of fitting the encoder")
    parser.add_argument("--depth", type=int, default=5, help="transformer blocks")
    parser.add_argument("--refine", type=int, default=2, help="blocks before the dense read-outs")
    parser.add_argument("--detect-depth", type=int, default=3, help="blocks before detection")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    try:
        source, card = load_network(args.checkpoint)
        network = initial_weights(
            source, read_prior(weights_file()), args.depth, args.refine, args.detect_depth
        )
        if args.encoder is not None:
            take_over(load_network(args.encoder)[0], network)
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    fit_encoder(network, source.encoder, images_of(TrainingData.open(args.data)), args.steps)
    trained_on = f"encoder transfer from {card.name}: {card.trained_on}"
    save_network(network, nano_card("nano", network, trained_on), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
