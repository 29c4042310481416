"""A recipe: the stages that make a checkpoint, as a JSON file under runs/."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.training.losses import Weights


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with constant settings.

    The rate goes from ``rate`` to ``final_rate`` along half a cosine.
    """

    name: str
    steps: int
    batch: int = 8  # frames per step, clips times frames per clip
    size: int = 96  # of person crops, pixels
    frame_size: tuple[int, int] = (160, 128)  # of whole frames, width and height
    frame_share: float = 0.2  # of the steps that show whole frames
    clip_share: float = 0.0  # of the crop steps that show clips of several frames
    held: float = 0.0  # of those clips that are one frame before a trembling camera
    ease: float = 0.0  # see moves.CropStyle
    calm: float = 0.0  # see moves.CropStyle
    depth: int = 5  # transformer blocks; see growth.py
    refine: int = 0  # residual blocks at half the image's size, before the dense read-outs
    rate: float = 1e-3
    final_rate: float = 1e-3
    muon: bool = False  # see optimizer.py; a change begins without momentum
    lift_only: bool = False  # teach the lifter alone, from skeletons
    lift_batch: int = 16  # skeletons per step beside the images
    weights: Weights | None = None  # instead of the recipe's


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what comes out, the data apart."""

    seed: int = 1
    stages: tuple[Stage, ...]
    weights: Weights = Weights()  # noqa: RUF009 (frozen)
    averaging: float = 0.9995  # of the weights that are kept (EMA)
    warm_up: int = 300  # steps
    bfloat16: bool = True  # products and convolutions; 1.7 times as fast where the CPU has them

    def stage_of(self, step: int) -> tuple[int, int] | None:
        """(index of the stage, step within it), or None when all are done."""
        for index, stage in enumerate(self.stages):
            if step < stage.steps:
                return index, step
            step -= stage.steps
        return None

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return sum(stage.steps for stage in self.stages)


def _stage(values: dict[str, Any]) -> Stage:
    """A stage as JSON has it: lists instead of tuples, and weights by name."""
    if "frame_size" in values:
        values["frame_size"] = tuple(values["frame_size"])
    if "weights" in values:
        values["weights"] = Weights(**values["weights"])
    return Stage(**values)


class RecipeError(PerceptionError):
    """A file that is no recipe; the text says why."""


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; unknown keys are refused by name.

    Raises:
        RecipeError: the file is no recipe.
    """
    try:
        values = json.loads(path.read_text())
        stages = tuple(_stage(stage) for stage in values.pop("stages"))
        weights = Weights(**values.pop("weights", {}))
        return Recipe(stages=stages, weights=weights, **values)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # No text (UnicodeDecodeError) and no JSON (JSONDecodeError) are ValueErrors too.
        known = [field.name for field in dataclasses.fields(Stage)]
        raise RecipeError(f"{path} is no recipe: {error}. A stage knows {known}.") from error
