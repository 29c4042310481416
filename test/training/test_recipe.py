# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recipes: reading, refusals that say why, and learning rates."""

import json
from pathlib import Path

import pytest

from thfm_ros.training.recipe import RecipeError, TrainingRecipe, TrainingStage, read_recipe

RUNS = Path(__file__).resolve().parents[2] / "runs"


def write(folder: Path, recipe: object) -> Path:
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    return path


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.json")), ids=lambda path: path.stem)
def test_the_recipes_of_the_repository_can_be_read(path: Path) -> None:
    assert read_recipe(path).steps > 0


def test_the_recipe_of_nano_trains_crops_and_detection() -> None:
    recipe = read_recipe(RUNS / "nano.json")
    assert recipe.detect_depth > 0 and len(recipe.stages) <= 6
    assert all(0 < stage.detect_share < 1 for stage in recipe.stages)
    assert recipe.stages[-1].final_learning_rate < 1e-4


def test_a_recipe_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, {"stages": [{"name": "a", "steps": 1, "colour": 3}]})
    with pytest.raises(RecipeError, match="colour"):
        read_recipe(path)


@pytest.mark.parametrize("text", ["", "\xff", "[]", "{}", '{"stages": 3}', '{"stages": [4]}'])
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"recipe\.json is no recipe"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ({"detect_depth": 0, "stages": [{"name": "a", "steps": 1}]}, "'a' allows 1 to 5"),
        (
            {"stages": [{"name": "a", "steps": 1, "size": 96, "tall_share": 0.5}]},
            "multiple of 64; 'a' has 96",
        ),
        ({"detect_depth": 6, "stages": [{"name": "a", "steps": 1}]}, "'a' allows 1 to 5"),
        (
            {"stages": [{"name": n, "steps": 1, "depth": d} for n, d in (("a", 6), ("b", 5))]},
            "shrinks in the stage 'b'",
        ),
    ],
)
def test_a_recipe_that_no_network_can_follow_is_refused(
    tmp_path: Path, recipe: object, problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        read_recipe(write(tmp_path, recipe))


def test_the_learning_rate_warms_up_and_falls_along_half_a_cosine() -> None:
    stages = (
        TrainingStage(name="a", steps=10, learning_rate=1.0, final_learning_rate=0.5),
        TrainingStage(name="b", steps=10, learning_rate=0.5, final_learning_rate=0.1),
    )
    recipe = TrainingRecipe(stages=stages, warm_up=4)
    rates = [recipe.learning_rate_at(step) for step in range(recipe.steps)]
    assert rates[0] == pytest.approx(0.25) and rates[3] > 0.85
    assert rates[5] == pytest.approx(0.75) and rates[10] == pytest.approx(0.5)
    assert rates[15] == pytest.approx(0.3) and 0.1 < rates[-1] < 0.12


def test_stages_follow_each_other() -> None:
    stages = (TrainingStage(name="a", steps=2), TrainingStage(name="b", steps=1))
    recipe = TrainingRecipe(stages=stages)
    at = [recipe.stage_at(step) for step in range(3)]
    assert [(stage.name, within) for stage, within in at] == [("a", 0), ("a", 1), ("b", 0)]
    with pytest.raises(IndexError, match="recipe of 3"):
        recipe.stage_at(3)
