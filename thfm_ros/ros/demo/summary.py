"""What the demo measured: counts, rates, latencies. Knows neither ROS nor images."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# A body's own topics come and go with it; they are counted together.
_BODY_TOPIC = re.compile(r"(/bodies/)[a-z]{5}(/)")

# Topics that may stay silent although all is well, by the end of their name, and when.
MAY_BE_SILENT: Mapping[str, str] = {
    "depth_relative/image": "a metric scale is known, so depth/image has the metres",
    "depth/image": "the camera is not calibrated, so only depth_relative/image is published",
    "depth/camera_info": "the camera is not calibrated",
    "points": "the camera is not calibrated",
}
_NEEDS_SCALE = ("depth/image", "depth/camera_info", "points")


def topic_kind(topic: str) -> str:
    """``topic`` with ``<id>`` in the place of a body's id."""
    return _BODY_TOPIC.sub(r"\g<1><id>\g<2>", topic)


class Tally:
    """Counts what arrives; `summary` is what demo.sh writes to summary.json."""

    def __init__(self) -> None:
        self.topics: Counter[str] = Counter()
        self.metric = False
        self.checkpoint = ""
        self._image_stamps: list[int] = []
        self._latencies_ms: list[float] = []
        self._result_stamps: list[int] = []
        self._people: list[int] = []
        self._ids: set[str] = set()
        self._diagnostics: dict[str, dict[str, str]] = {}

    def expect(self, topic: str) -> None:
        """A topic exists; until something arrives its count is 0."""
        self.topics[topic_kind(topic)] += 0

    def message(self, topic: str) -> None:
        """Something arrived."""
        self.topics[topic_kind(topic)] += 1

    def image(self, stamp_ns: int) -> None:
        """An image of the camera arrived."""
        self._image_stamps.append(stamp_ns)

    def result(self, stamp_ns: int, now_ns: int, ids: Iterable[str], *, metric: bool) -> float:
        """The bodies of the image with this stamp arrived now; returns their age in ms.

        What came before the first result is not counted: processes were still finding each other.
        """
        if not self._result_stamps:
            self._image_stamps = [stamp for stamp in self._image_stamps if stamp >= stamp_ns]
        latency_ms = (now_ns - stamp_ns) / 1e6
        self._latencies_ms.append(latency_ms)
        self._result_stamps.append(stamp_ns)
        people = set(ids)
        self._people.append(len(people))
        self._ids |= people
        self.metric = metric
        return latency_ms

    def diagnostics(self, part: str, message: str, values: Mapping[str, str]) -> None:
        """The newest word of the node about one of its parts."""
        self._diagnostics[part] = {"message": message, **values}

    @property
    def images(self) -> int:
        """Images that arrived from the camera."""
        return len(self._image_stamps)

    @property
    def results(self) -> int:
        """Images whose bodies arrived."""
        return len(self._result_stamps)

    def progress(self) -> str:
        """One line for people who wait."""
        if not self.results:
            return f"{self.images} images, no result yet"
        recent = np.median(self._latencies_ms[-30:])
        return (
            f"{self.images} images, {self.results} results "
            f"({_rate_hz(self._result_stamps[-30:]):.1f}/s, {recent:.0f} ms after the image), "
            f"{self._people[-1]} people now, {len(self._ids)} so far"
        )

    def silent(self) -> list[str]:
        """Topics from which something should have come, and did not."""
        excused = ("depth_relative/image",) if self.metric else _NEEDS_SCALE
        return sorted(t for t, n in self.topics.items() if n == 0 and not t.endswith(excused))

    def summary(self) -> dict[str, Any]:
        """Everything, ready for JSON; what was not measured is None."""
        latencies = np.array(self._latencies_ms)
        percentiles = {
            f"p{p}": round(float(np.percentile(latencies, p)), 1) if latencies.size else None
            for p in (50, 95, 99)
        }
        quiet = {t: _excuse(t) for t, n in sorted(self.topics.items()) if n == 0}
        return {
            "input_hz": round(_rate_hz(self._image_stamps), 2),
            "input_images": self.images,
            "results": self.results,
            "results_per_s": round(_rate_hz(self._result_stamps), 2),
            "latency_ms": percentiles,
            "drops": self._drops(),
            "bodies_seen": len(self._ids),
            "people_per_image": {
                "mean": round(float(np.mean(self._people)), 2) if self._people else None,
                "max": max(self._people, default=None),
            },
            "messages": dict(sorted(self.topics.items())),
            "silent": {t: why for t, why in quiet.items() if t not in self.silent()},
            "failed": self.silent(),
            "checkpoint": self.checkpoint,
            "engine": self._diagnostics.get("engine", {}).get("message", ""),
            "diagnostics": self._diagnostics,
        }

    def _drops(self) -> dict[str, int]:
        values = self._diagnostics.get("input", {})
        drops = {k.removeprefix("dropped: "): v for k, v in values.items() if "dropped: " in k}
        return {cause: int(n) for cause, n in drops.items() if n.strip(string.digits) == ""}


def _excuse(topic: str) -> str:
    return next((why for end, why in MAY_BE_SILENT.items() if topic.endswith(end)), "")


def _rate_hz(stamps_ns: list[int]) -> float:
    if len(stamps_ns) < 2 or stamps_ns[-1] <= stamps_ns[0]:
        return 0.0
    return (len(stamps_ns) - 1) * 1e9 / (stamps_ns[-1] - stamps_ns[0])
