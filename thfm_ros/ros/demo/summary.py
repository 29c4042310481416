# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Summary of a demo run: message counts, rates, latencies. Independent of ROS and images."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# The topics of one body appear and disappear with its track; they are counted together.
_BODY_TOPIC = re.compile(r"(/bodies/)[a-z]{5}(/)")

# Topics that may have no messages, by the end of their name, and the reason.
OPTIONAL_TOPICS: Mapping[str, str] = {
    "depth_relative/image": "a metric scale is known, so depth/image is published instead",
    "depth/image": "the camera is not calibrated, so only depth_relative/image is published",
    "depth/camera_info": "the camera is not calibrated",
    "points": "the camera is not calibrated",
    "/target": "no one is followed: see ~/follow",
}
_NEEDS_SCALE = ("depth/image", "depth/camera_info", "points")


def topic_pattern(topic: str) -> str:
    """``topic`` with the id of a body replaced by ``<id>``."""
    return _BODY_TOPIC.sub(r"\g<1><id>\g<2>", topic)


class DemoSummary:
    """Counts messages during the run; `as_json` is the content of summary.json."""

    def __init__(self) -> None:
        self.topics: Counter[str] = Counter()
        self.sampled: set[str] = set()  # topics whose first messages only are counted
        self.metric = False
        self.checkpoint = ""
        self._image_stamps: list[int] = []
        self._latencies_ms: list[float] = []
        self._result_stamps: list[int] = []
        self._people: list[int] = []  # confirmed, by image
        self._measured: list[int] = []  # of them
        self._ids: set[str] = set()
        self._diagnostics: dict[str, dict[str, str]] = {}

    def add_topic(self, topic: str) -> None:
        """Add a topic with zero messages, if it is new."""
        self.topics[topic_pattern(topic)] += 0

    def count_message(self, topic: str) -> None:
        """Count a message."""
        self.topics[topic_pattern(topic)] += 1

    def add_image(self, stamp_ns: int) -> None:
        """Count an image of the camera."""
        self._image_stamps.append(stamp_ns)

    def add_result(
        self,
        stamp_ns: int,
        now_ns: int,
        ids: Iterable[str],
        *,
        metric: bool,
        predicted: Iterable[str] = (),
    ) -> float:
        """Add the bodies of one image; returns their latency in milliseconds.

        Images before the first result are not counted: the processes were still starting.

        Args:
            stamp_ns: of the image.
            now_ns: when the bodies arrived, on the same clock.
            ids: of the bodies that were measured in the image.
            metric: whether the metric scale is known.
            predicted: ids of those who were not, because of a time budget.
        """
        if not self._result_stamps:
            self._image_stamps = [stamp for stamp in self._image_stamps if stamp >= stamp_ns]
        latency_ms = (now_ns - stamp_ns) / 1e6
        self._latencies_ms.append(latency_ms)
        self._result_stamps.append(stamp_ns)
        measured = set(ids)
        people = measured | set(predicted)
        self._people.append(len(people))
        self._measured.append(len(measured))
        self._ids |= people
        self.metric = metric
        return latency_ms

    def set_diagnostics(self, part: str, message: str, values: Mapping[str, str]) -> None:
        """Store the newest diagnostics of one part of the node."""
        self._diagnostics[part] = {"message": message, **values}

    @property
    def images(self) -> int:
        """Number of images from the camera."""
        return len(self._image_stamps)

    @property
    def results(self) -> int:
        """Number of images whose bodies arrived."""
        return len(self._result_stamps)

    def progress(self) -> str:
        """One line about the run so far."""
        if not self.results:
            return f"{self.images} images, no result yet"
        recent = np.median(self._latencies_ms[-30:])
        return (
            f"{self.images} images, {self.results} results "
            f"({_rate_hz(self._result_stamps[-30:]):.1f}/s, {recent:.0f} ms latency), "
            f"{self._people[-1]} people now, {len(self._ids)} so far"
        )

    def topics_without_messages(self) -> list[str]:
        """Topics without messages, except those that may have none."""
        optional = ("/target", *(("depth_relative/image",) if self.metric else _NEEDS_SCALE))
        return sorted(t for t, n in self.topics.items() if n == 0 and not t.endswith(optional))

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON values; None where nothing was measured."""
        latencies = np.array(self._latencies_ms)
        percentiles = {
            f"p{p}": round(float(np.percentile(latencies, p)), 1) if latencies.size else None
            for p in (50, 95, 99)
        }
        reasons = {t: _reason(t) for t, n in sorted(self.topics.items()) if n == 0}
        failed = self.topics_without_messages()
        return {
            "input_hz": round(_rate_hz(self._image_stamps), 2),
            "input_images": self.images,
            "results": self.results,
            "results_per_s": round(_rate_hz(self._result_stamps), 2),
            "latency_ms": percentiles,
            "drops": self._drops(),
            "bodies_seen": len(self._ids),
            "people_per_image": {
                "mean": _mean(self._people),
                "measured": _mean(self._measured),
                "max": max(self._people, default=None),
            },
            "messages": dict(sorted(self.topics.items())),
            "sampled": sorted(self.sampled),
            "silent": {topic: why for topic, why in reasons.items() if topic not in failed},
            "failed": failed,
            "checkpoint": self.checkpoint,
            "engine": self._diagnostics.get("engine", {}).get("message", ""),
            "diagnostics": self._diagnostics,
        }

    def _drops(self) -> dict[str, int]:
        values = self._diagnostics.get("input", {})
        drops = {k.removeprefix("dropped: "): v for k, v in values.items() if "dropped: " in k}
        return {cause: int(n) for cause, n in drops.items() if n.strip(string.digits) == ""}


def _reason(topic: str) -> str:
    return next((reason for end, reason in OPTIONAL_TOPICS.items() if topic.endswith(end)), "")


def _mean(counts: list[int]) -> float | None:
    return round(float(np.mean(counts)), 2) if counts else None


def _rate_hz(stamps_ns: list[int]) -> float:
    if len(stamps_ns) < 2 or stamps_ns[-1] <= stamps_ns[0]:
        return 0.0
    return (len(stamps_ns) - 1) * 1e9 / (stamps_ns[-1] - stamps_ns[0])
