# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Time per stage of a pipeline step, without ROS: the pipeline on the benchmark's images."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thfm_ros.camera.calibration import intrinsics_from_camera_info
from thfm_ros.config import config_from
from thfm_ros.contract import Frame, Task, TrackState
from thfm_ros.engine.base import Engine
from thfm_ros.loading import load_pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros.benchmark.clip import people_clip
from thfm_ros.ros.replay.calibration import pinhole

FRAMES = 150
WARMUP = 20
PERIOD_NS = 33_333_333


@dataclass(frozen=True, kw_only=True)
class StageTimings:
    """Means per frame, milliseconds; the periodic full-frame detection passes are included."""

    tasks: str
    frames: int
    wall_ms: dict[str, float]  # wall time by stage of the pipeline, and "total"
    p99_total_ms: float
    cpu_ms: float  # CPU time of the whole step
    network_cpu_ms: float
    """CPU time of the network in it, in crops and detection passes; NaN where the pipeline has no
    such steps."""
    people_detected: float


def measure_stages(
    tasks: frozenset[Task], name: str, parameters: Mapping[str, object]
) -> StageTimings:
    """Run the pipeline on the clip of one person, 640x480, with all images in memory.

    Args:
        tasks: what the pipeline estimates.
        name: of these tasks in the report.
        parameters: ROS parameters of the node.
    """
    # Detection passes as often as in the node, but within the step, so that they are counted.
    pipeline = load_pipeline(config_from({**parameters, "regions.run_async": False}), live=True)
    network = CpuMeter()
    if isinstance(pipeline, PerceptionPipeline):
        measure_network(pipeline.engine, network)
    window = FrameWindow(pipeline.config.window)
    k = intrinsics_from_camera_info(pinhole(640, 480, 60.0), 640, 480)
    clip = people_clip(1, k.width, k.height)
    timings: list[dict[str, float]] = []
    people: list[int] = []
    cpu_s = 0.0
    for index in range(WARMUP + FRAMES):
        frame = Frame(clip[index % len(clip)], (index + 1) * PERIOD_NS, "camera", k)
        frames = window.push(frame)
        assert frames is not None
        started_s = time.process_time()
        perception = pipeline.step(frames, tasks)
        if index == WARMUP - 1:
            network.cpu_s = 0.0
        if index >= WARMUP:
            cpu_s += time.process_time() - started_s
            timings.append(dict(pipeline.last_timings_ms))
            people.append(sum(b.state is TrackState.TRACKED for b in perception.bodies))
    mean = {stage: float(np.mean([timing[stage] for timing in timings])) for stage in timings[0]}
    p99 = float(np.percentile([timing["total"] for timing in timings], 99))
    return StageTimings(
        tasks=name,
        frames=FRAMES,
        wall_ms=mean,
        p99_total_ms=p99,
        cpu_ms=cpu_s * 1e3 / FRAMES,
        network_cpu_ms=network.cpu_s * 1e3 / FRAMES or float("nan"),
        people_detected=float(np.mean(people)),
    )


def measure_network(engine: Engine, meter: "CpuMeter") -> None:
    """From now on add the CPU time of the engine's crops and of its detection passes to a meter."""
    for name in ("step", "detect"):
        vars(engine)[name] = meter.measured(getattr(engine, name))


class CpuMeter:
    """Sums the CPU time, of all threads, that is spent in a function."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, with its CPU time added to ``cpu_s`` at each call."""

        def wrapper(*args: Any, **options: Any) -> Any:
            started_s = time.process_time()
            try:
                return function(*args, **options)
            finally:
                self.cpu_s += time.process_time() - started_s

        return wrapper
