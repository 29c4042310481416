"""What the stamps of a run say: rates, percentiles, ages and losses. Pure functions, no ROS.

A run is a list of stamps that were sent and a list of (stamp, moment of arrival). Nothing is
left out: percentiles are of all frames after the warm-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

NS_PER_MS = 1e6
NEVER_ARRIVED = "on the way"
"""Cause of a loss that the node knows nothing of: DDS overwrote the image, or its result."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Of the results that describe one kind of frames. Milliseconds; NaN without results."""

    sent: int
    results: int
    results_per_s: float
    p50_ms: float  # from the stamp of a frame to the arrival of its result
    p95_ms: float
    p99_ms: float
    max_ms: float
    age_p50_ms: float  # age of the newest result at any moment: what a robot acts on
    age_p99_ms: float
    age_max_ms: float


Arrivals = Sequence[tuple[int, int]]
"""Stamp of the frame, moment at which its result arrived: nanoseconds of one clock."""


def latency(sent_ns: Sequence[int], arrivals: Arrivals) -> Latency:
    """Summarise the results of the frames ``sent_ns`` (in their order).

    Results of other frames (of the warm-up) are left out; a second result of a frame too.
    """
    first = first_arrivals(sent_ns, arrivals)
    ms = np.array([(at - stamp) / NS_PER_MS for stamp, at in first])
    p50, p95, p99, most = np.percentile(ms, (50, 95, 99, 100)) if len(ms) else (np.nan,) * 4
    age_p50, age_p99, age_max = ages(first, (0.5, 0.99, 1.0))
    seconds = len(sent_ns) / rate_hz(sent_ns)
    return Latency(
        sent=len(sent_ns),
        results=len(first),
        results_per_s=len(first) / seconds,
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        max_ms=float(most),
        age_p50_ms=age_p50,
        age_p99_ms=age_p99,
        age_max_ms=age_max,
    )


def rate_hz(sent_ns: Sequence[int]) -> float:
    """Frames per second that were really sent; NaN for fewer than two."""
    if len(sent_ns) < 2:
        return float("nan")
    return (len(sent_ns) - 1) * 1e9 / (sent_ns[-1] - sent_ns[0])


def first_arrivals(sent_ns: Sequence[int], arrivals: Arrivals) -> list[tuple[int, int]]:
    """The first result of each frame in ``sent_ns``, by moment of arrival."""
    wanted = set(sent_ns)
    first: dict[int, int] = {}
    for stamp, at in sorted(arrivals, key=lambda each: each[1]):
        if stamp in wanted and stamp not in first:
            first[stamp] = at
    return list(first.items())


def last_of_all(topics: Mapping[str, Arrivals]) -> list[tuple[int, int]]:
    """When a frame's results were complete: the latest topic, of frames that all topics have."""
    by_topic = [dict(arrivals) for arrivals in topics.values()]
    if not by_topic:
        return []
    complete = set(by_topic[0]).intersection(*by_topic[1:])
    return sorted((stamp, max(each[stamp] for each in by_topic)) for stamp in complete)


def ages(arrivals: Arrivals, levels: Sequence[float]) -> tuple[float, ...]:
    """Quantiles, over time, of the age of the newest frame that is known about.

    After a result the age is its latency and then grows with time until the next one arrives: a
    saw, whose teeth are as high as a latency and the wait for the next result. A result that is
    overtaken by a newer one changes nothing.

    Args:
        arrivals: in any order.
        levels: 0..1; of the time between the first and the last arrival.

    Returns:
        Milliseconds; NaN with fewer than two results.
    """
    low, high = _teeth(arrivals)
    if not len(low):
        return (float("nan"),) * len(levels)
    return tuple(_quantile(low, high, level) for level in levels)


def _teeth(arrivals: Arrivals) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Age after each result and just before the next, milliseconds."""
    newest: list[tuple[int, int]] = []
    for stamp, at in sorted(arrivals, key=lambda each: (each[1], each[0])):
        if not newest or stamp > newest[-1][0]:
            newest.append((stamp, at))
    stamps = np.array([stamp for stamp, _ in newest], dtype=np.int64)
    moments = np.array([at for _, at in newest], dtype=np.int64)
    low = (moments[:-1] - stamps[:-1]) / NS_PER_MS
    high = (moments[1:] - stamps[:-1]) / NS_PER_MS
    lasting = high > low  # two results in the same nanosecond leave the first no time
    return low[lasting], high[lasting]


def _quantile(low: Float64[np.ndarray, "n"], high: Float64[np.ndarray, "n"], level: float) -> float:
    """Quantile of a mixture of uniform distributions, each as weighty as it is long."""
    # Between two neighbouring edges the share of time below an age grows linearly.
    edges = np.unique(np.concatenate([low, high]))
    below = np.array([np.clip(edge - low, 0, high - low).sum() for edge in edges])
    return float(np.interp(level * (high - low).sum(), below, edges))


def losses(
    sent: int, results: int, before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, int]:
    """Frames without a result, by cause.

    Args:
        sent: frames sent between the two readings, warm-up included.
        results: of those, how many results came.
        before: the node's own counters by cause, before the first frame.
        after: the same counters after the last.

    Returns:
        Cause: number, without zeros. What the node does not account for was lost on the way.
    """
    known = {cause: after[cause] - before.get(cause, 0) for cause in sorted(after)}
    known[NEVER_ARRIVED] = sent - results - sum(known.values())
    return {cause: count for cause, count in known.items() if count}


def ratio(ours: float, theirs: float) -> float:
    """Ours / theirs; NaN where that says nothing."""
    return ours / theirs if theirs else float("nan")
