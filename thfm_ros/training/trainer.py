"""The training loop: resumable to the step, watched by figures, images and plots.

In the run's folder: ``state.pt`` (everything to go on), ``nano.safetensors`` (the averaged
weights, ready for the node), ``metrics.jsonl`` (one row per evaluation), ``curves.png`` and
``heldout.png``.
"""

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from thfm_ros.model.network import NanoNetwork, NetworkOutputs
from thfm_ros.model.weights import nano_card, save_network
from thfm_ros.training.batches import held_out, stream
from thfm_ros.training.distributed import agreed, rank, share_gradients, stop_at_a_signal
from thfm_ros.training.lifter_pretraining import PoseBank, Views
from thfm_ros.training.losses import Batch, losses, total
from thfm_ros.training.network_growth import grown
from thfm_ros.training.optimizer import Optimizer
from thfm_ros.training.recipe import Recipe, Stage
from thfm_ros.training.shard_store import Store
from thfm_ros.training.validation import named, score

logger = logging.getLogger(__name__)


class Trainer:
    """One run. ``step`` counts optimizer steps over all stages."""

    def __init__(self, folder: Path, recipe: Recipe, data: Path, trained_on: str) -> None:
        self.folder, self.recipe, self.data = folder, recipe, data
        self.trained_on = trained_on
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        first = recipe.stages[0]
        self.network = NanoNetwork(depth=first.depth, refine=first.refine)
        self.average = copy.deepcopy(self.network)
        self.optimizer = Optimizer(self.network, muon=False)
        self.step = 0
        self.seconds = 0.0
        self.smooth: dict[str, float] = {}
        if (folder / "state.pt").exists():
            self._resume()

    def _resume(self) -> None:
        state = torch.load(self.folder / "state.pt", weights_only=False)
        self.network = NanoNetwork(**state.get("sizes", {}))
        self.network.load_state_dict(state["network"])
        self.average = copy.deepcopy(self.network)
        self.average.load_state_dict(state["average"])
        self.optimizer = Optimizer(self.network, muon=state.get("muon", False))
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.smooth = state["step"], state["seconds"], state["smooth"]
        logger.info("resumed %s at step %d", self.folder, self.step)

    def save(self) -> None:
        """Write the state and the averaged weights; either file is whole at any moment."""
        state = {
            "sizes": self.network.sizes(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "muon": self.optimizer.muon,
            "step": self.step,
            "seconds": self.seconds,
            "smooth": self.smooth,
        }
        part = self.folder / f".state.{os.getpid()}.part"
        torch.save(state, part)
        part.replace(self.folder / "state.pt")
        card = nano_card("nano", self.average, self.trained_on)
        save_network(self.average, card, self.folder / "nano.safetensors")

    def run(self, seconds: float, evaluate_every: float, workers: int, heldout: int) -> None:
        """Train until the recipe or the time is used up, or a SIGINT or SIGTERM comes."""
        with stop_at_a_signal() as asked_to_stop:
            self._run(seconds, evaluate_every, workers, heldout, asked_to_stop)

    def _run(
        self,
        seconds: float,
        evaluate_every: float,
        workers: int,
        heldout: int,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        poses = PoseBank(Store(self.data / "train"))
        fixed = held_out(self.data, 128, heldout)
        batches = stream(self.data, self.recipe, self.step, workers)
        begun = last = time.monotonic()
        bar = tqdm(total=self.recipe.steps, initial=self.step, unit="step", mininterval=10)
        for batch in batches:
            place = self.recipe.stage_of(self.step)
            assert place is not None
            self._train(batch, poses, *place)
            bar.update()
            now = time.monotonic()
            if rank() == 0 and (now - last > evaluate_every or self.step == self.recipe.steps):
                self.seconds += now - last
                self._evaluate(fixed)
                last = time.monotonic()
            if agreed(now - begun > seconds or asked_to_stop()):
                break
        self.seconds += time.monotonic() - last
        if rank() == 0:
            self.save()

    def _train(self, batch: Batch, poses: PoseBank, index: int, within: int) -> None:
        stage = self.recipe.stages[index]
        rng = np.random.default_rng([self.recipe.seed, self.step, 7, rank()])
        rate = rate_of(stage, within) * min(1.0, (self.step + 1) / self.recipe.warm_up)
        grows = (stage.depth, stage.refine) != (self.network.depth, len(self.network.refine))
        if grows:
            self.network, self.average = (
                grown(each, stage.depth, stage.refine, self.recipe.seed)
                for each in (self.network, self.average)
            )
        if grows or stage.muon != self.optimizer.muon:
            self.optimizer = Optimizer(self.network, muon=stage.muon)
        self.optimizer.set_rate(rate)
        found = {}
        if not stage.lift_only:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
                out = self.network(batch.image)
            found = losses(in_single_precision(out), batch)
        weights = stage.weights or self.recipe.weights
        loss = total(found, weights)
        if stage.lift_batch:
            lifted = lift_loss(self.network, poses.draw(rng, stage.lift_batch))
            loss = loss + weights.positions * lifted
            found["lift"] = lifted
        self.optimizer.zero_grad()
        loss.backward()
        share_gradients(self.network)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        if not torch.isfinite(norm):
            logger.warning("step %d: gradient is %s, left out", self.step, float(norm))
        else:
            self.optimizer.step()
        self.step += 1
        _average(self.average, self.network, min(self.recipe.averaging, self._warm_average()))
        for name, value in found.items():
            before = self.smooth.get(name, value.item())
            self.smooth[name] = 0.98 * before + 0.02 * value.item()

    def _warm_average(self) -> float:
        return (1 + self.step) / (10 + self.step)

    def _evaluate(self, fixed: list[Batch]) -> None:
        """Score the averaged weights, write a row and the run's files."""
        from thfm_ros.training.plots import draw_curves, draw_heldout

        self.save()  # first: a figure that cannot be had must not cost what was learned
        place = self.recipe.stage_of(self.step - 1)
        assert place is not None
        scores = named(score(self.average, fixed))
        row = {
            "step": self.step,
            "seconds": round(self.seconds),
            "stage": self.recipe.stages[place[0]].name,
            "loss": {name: round(value, 4) for name, value in self.smooth.items()},
            "baselines": {name: round(each.baseline, 4) for name, each in scores.items()},
            **{name: round(each.value, 4) for name, each in scores.items()},
        }
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        draw_curves(self.folder / "metrics.jsonl", self.folder / "curves.png")
        draw_heldout(self.average, fixed[0], self.folder / "heldout.png")


def in_single_precision(out: NetworkOutputs) -> NetworkOutputs:
    """The same answers as float32, so that losses are summed exactly."""
    single = {name: value.float() for name, value in out._asdict().items() if value is not None}
    return out._replace(**single)


def rate_of(stage: Stage, within: int) -> float:
    """Learning rate: half a cosine from ``rate`` to ``final_rate``."""
    share = within / max(1, stage.steps)
    return stage.final_rate + (stage.rate - stage.final_rate) * (1 + math.cos(math.pi * share)) / 2


def lift_loss(network: NanoNetwork, views: Views) -> torch.Tensor:
    """How wrong the lifter is about skeletons without images, metres (sum of three axes)."""
    positions, _ = network.lifter(views.peaks, views.mass, views.log_width, 1.0, None)
    loss: torch.Tensor = (positions - views.positions).abs().sum(-1).mean()
    return loss


@torch.no_grad()
def _average(average: NanoNetwork, network: NanoNetwork, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)


def describe(recipe: Recipe) -> str:
    """The recipe as one line of JSON, for the log."""
    return json.dumps(asdict(recipe), sort_keys=True)
