# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The scenario of one measurement, and the measurement that results from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thfm_ros.ros.benchmark.statistics import (
    Latency,
    completion_times,
    first_arrivals,
    latency_statistics,
    losses_by_cause,
    rate_hz,
    ratio,
)

THFM, MEDIAPIPE = "thfm", "mediapipe"
WITHOUT_MASK = f"{MEDIAPIPE}_bodies"
"""MediaPipe without its mask; mediapipe_poses_4 is MediaPipe with a graph for each of 4 people."""
SKELETON_TOPIC = {THFM: "bodies", MEDIAPIPE: "skeleton"}
"""The topic whose latency is reported first. All topics together count in ``complete``."""

TOPIC_SETS: dict[str, dict[str, str]] = {
    "bodies": {"bodies": "BodyArray"},
    "estimates": {
        "bodies": "BodyArray",
        "depth/image": "Image",
        "segmentation/image": "Image",
        "parts/image": "Image",
        "instances/image": "Image",
        "normals/image": "Image",
        "dense_pose/image": "Image",
    },
    MEDIAPIPE: {"skeleton": "MarkerArray", "mask": "Image"},
    f"{MEDIAPIPE}_bodies": {"skeleton": "MarkerArray"},
}
TOPIC_SETS["all"] = TOPIC_SETS["estimates"] | {
    "points": "PointCloud2",
    "normals/color": "Image",
    "dense_pose/color": "Image",
    "overlay": "Image",
    "markers": "MarkerArray",
}
"""Name of the set: topic, message type."""

MAX_BACKGROUND_CORES = 0.15
"""A measurement during which other processes used more of the processor is invalid."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The conditions of one measurement."""

    subject: str  # THFM, MEDIAPIPE, or THFM with other settings, see `subject_settings`
    topics: str = "estimates"  # a key of TOPIC_SETS
    rate_hz: float = 30.0  # of the camera
    seconds: float = 8.0
    warmup_s: float = 2.0
    people: int = 1
    width: int = 640
    height: int = 480
    sweep: str = ""  # the sweep that it is part of

    @property
    def subscribed(self) -> dict[str, str]:
        """Subscribed topic: message type."""
        if is_mediapipe(self.subject):
            return TOPIC_SETS[WITHOUT_MASK if self.subject == WITHOUT_MASK else MEDIAPIPE]
        return TOPIC_SETS[self.topics]

    def __str__(self) -> str:
        topics = "" if is_mediapipe(self.subject) else f" ({self.topics})"
        size = f"{self.width}x{self.height}"
        return f"{self.subject}{topics} {size} at {self.rate_hz:g} Hz, people: {self.people}"


def is_mediapipe(subject: str) -> bool:
    """Whether a subject is MediaPipe's node, with any options."""
    return subject.partition("_")[0] == MEDIAPIPE


def baseline_subject(scenario: Scenario) -> str:
    """The options with which MediaPipe's node is compared in a scenario."""
    if scenario.topics == "bodies":
        return WITHOUT_MASK
    return MEDIAPIPE if scenario.people <= 1 else f"{MEDIAPIPE}_poses_{scenario.people}"


