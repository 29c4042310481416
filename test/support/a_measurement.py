# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A measurement of the benchmark with chosen values."""

from thfm_ros.ros.benchmark.measurement import Measurement, Scenario
from thfm_ros.ros.benchmark.statistics import Latency


def a_measurement(subject: str, results_per_s: float, p50_ms: float, **more: object) -> Measurement:
    """Latency grows from ``p50_ms``; CPU time is half of it. ``more``: fields to replace."""
    latency = Latency(
        sent=240, results=int(8 * results_per_s), results_per_s=results_per_s, p50_ms=p50_ms,
        p95_ms=p50_ms + 5, p99_ms=p50_ms + 10, max_ms=p50_ms + 20, age_p50_ms=p50_ms + 15,
        age_p99_ms=p50_ms + 40, age_max_ms=200,
    )  # fmt: skip
    values: dict[str, object] = {
        "scenario": Scenario(subject=subject, sweep="rates"), "skeleton": latency,
        "complete": latency, "topic_p50_ms": {}, "losses": {"overtaken": 3}, "sent_rate_hz": 30.0,
        "people_detected": 1.0, "cpu_ms": p50_ms / 2, "cores": {}, "rss_mb": 300.0,
        "peak_rss_mb": 300.0, "background_cores": 0.0, "stolen_cores": 0.0,
    }  # fmt: skip
    return Measurement(**{**values, **more})  # type: ignore[arg-type]
