# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The training loop: can be resumed at any step, and writes metrics, images and plots.

Files in the run's folder: ``state.pt`` (all that is needed to resume), ``nano.safetensors`` (the
averaged weights, ready for the node), ``metrics.jsonl`` (one row per evaluation), ``curves.png``
and ``heldout.png``.
"""

import copy
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from thfm_ros.model.network import NanoNetwork, NetworkOutputs
from thfm_ros.model.weights import load_network, nano_card, save_network
from thfm_ros.training.batches import held_out, stream
from thfm_ros.training.collate import Batch, CropBatch, DetectionBatch, PhotoBatch
from thfm_ros.training.consistency import consistency_losses
from thfm_ros.training.detection_losses import detection_losses
from thfm_ros.training.distributed import (
    broadcast_decision,
    rank,
    share_gradients,
    stop_at_a_signal,
)
from thfm_ros.training.lifter_pretraining import PoseBank, lift_loss
from thfm_ros.training.losses import crop_losses, weighted_sum
from thfm_ros.training.network_growth import grown_network
from thfm_ros.training.optimizer import Optimizer
from thfm_ros.training.prior import load_prior, prepare_prior, read_prior, weights_file
from thfm_ros.training.recipe import RecipeError, TrainingRecipe, TrainingStage
from thfm_ros.training.shard_store import Store
from thfm_ros.training.state_file import StateError, advice, read_state, write_state
from thfm_ros.training.validation import named, score

logger = logging.getLogger(__name__)

VALIDATION_SIZE = 128
"""Pixels of held-out crops."""

MAX_GRADIENT_NORM = 2.0
LOSS_DECAY = 0.98
"""Decay of the moving averages of losses in metrics.jsonl."""


class Trainer:
    """One run. ``step`` counts optimizer steps over all stages.

    Args:
        folder: of the run; if it has a state, the run is resumed.
        recipe: see `recipe`.
        data: folder with the shards; see `batches.TrainingData`.
        trained_on: text for the model card.
        begin_from: checkpoint of nano whose weights a new run begins with; by default random
            weights and the pretrained encoder.
        device: where the network is; by default the CPU.

    Raises:
        PerceptionError: ``begin_from`` cannot be used, or the pretrained encoder is not installed.
    """

    def __init__(
        self,
        folder: Path,
        recipe: TrainingRecipe,
        data: Path,
        trained_on: str,
        *,
        begin_from: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.recipe, self.data = folder, recipe, data
        self.trained_on = trained_on
        self.device = device or torch.device("cpu")
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "state.pt").exists():
            self._resume()
            return
        torch.manual_seed(recipe.seed)
        network = initial_network(recipe, begin_from)
        self._set_networks(network, copy.deepcopy(network), muon=False)
        self.step = 0
        self.seconds = 0.0
        self.smooth_losses: dict[str, float] = {}

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        state = read_state(path, self.device)
        try:
            network, average = (NanoNetwork(**state["sizes"]) for _ in range(2))
            network.load_state_dict(state["network"])
            average.load_state_dict(state["average"])
            self._set_networks(network, average, muon=state["muon"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = state["step"], state["seconds"]
            self.smooth_losses = state["smooth_losses"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise StateError(f"{path} is of another version ({error!r}). {advice(path)}") from error
        logger.info("resumed %s at step %d", self.folder, self.step)

    def _set_networks(self, network: NanoNetwork, average: NanoNetwork, *, muon: bool) -> None:
        """Put both networks on the device, with a new optimizer."""
        self.network, self.average = network.to(self.device), average.to(self.device).eval()
        prepare_prior(self.network)
        prepare_prior(self.average)
        self.optimizer = Optimizer(self.network, muon=muon)

    def save(self) -> None:
        """Write the state and the averaged weights, each file atomically."""
        state = {
            "sizes": self.network.sizes(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "muon": self.optimizer.muon,
            "step": self.step,
            "seconds": self.seconds,
            "smooth_losses": self.smooth_losses,
        }
        write_state(self.folder / "state.pt", state)
        card = nano_card("nano", self.average, self.trained_on)
        save_network(self.average, card, self.folder / "nano.safetensors")

    def run(self, seconds: float, evaluate_every: float, workers: int, heldout: int) -> None:
        """Train until the recipe or the time is used up, or a SIGINT or SIGTERM comes.

        Args:
            seconds: of training.
            evaluate_every: seconds between evaluations.
            workers: processes that make batches, 0 or 1.
            heldout: crops per evaluation.
        """
        with stop_at_a_signal() as stop_requested:
            self._run(seconds, evaluate_every, workers, heldout, stop_requested)

    def _run(
        self,
        seconds: float,
        evaluate_every: float,
        workers: int,
        heldout: int,
        stop_requested: Callable[[], bool],
    ) -> None:
        poses = PoseBank(Store(self.data / "train"))
        fixed = held_out(self.data, VALIDATION_SIZE, heldout)
        batches = stream(self.data, self.recipe, self.step, workers)
        begun = last = time.monotonic()
        bar = tqdm(total=self.recipe.steps, initial=self.step, unit="step", mininterval=10)
        for batch in batches:
            self._train(batch.to(self.device), poses)
            bar.update()
            now = time.monotonic()
            if rank() == 0 and (now - last > evaluate_every or self.step == self.recipe.steps):
                self.seconds += now - last
                self._evaluate(fixed)
                last = time.monotonic()
            if broadcast_decision(now - begun > seconds or stop_requested(), self.device):
                break
        self.seconds += time.monotonic() - last
        if rank() == 0:
            self.save()

    def _train(self, batch: Batch, poses: PoseBank) -> None:
        """One step of the optimizer."""
        stage, _ = self.recipe.stage_at(self.step)
        self._begin_stage(stage)
        learning_rate = self.recipe.learning_rate_at(self.step)
        self.optimizer.set_learning_rate(learning_rate, stage.prior_rate_share)
        losses = self._losses(batch, lift_only=stage.lift_only)
        weights = stage.weights or self.recipe.weights
        loss = weighted_sum(losses, weights)
        if stage.lift_batch and isinstance(batch, CropBatch):
            rng = np.random.default_rng([self.recipe.seed, self.step, 7, rank()])
            lifted = lift_loss(self.network, poses.draw(rng, stage.lift_batch).to(self.device))
            loss = loss + weights.positions * lifted
            losses["lift"] = lifted
        self.optimizer.zero_grad()
        loss.backward()
        share_gradients(self.network)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            logger.warning("step %d: the gradient is %s, skipped", self.step, float(norm))
        self.step += 1
        self._update_average()
        prefix = "photo_" if isinstance(batch, PhotoBatch) else ""
        for name, value in ((prefix + name, value) for name, value in losses.items()):
            before = self.smooth_losses.get(name, value.item())
            self.smooth_losses[name] = LOSS_DECAY * before + (1 - LOSS_DECAY) * value.item()

    def _begin_stage(self, stage: TrainingStage) -> None:
        """Grow the networks, or change the optimizer, if the stage wants it."""
        grows = (stage.depth, stage.refine) != (self.network.depth, len(self.network.refine))
        if grows:
            network, average = (
                grown_network(each, stage.depth, stage.refine, self.recipe.seed)
                for each in (self.network, self.average)
            )
            self._set_networks(network, average, muon=stage.muon)
        elif stage.muon != self.optimizer.muon:
            self.optimizer = Optimizer(self.network, muon=stage.muon)

    def _losses(self, batch: Batch, *, lift_only: bool) -> dict[str, Tensor]:
        """Unweighted losses of one batch, with a forward pass in the recipe's precision."""
        if lift_only:
            return {}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            if isinstance(batch, DetectionBatch):
                return detection_losses(self.network.detect(batch.image).float(), batch)
            if isinstance(batch, PhotoBatch):
                with torch.no_grad():
                    teacher = self.average(batch.image, cue=batch.cue)
                student = self.network(batch.altered, cue=batch.cue)
                return consistency_losses(
                    in_single_precision(student), in_single_precision(teacher), batch.presence
                )
            outputs = self.network(batch.image, cue=batch.cue)
        return crop_losses(in_single_precision(outputs), batch)

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the exponential moving average; it begins as a plain mean."""
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        average, network = self.average, self.network
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        for ours, theirs in zip(average.buffers(), network.buffers(), strict=True):
            ours.copy_(theirs)

    def _evaluate(self, fixed: list[CropBatch]) -> None:
        """Score the averaged weights, and write a row of metrics and the run's files."""
        from thfm_ros.training.plots import draw_curves, draw_heldout

        self.save()  # first: no error of an evaluation may cost what was learned
        scores = named(score(self.average, fixed))
        row = {
            "step": self.step,
            "seconds": round(self.seconds),
            "stage": self.recipe.stage_at(self.step - 1)[0].name,
            "loss": {name: round(value, 4) for name, value in self.smooth_losses.items()},
            "baselines": {name: round(each.baseline, 4) for name, each in scores.items()},
            **{name: round(each.value, 4) for name, each in scores.items()},
        }
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        draw_curves(self.folder / "metrics.jsonl", self.folder / "curves.png")
        draw_heldout(self.average, fixed[0], self.folder / "heldout.png")


