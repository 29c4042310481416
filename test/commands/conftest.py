# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fixtures of the tests of `thfm perceive`."""

from collections.abc import Callable

import pytest
from fake_engine import FakeEngine, Person, camera

from thfm_ros.commands import perceive
from thfm_ros.commands.main import main
from thfm_ros.config import Config
from thfm_ros.pipeline import PerceptionPipeline


@pytest.fixture
def people() -> list[Person]:
    """Who is in the scene; tests may change the list."""
    return [Person(0.1, 0.05, 3)]


@pytest.fixture
def thfm(monkeypatch: pytest.MonkeyPatch, people: list[Person]) -> Callable[..., int]:
    """`thfm perceive` with an engine that knows the scene."""

    def pipeline(config: Config) -> PerceptionPipeline:
        engine = FakeEngine(camera(160, 120, 150.0), lambda: list(people))
        return PerceptionPipeline(engine, config)

    monkeypatch.setattr(perceive, "load_pipeline", pipeline)
    return lambda *arguments: main(["perceive", *map(str, arguments)])
