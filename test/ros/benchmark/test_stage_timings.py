# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which processor time of a step is the network's."""

import time
from typing import Any

import pytest

from thfm_ros.ros.benchmark.stage_timings import CpuMeter, measure_network

pytestmark = pytest.mark.ros


class BusyEngine:
    """Each call takes some milliseconds of processor time."""

    def step(self, image: str, state: object, *, dense: bool) -> tuple[str, object, bool]:
        return busy_for(0.004), (image, state), dense

    def detect(self, image: str) -> str:
        return busy_for(0.006)


def busy_for(seconds: float) -> str:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "found"


@pytest.mark.parametrize("calls", [("step",), ("detect",), ("detect", "step", "step")])
def test_the_network_is_crops_and_detection_passes_and_their_results_are_unchanged(
    calls: tuple[str, ...],
) -> None:
    engine: Any = BusyEngine()
    meter = CpuMeter()
    measure_network(engine, meter)
    busy_for(0.01)  # another stage
    for call in calls:
        if call == "step":
            assert engine.step("image", 1, dense=True) == ("found", ("image", 1), True)
        else:
            assert engine.detect("image") == "found"
    expected_s = sum(0.004 if call == "step" else 0.006 for call in calls)
    assert expected_s <= meter.cpu_s < expected_s + 0.009
