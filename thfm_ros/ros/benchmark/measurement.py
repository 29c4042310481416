"""What is measured in one go, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thfm_ros.ros.benchmark.statistics import (
    Latency,
    first_arrivals,
    last_of_all,
    latency,
    losses,
    rate_hz,
    ratio,
)

THFM, PEER = "thfm", "peer"
SKELETON = {THFM: "bodies", PEER: "skeleton"}
"""The topic that the latency is of: who is where. The other topics count in ``complete``."""

TOPICS: dict[str, dict[str, str]] = {
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
    PEER: {"skeleton": "MarkerArray", "mask": "Image"},
}
TOPICS["all"] = TOPICS["estimates"] | {
    "points": "PointCloud2",
    "normals/color": "Image",
    "dense_pose/color": "Image",
    "overlay": "Image",
    "markers": "MarkerArray",
}
"""What is subscribed to, by name of the choice: topic, type."""

BUSY_CORES = 0.15
"""More use of the processor by others than this makes figures invalid."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One measurement: who sees what, and how fast."""

    subject: str  # "peer", "thfm", or one with other settings, see `variant`
    topics: str = "estimates"
    rate_hz: float = 30.0
    seconds: float = 8.0
    warmup_s: float = 2.0
    people: int = 1
    width: int = 640
    height: int = 480
    sweep: str = ""  # what it is part of

    @property
    def subscribed(self) -> dict[str, str]:
        """Topic: type."""
        return TOPICS[PEER if self.subject == PEER else self.topics]

    def __str__(self) -> str:
        who = self.subject if self.subject == PEER else f"{self.subject} ({self.topics})"
        return f"{who} {self.width}x{self.height} at {self.rate_hz:g} Hz, people: {self.people}"


def variant(subject: str) -> tuple[str, dict[str, object]]:
    """What a node's name says about its settings: for people, and as parameters.

    thfm_torch has another engine, thfm_onnx_2 runs it in two threads, and thfm_every_10 looks at
    the whole image in every tenth frame.
    """
    kind, _, number = subject.partition("_")[2].partition("_")
    if not kind:
        return "", {}
    if kind == "every":
        words = f"whole image every {number} frames" if number != "1" else "whole image always"
        return words, {"regions.frame_pass_every": int(number), "regions.frame_pass_period_s": 0.0}
    if not number:
        return kind, {"engine.kind": kind}
    return f"{kind}, {number} threads", {"engine.kind": kind, "engine.threads": int(number)}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of a phase."""

    phase: Phase
    skeleton: Latency
    complete: Latency  # the last of all topics of a frame
    topic_p50_ms: dict[str, float]
    losses: dict[str, int]  # warm-up included
    sent_rate_hz: float
    people_found: float  # on average
    cpu_ms: float  # of the node, per result
    cores: dict[str, float]  # of each process
    rss_mb: float
    peak_rss_mb: float
    others_cores: float
    stolen_cores: float

    @property
    def valid(self) -> bool:
        """Whether the machine was otherwise idle."""
        return self.others_cores + self.stolen_cores <= BUSY_CORES


def summary(
    phase: Phase,
    sent: Mapping[str, Any],
    report: Mapping[str, Any],
    drops: tuple[Mapping[str, int], Mapping[str, int]],
) -> Measured:
    """What a phase's stamps say.

    Args:
        phase: what was measured.
        sent: answer of the camera, `camera.Sent`.
        report: answer of the audience.
        drops: the node's own counters before and after.
    """
    stamps, every = sent["counted_ns"], sent["warmup_ns"] + sent["counted_ns"]
    arrivals: dict[str, list[tuple[int, int]]] = {
        topic.removeprefix(f"/{phase.subject}/"): [(stamp, at) for stamp, at in pairs]
        for topic, pairs in report["arrivals"].items()
    }
    first = arrivals[SKELETON[phase.subject.partition("_")[0]]]
    skeleton = latency(stamps, first)
    # Markers of nobody carry no stamp, so they say nothing about when a frame is complete.
    stamped = {topic: each for topic, each in arrivals.items() if topic != "markers"}
    wanted = set(stamps)
    found = [count for stamp, count in report["people"] if stamp in wanted]
    usage = sent["usage"]
    return Measured(
        phase=phase,
        skeleton=skeleton,
        complete=latency(stamps, last_of_all(stamped)),
        topic_p50_ms={topic: latency(stamps, each).p50_ms for topic, each in arrivals.items()},
        losses=losses(len(every), len(first_arrivals(every, first)), *drops),
        sent_rate_hz=rate_hz(stamps),
        people_found=sum(found) / len(found) if found else 0.0,
        cpu_ms=1e3 * ratio(usage["cores"]["node"], skeleton.results_per_s),
        cores=usage["cores"],
        rss_mb=usage["rss_mb"]["node"],
        peak_rss_mb=usage["peak_rss_mb"]["node"],
        others_cores=usage["others_cores"],
        stolen_cores=usage["stolen_cores"],
    )