def initial_network(recipe: TrainingRecipe, begin_from: Path | None) -> NanoNetwork:
    """The network with which a run begins; see `Trainer`.

    Raises:
        CheckpointError: ``begin_from`` cannot be read.
        RecipeError: ``begin_from`` is of another architecture, or larger than the first stage.
        PerceptionError: the pretrained encoder is not installed.
    """
    first = recipe.stages[0]
    if begin_from is not None:
        network, _ = load_network(begin_from)
        if network.detect_depth != recipe.detect_depth:
            raise RecipeError(
                f"{begin_from} has a detect_depth of {network.detect_depth}, the recipe one of "
                f"{recipe.detect_depth}."
            )
        if network.depth > first.depth or len(network.refine) > first.refine:
            raise RecipeError(
                f"{begin_from} has a depth of {network.depth} and {len(network.refine)} refining "
                f"blocks, more than the first stage ({first.depth} and {first.refine})."
            )
        return network.requires_grad_(True).train()
    network = NanoNetwork(depth=first.depth, refine=first.refine, detect_depth=recipe.detect_depth)
    load_prior(network.encoder, read_prior(weights_file()))
    return network


def in_single_precision(outputs: NetworkOutputs) -> NetworkOutputs:
    """The same outputs as float32, so that losses are summed exactly."""
    single = {name: value.float() for name, value in outputs._asdict().items() if value is not None}
    return outputs._replace(**single)
