# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How many images per second nano trains on: the trainer's own step on random images and labels.

Making the images (rendering, augmentation) is not included; it runs on the CPU.
"""

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from thfm_ros.gpu_report.device import Device, durations_s, open_device
from thfm_ros.gpu_report.step_context import StepContext, reason_of
from thfm_ros.model.network import JOINTS, NanoNetwork
from thfm_ros.model.weights import nano_card, save_network
from thfm_ros.training.collate import CropBatch
from thfm_ros.training.recipe import TrainingRecipe, TrainingStage
from thfm_ros.training.trainer import Trainer

BATCHES = (1, 16, 64, 256, 1024, 4096)
"""Images per step; 16 is that of the shipped network's recipe."""

SIZE, DEPTH, REFINE, DETECT_DEPTH = 128, 5, 2, 3
"""Of the shipped network."""

STAND_IN_BATCHES, STAND_IN_SIZE = (1, 2), 32
TIMED_S = 1.5


def run(context: StepContext) -> None:
    """Record growing batches until one does not fit or the time is up."""
    device = open_device(stand_in=context.stand_in)
    batches = STAND_IN_BATCHES if context.stand_in else BATCHES
    size = STAND_IN_SIZE if context.stand_in else SIZE
    torch.backends.cudnn.benchmark = False  # as in `thfm train`
    with tempfile.TemporaryDirectory(dir=context.work) as folder:
        path, recipe = Path(folder), _recipe(context, size)
        begin = _random_network(recipe, path / "begin.safetensors")
        where = device.torch_device
        trainer = Trainer(path, recipe, path, "nothing", begin_from=begin, device=where)
        for batch in batches:
            record: dict[str, Any] = {"batch": batch, "size": size}
            try:
                record |= measure(trainer, random_batch(batch, size, device), device)
            except (RuntimeError, MemoryError) as error:
                record["does_not_fit" if is_out_of_memory(error) else "failed"] = reason_of(error)
            context.record(record)
            if "step_ms" not in record or 20 * record["step_ms"] > 1e3 * context.seconds_left():
                return
            trainer.optimizer.zero_grad()


def _recipe(context: StepContext, size: int) -> TrainingRecipe:
    depth, refine = (1, 0) if context.stand_in else (DEPTH, REFINE)
    stage = TrainingStage(
        name="speed",
        steps=1 << 30,
        size=size,
        depth=depth,
        refine=refine,
        lift_batch=0,  # skeletons without images cost little, and need data
        muon=not context.stand_in,
    )
    return TrainingRecipe(
        stages=(stage,), bfloat16=not context.stand_in, detect_depth=min(DETECT_DEPTH, depth)
    )


def _random_network(recipe: TrainingRecipe, path: Path) -> Path:
    """A run that begins with a checkpoint needs no pretrained encoder."""
    stage = recipe.stages[0]
    network = NanoNetwork(depth=stage.depth, refine=stage.refine, detect_depth=recipe.detect_depth)
    save_network(network, nano_card("random", network, "nothing"), path)
    return path


def measure(trainer: Trainer, batch: CropBatch, device: Device) -> dict[str, Any]:
    """Time of the trainer's step: losses, gradients, optimizer, average of the weights."""
    device.reset_peak()

    def step() -> None:
        trainer._train(batch, cast(Any, None))

    few = 1 if device.stand_in else 3
    most_s = 0.02 if device.stand_in else TIMED_S
    median_s = float(np.median(durations_s(step, device, most_s=most_s, warm_up=few)))
    peak = device.peak_bytes()
    return {
        "step_ms": round(1e3 * median_s, 2),
        "images_per_s": float(f"{len(batch.image) / median_s:.3g}"),
        "peak_gb": None if peak is None else round(peak / 1e9, 2),
    }


def random_batch(count: int, size: int, device: Device) -> CropBatch:
    """Single-frame crops with labels of every kind, made on the device."""
    where, half = device.torch_device, size // 2

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, device=where)

    person = uniform(count, half, half) > 0.5
    return CropBatch(
        image=255 * uniform(count, 1, 3, size, size),
        instances=person.to(torch.uint8),
        parts=person.to(torch.uint8),
        relative_depth=uniform(count, half, half),
        depth_known=person,
        normals=uniform(count, half, half, 3),
        dense_pose=uniform(count, half, half, 3),
        votes=uniform(count, half, half, 2),
        peaks=uniform(count, JOINTS, 2),
        visibility=torch.full((count, JOINTS), 2, dtype=torch.uint8, device=where),
        positions=uniform(count, JOINTS, 3),
        log_width=uniform(count),
        presence=torch.ones(count, device=where),
        cue=torch.zeros(count, 5, device=where),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the GPU's or the computer's memory was too small."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError)
