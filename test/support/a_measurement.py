"""What the benchmark could have measured."""

from thfm_ros.ros.benchmark.measurement import Measured, Phase
from thfm_ros.ros.benchmark.statistics import Latency


def measured(subject: str, results: float, p50: float, **more: object) -> Measured:
    there = Latency(
        sent=240, results=int(8 * results), results_per_s=results, p50_ms=p50, p95_ms=p50 + 5,
        p99_ms=p50 + 10, max_ms=p50 + 20, age_p50_ms=p50 + 15, age_p99_ms=p50 + 40, age_max_ms=200,
    )  # fmt: skip
    values: dict[str, object] = {
        "phase": Phase(subject=subject, sweep="rates"), "skeleton": there, "complete": there,
        "topic_p50_ms": {}, "losses": {"overtaken": 3}, "sent_rate_hz": 30.0, "people_found": 1.0,
        "cpu_ms": p50 / 2, "cores": {}, "rss_mb": 300.0, "peak_rss_mb": 300.0,
        "others_cores": 0.0, "stolen_cores": 0.0,
    }  # fmt: skip
    return Measured(**{**values, **more})  # type: ignore[arg-type]
