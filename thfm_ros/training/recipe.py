# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recipes: the stages of a training run, as JSON files in runs/."""

import dataclasses
import itertools
import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.model.crop_shapes import tall_crop_size
from thfm_ros.training.losses import LossWeights


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """A part of a run with constant settings; only the learning rate changes."""

    name: str
    steps: int
    batch: int = 8  # frames per step, clips times frames per clip
    size: int = 96  # of person crops, pixels
    tall_share: float = 0.0  # of the steps with crops, tall ones; see model.crop_shapes
    frame_size: tuple[int, int] = (160, 128)  # of whole frames, width and height
    frame_share: float = 0.2  # of the crop steps that show whole frames instead
    clip_share: float = 0.0  # of the crop steps that show clips of several frames
    static_clip_share: float = 0.0  # of those clips that are one frame under camera shake
    augmentation_ramp: float = 0.0  # see geometric.CropStyle
    clean_share: float = 0.0  # see geometric.CropStyle
    detect_share: float = 0.0  # of all steps that train the detection read-out instead
    detect_size: tuple[int, int] = (320, 240)  # of images for detection, width and height
    detect_batch: int = 6  # images per step of detection
    unlabelled_share: float = 0.0  # of these, photographs with pseudo-labels, if there are any
    consistency_share: float = 0.0  # of the other steps, crops of such photographs, if any
    prior_rate_share: float = 0.2  # learning rate of pretrained layers over that of the others
    depth: int = 5  # transformer blocks; see network_growth.py
    refine: int = 0  # residual blocks before the dense read-outs
    learning_rate: float = 1e-3  # at the first step; then along half a cosine
    final_learning_rate: float = 1e-3
    muon: bool = False  # see optimizer.py; a change begins without momentum
    lift_only: bool = False  # train only the lifter, with skeletons
    lift_batch: int = 16  # skeletons per step in addition to the images
    weights: LossWeights | None = None  # by default the recipe's

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step of the stage."""
        share = step / max(1, self.steps)
        last = self.final_learning_rate
        return last + (self.learning_rate - last) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """All that determines the result of a run, except data and initial weights."""

    seed: int = 1
    stages: tuple[TrainingStage, ...]
    weights: LossWeights = LossWeights()  # noqa: RUF009 (frozen)
    ema_decay: float = 0.9995  # of the exponential moving average of the weights, which is saved
    warm_up: int = 300  # steps of a linearly rising learning rate
    detect_depth: int = 3  # see model.network.NanoNetwork
    bfloat16: bool = True  # products and convolutions; 1.7 times as fast where the CPU has them

    def stage_at(self, step: int) -> tuple[TrainingStage, int]:
        """The stage of a step of the run, and the step within it.

        Raises:
            IndexError: the recipe has fewer steps.
        """
        first = 0
        for stage in self.stages:
            if step < first + stage.steps:
                return stage, step - first
            first += stage.steps
        raise IndexError(f"step {step} of a recipe of {self.steps}")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step of the run."""
        stage, within = self.stage_at(step)
        return stage.learning_rate_at(within) * min(1.0, (step + 1) / self.warm_up)

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)


class RecipeError(PerceptionError):
    """A file is no recipe, or a recipe does not fit the weights; the text says why."""


def read_recipe(path: Path) -> TrainingRecipe:
    """Read a recipe.

    Raises:
        RecipeError: the file is no recipe, has unknown keys, or values of another type or outside
            their limits, which the text names.
    """
    try:
        values = json.loads(path.read_text())
        stages = tuple(_stage(stage) for stage in values.pop("stages"))
        weights = LossWeights(**values.pop("weights", {}))
        recipe = TrainingRecipe(stages=stages, weights=weights, **values)
    except (KeyError, TypeError, AttributeError, ValueError, OSError, RecursionError) as error:
        # UnicodeDecodeError (no text) and JSONDecodeError are ValueErrors too.
        known = [field.name for field in dataclasses.fields(TrainingStage)]
        raise RecipeError(f"{path} is no recipe: {error}. A stage has the keys {known}.") from error
    if problem := _problem(recipe):
        raise RecipeError(f"{path} cannot be trained: {problem}.")
    return recipe


_SHARES = (
    *("frame_share", "clip_share", "static_clip_share", "clean_share", "detect_share"),
    *("unlabelled_share", "consistency_share", "tall_share"),
)
_MANY = 10**8
_LIMITS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(_SHARES, (0, 1)),
    **dict.fromkeys(("learning_rate", "final_learning_rate", "augmentation_ramp"), (0, 100)),
    **dict.fromkeys(("steps", "warm_up"), (1, _MANY)),
    **dict.fromkeys(("batch", "detect_batch", "depth"), (1, 4096)),
    **dict.fromkeys(("refine", "detect_depth", "lift_batch"), (0, 4096)),
    "size": (16, 4096),
    "prior_rate_share": (0, 100),
    "seed": (-(2**63), 2**63 - 1),
    "ema_decay": (0, 0.999_999_999),
}
_MAX_WEIGHT = 1e6  # of a loss


def _wrong_value(values: TrainingRecipe | TrainingStage | LossWeights) -> str:
    """The first value of another type or outside its limits; empty if there is none."""
    for field in dataclasses.fields(values):
        value, default = getattr(values, field.name), field.default
        low, high = _LIMITS.get(field.name, (0, _MAX_WEIGHT))
        if isinstance(value, LossWeights):
            if wrong := _wrong_value(value):
                return wrong
        elif field.name in ("stages", "weights"):
            continue
        elif field.name.endswith("_size"):
            if len(value) != 2 or not all(_is_side(side) for side in value):
                return f"{field.name} is {list(value)}; it must be two multiples of 16"
        elif field.name == "name" or isinstance(default, bool):
            if type(value) is not (str if field.name == "name" else bool):
                return f"{field.name} is {reprlib.repr(value)}, which is of another type"
        elif type(value) not in ((int, float) if isinstance(default, float) else (int,)):
            return f"{field.name} is {reprlib.repr(value)}, which is of another type"
        elif not low <= value <= high or (field.name == "size" and not _is_side(value)):
            return f"{field.name} is {value}; it must be from {low:g} to {high:g}"
    return ""


def _is_side(value: Any) -> bool:
    """Whether it is a side of an image that the network takes."""
    return type(value) is int and 16 <= value <= 4096 and value % 16 == 0


def _problem(recipe: TrainingRecipe) -> str:
    """What no network can follow in a recipe; empty if there is nothing."""
    if not recipe.stages:
        return "it has no stage"
    if wrong := _wrong_value(recipe):
        return wrong
    for stage in recipe.stages:
        if wrong := _wrong_value(stage):
            return wrong
        if not 0 < recipe.detect_depth <= stage.depth:
            return (
                f"detect_depth is {recipe.detect_depth}; the stage {stage.name!r} allows 1 to "
                f"{stage.depth}"
            )
        if stage.tall_share and tall_crop_size((stage.size, stage.size)) is None:
            return (
                f"tall crops need a size that is a multiple of 64; {stage.name!r} has {stage.size}"
            )
    for earlier, later in itertools.pairwise(recipe.stages):
        if later.depth < earlier.depth or later.refine < earlier.refine:
            return f"the network shrinks in the stage {later.name!r} (depth, refine)"
    return ""


def _stage(values: dict[str, Any]) -> TrainingStage:
    """A stage from JSON, which has lists instead of tuples and loss weights as a table."""
    for name in ("frame_size", "detect_size"):
        if name in values:
            values[name] = tuple(values[name])
    if "weights" in values:
        values["weights"] = LossWeights(**values["weights"])
    return TrainingStage(**values)
