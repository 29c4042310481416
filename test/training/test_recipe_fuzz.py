# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Any training recipe is read with values of the right types and signs, or refused with a reason.

Half of the inputs are a valid recipe with a few changes. With THFM_FUZZ_EXAMPLES=20000 that many
new ones are tried per test.
"""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import VALUES, changed_documents
from mutated_bytes import mutated, refused_or
from property_tests import FUZZ_EXAMPLES, fuzz

from thfm_ros.training.recipe import RecipeError, read_recipe

pytestmark = pytest.mark.timeout(600 + FUZZ_EXAMPLES // 5)

RECIPES = tuple(
    path.read_bytes()
    for path in sorted((Path(__file__).resolve().parents[2] / "runs").glob("*.json"))
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipe") / "recipe.json"


@given(
    data=mutated(RECIPES)
    | st.one_of([changed_documents(json.loads(recipe)) for recipe in RECIPES]).map(
        lambda values: json.dumps(values).encode()
    )
    | VALUES.map(lambda values: json.dumps(values).encode())
    | st.binary(max_size=50)
)
@fuzz(examples=150)
def test_any_recipe_can_be_trained_or_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    recipe = refused_or(lambda: read_recipe(path), RecipeError)
    if recipe is None:
        return
    assert recipe.steps > 0 and recipe.warm_up > 0 and 0 <= recipe.ema_decay < 1
    for stage in recipe.stages:
        assert isinstance(stage.name, str) and 0 < stage.steps < 10**9 and stage.batch > 0
        assert all(math.isfinite(weight) for weight in vars(recipe.weights).values())
        assert stage.size % 16 == 0 and all(side % 16 == 0 for side in stage.frame_size)
        for step in (0, stage.steps - 1):
            assert 0 <= stage.learning_rate_at(step) < math.inf
        assert 0 <= stage.frame_share <= 1 and 0 <= stage.detect_share <= 1