def subject_settings(subject: str) -> tuple[str, dict[str, object]]:
    """The settings that a subject's name stands for: as a label, and as ROS parameters.

    thfm_torch uses another engine, thfm_onnx_2 runs it with two threads, and thfm_every_10 runs
    a full-frame detection pass in every tenth frame. thfm_budget_50 has 50 ms for a step, and
    thfm_budget_0 no limit.
    """
    kind, _, number = subject.partition("_")[2].partition("_")
    if not kind or is_mediapipe(subject):
        return "", {}
    if kind == "budget":
        label = "all people in every step" if number == "0" else f"{number} ms per step"
        return label, {"regions.budget_ms": float(number)}
    if kind == "every":
        frames = "frame" if number == "1" else f"{number} frames"
        return (
            f"detection pass every {frames}",
            {"regions.frame_pass_every": int(number), "regions.frame_pass_period_s": 0.0},
        )
    if not number:
        return kind, {"engine.kind": kind}
    return f"{kind}, {number} threads", {"engine.kind": kind, "engine.threads": int(number)}


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured in a scenario."""

    scenario: Scenario
    skeleton: Latency
    complete: Latency  # until the last of all topics of a frame arrived
    topic_p50_ms: dict[str, float]
    losses: dict[str, int]  # frames without a result by cause, warm-up included
    sent_rate_hz: float
    people_detected: float  # with a tracked skeleton, mean over the results
    cpu_ms: float  # of the node's process, per result
    cores: dict[str, float]  # CPU time / time, of each process
    rss_mb: float
    peak_rss_mb: float
    background_cores: float  # CPU use of all other processes of the machine
    stolen_cores: float
    # How old each confirmed person's last measurement is when a result arrives; NaN: not known.
    measured_p50_ms: float = math.nan
    measured_p95_ms: float = math.nan
    measured_p99_ms: float = math.nan

    @property
    def cpu_ms_per_person(self) -> float:
        """CPU time of the node per result and person in the image."""
        return ratio(self.cpu_ms, self.scenario.people)

    @property
    def valid(self) -> bool:
        """Whether the machine was otherwise idle."""
        return self.disturbance_cores <= MAX_BACKGROUND_CORES

    @property
    def disturbance_cores(self) -> float:
        """CPU time that was not available: taken by other processes and by the hypervisor."""
        return self.background_cores + self.stolen_cores


def summarize(
    scenario: Scenario,
    sent: Mapping[str, Any],
    received: Mapping[str, Any],
    drops: tuple[Mapping[str, int], Mapping[str, int]],
) -> Measurement:
    """Compute a measurement from its stamps.

    Args:
        scenario: what was measured.
        sent: response of the camera, `camera.PublishResult`.
        received: response of the subscriber to "report".
        drops: the node's own counters of dropped frames before and after.
    """
    stamps, with_warmup = sent["counted_ns"], sent["warmup_ns"] + sent["counted_ns"]
    arrivals: dict[str, list[tuple[int, int]]] = {
        topic.removeprefix(f"/{scenario.subject}/"): [(stamp, arrival) for stamp, arrival in pairs]
        for topic, pairs in received["arrivals"].items()
    }
    skeletons = arrivals[SKELETON_TOPIC[scenario.subject.partition("_")[0]]]
    latency = latency_statistics(stamps, skeletons)
    # A frame without people has no markers, hence no stamp: they cannot tell when it is complete.
    stamped = {topic: pairs for topic, pairs in arrivals.items() if topic != "markers"}
    counted = set(stamps)
    detected = [count for stamp, count in received["people"] if stamp in counted]
    p50, p95, p99 = _percentiles(
        [age for stamp, age in received["measured_ms"] if stamp in counted]
    )
    usage = sent["usage"]
    results = len(first_arrivals(with_warmup, skeletons))
    return Measurement(
        scenario=scenario,
        skeleton=latency,
        complete=latency_statistics(stamps, completion_times(stamped)),
        topic_p50_ms={
            topic: latency_statistics(stamps, pairs).p50_ms for topic, pairs in arrivals.items()
        },
        losses=losses_by_cause(len(with_warmup), results, *drops),
        sent_rate_hz=rate_hz(stamps),
        people_detected=sum(detected) / len(detected) if detected else 0.0,
        cpu_ms=1e3 * ratio(usage["cores"]["node"], latency.results_per_s),
        cores=usage["cores"],
        rss_mb=usage["rss_mb"]["node"],
        peak_rss_mb=usage["peak_rss_mb"]["node"],
        background_cores=usage["background_cores"],
        stolen_cores=usage["stolen_cores"],
        measured_p50_ms=p50,
        measured_p95_ms=p95,
        measured_p99_ms=p99,
    )


def _percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th; NaN without values."""
    if not values:
        return (math.nan,) * 3
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return float(p50), float(p95), float(p99)
