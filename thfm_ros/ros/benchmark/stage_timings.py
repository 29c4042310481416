"""Where a step's time goes, without ROS: the pipeline alone, on the images of the benchmark."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thfm_ros.config import config_from
from thfm_ros.contract import Frame, Task, TrackState
from thfm_ros.loading import load_pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros.benchmark.clip import people_clip
from thfm_ros.ros.calibration import intrinsics_from_info
from thfm_ros.ros.replay.calibration import pinhole

FRAMES = 150
WARMUP = 20
PERIOD_NS = 33_333_333


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Means per frame, milliseconds; a look at the whole frame now and then is part of them."""

    tasks: str
    frames: int
    wall_ms: dict[str, float]  # by stage of the pipeline, and "total"
    p99_total_ms: float
    cpu_ms: float  # processor time of the whole step
    network_cpu_ms: float  # and of the network in it; NaN where it does not run step by step
    people_found: float


def stages(tasks: frozenset[Task], name: str, parameters: Mapping[str, object]) -> Stages:
    """Step through the clip of one person, 640x480, with everything in memory."""
    # As often as the node looks at the whole image, but in its place, so that it is counted.
    pipeline = load_pipeline(config_from({**parameters, "regions.beside": False}), live=True)
    network = _Metered()
    if isinstance(pipeline, PerceptionPipeline):
        vars(pipeline.engine)["step"] = network.of(pipeline.engine.step)
    window = FrameWindow(pipeline.config.window)
    k = intrinsics_from_info(pinhole(640, 480, 60.0), 640, 480)
    clip = people_clip(1, k.width, k.height)
    timings: list[dict[str, float]] = []
    found: list[int] = []
    cpu_s = 0.0
    for number in range(WARMUP + FRAMES):
        frame = Frame(clip[number % len(clip)], (number + 1) * PERIOD_NS, "camera", k)
        frames = window.push(frame)
        assert frames is not None
        began_s = time.process_time()
        seen = pipeline.step(frames, tasks)
        if number == WARMUP - 1:
            network.cpu_s = 0.0
        if number >= WARMUP:
            cpu_s += time.process_time() - began_s
            timings.append(dict(pipeline.last_timings_ms))
            found.append(sum(body.state is TrackState.TRACKED for body in seen.bodies))
    mean = {stage: float(np.mean([each[stage] for each in timings])) for stage in timings[0]}
    p99 = float(np.percentile([each["total"] for each in timings], 99))
    return Stages(
        tasks=name,
        frames=FRAMES,
        wall_ms=mean,
        p99_total_ms=p99,
        cpu_ms=cpu_s * 1e3 / FRAMES,
        network_cpu_ms=network.cpu_s * 1e3 / FRAMES or float("nan"),
        people_found=float(np.mean(found)),
    )


class _Metered:
    """Counts the processor time of a function, of all threads."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            began_s = time.process_time()
            try:
                return function(*args, **more)
            finally:
                self.cpu_s += time.process_time() - began_s

        return counted
