# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Maps that are painted after their step, while the next one runs."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from crowd import GROUP, Crowd

from thfm_ros.contract import Perception, Task

ALL = frozenset(Task)
MAPS = ("mask", "depth_m", "normals", "parts", "dense_pose", "instances")


def crowd(*, paint_later: bool, budget_ms: float = 40.0) -> Crowd:
    """Some of its people are not measured in each step, and keep the pixels of earlier ones."""
    made = Crowd(*GROUP, budget_ms=budget_ms, crop_s=0.01)
    made.pipeline.paint_later = paint_later
    return made


def assert_same_maps(found: Perception, expected: Perception) -> None:
    assert [body.id for body in found.bodies] == [body.id for body in expected.bodies]
    for name in MAPS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


def in_a_thread(paint: Callable[[], Perception], results: list[Perception]) -> threading.Thread:
    thread = threading.Thread(target=lambda: results.append(paint()))
    thread.start()
    return thread


def test_maps_painted_while_the_next_step_runs_are_those_that_the_step_paints() -> None:
    now, later = crowd(paint_later=False), crowd(paint_later=True)
    expected: list[Perception] = []
    found: list[Perception] = []
    thread = None
    for _ in range(8):
        expected.append(now.next(ALL))
        result = later.next(ALL)
        assert all(getattr(result, name) is None for name in MAPS)
        if thread:
            thread.join()
        thread = in_a_thread(later.pipeline.painter(result), found)
    assert thread
    thread.join()
    assert any(body.measurement_age_s > 0 for each in expected for body in each.bodies)
    for one, other in zip(found, expected, strict=True):
        assert_same_maps(one, other)


@pytest.mark.parametrize("paint_later", [True, False])
def test_the_painter_gives_all_maps_whenever_they_are_painted(paint_later: bool) -> None:
    scene = crowd(paint_later=paint_later, budget_ms=0)
    result = scene.next(ALL)
    assert_same_maps(
        scene.pipeline.painter(result)(), crowd(paint_later=False, budget_ms=0).next(ALL)
    )


def test_maps_of_a_stream_that_has_ended_do_not_change_those_of_the_next_one() -> None:
    scene = crowd(paint_later=True, budget_ms=0)
    paint_old = scene.pipeline.painter(scene.next(ALL))
    scene.pipeline.reset()
    scene.people = GROUP[:1]
    result = scene.next(ALL)
    paint_old()
    painted = scene.pipeline.painter(result)()
    assert painted.instances is not None
    assert set(np.unique(painted.instances)) == {0, 65535}


def test_another_configuration_paints_when_the_first_one_did() -> None:
    pipeline = crowd(paint_later=True).pipeline
    assert pipeline.with_config(pipeline.config).paint_later
