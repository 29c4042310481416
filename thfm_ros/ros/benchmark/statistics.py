# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Statistics of one measurement from its stamps: rates, latencies, ages, losses. Without ROS.

The input is the list of stamps that were sent and a list of (stamp, time of arrival). No frame is
left out: percentiles are over all frames after the warm-up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

NS_PER_MS = 1e6
LOST_IN_TRANSPORT = "lost in transport"
"""Cause of a loss that the node cannot count: DDS overwrote the image, or its result."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency and age of one kind of result. Milliseconds; NaN without results."""

    sent: int
    results: int
    results_per_s: float
    p50_ms: float  # from the stamp of a frame to the arrival of its result
    p95_ms: float
    p99_ms: float
    max_ms: float
    age_p50_ms: float  # age of the newest result, over time: what a robot acts on
    age_p99_ms: float
    age_max_ms: float


Arrivals = Sequence[tuple[int, int]]
"""Stamp of the frame, time at which its result arrived: nanoseconds of one clock."""


def latency_statistics(sent_ns: Sequence[int], arrivals: Arrivals) -> Latency:
    """Summarise the results of the frames ``sent_ns`` (in the order of sending).

    Results of other frames (those of the warm-up) and repeated results of a frame do not count.
    """
    first = first_arrivals(sent_ns, arrivals)
    latency_ms = np.array([(arrival - stamp) / NS_PER_MS for stamp, arrival in first])
    percentiles = (50, 95, 99, 100)
    p50, p95, p99, longest = (
        np.percentile(latency_ms, percentiles) if len(latency_ms) else (np.nan,) * 4
    )
    age_p50, age_p99, age_max = age_quantiles(first, (0.5, 0.99, 1.0))
    seconds = len(sent_ns) / rate_hz(sent_ns)
    return Latency(
        sent=len(sent_ns),
        results=len(first),
        results_per_s=len(first) / seconds,
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        max_ms=float(longest),
        age_p50_ms=age_p50,
        age_p99_ms=age_p99,
        age_max_ms=age_max,
    )


def rate_hz(sent_ns: Sequence[int]) -> float:
    """Frames per second that were actually sent; NaN for fewer than two frames."""
    if len(sent_ns) < 2:
        return float("nan")
    return (len(sent_ns) - 1) * 1e9 / (sent_ns[-1] - sent_ns[0])


def first_arrivals(sent_ns: Sequence[int], arrivals: Arrivals) -> list[tuple[int, int]]:
    """The first result of each frame in ``sent_ns``, in the order of arrival."""
    sent = set(sent_ns)
    first: dict[int, int] = {}
    for stamp, arrival in sorted(arrivals, key=lambda pair: pair[1]):
        if stamp in sent and stamp not in first:
            first[stamp] = arrival
    return list(first.items())


def completion_times(topics: Mapping[str, Arrivals]) -> list[tuple[int, int]]:
    """When the last topic of a frame arrived, for the frames that arrived on every topic."""
    by_topic = [dict(arrivals) for arrivals in topics.values()]
    if not by_topic:
        return []
    complete = set(by_topic[0]).intersection(*by_topic[1:])
    return sorted((stamp, max(times[stamp] for times in by_topic)) for stamp in complete)


def age_quantiles(arrivals: Arrivals, levels: Sequence[float]) -> tuple[float, ...]:
    """Quantiles, over time, of the age of the newest frame with a result (age of information).

    When a result arrives, the age drops to its latency; then it grows with time until the next
    one arrives. A result that arrives after one of a newer frame changes nothing.

    Args:
        arrivals: in any order.
        levels: 0..1; of the time between the first and the last arrival.

    Returns:
        Milliseconds; NaN with fewer than two results.
    """
    low, high = _age_intervals(arrivals)
    if not len(low):
        return (float("nan"),) * len(levels)
    return tuple(_mixture_quantile(low, high, level) for level in levels)


def _age_intervals(arrivals: Arrivals) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Age just after each result and just before the next one, milliseconds."""
    newest: list[tuple[int, int]] = []
    for stamp, arrival in sorted(arrivals, key=lambda pair: (pair[1], pair[0])):
        if not newest or stamp > newest[-1][0]:
            newest.append((stamp, arrival))
    stamps = np.array([stamp for stamp, _ in newest], dtype=np.int64)
    times = np.array([arrival for _, arrival in newest], dtype=np.int64)
    low = (times[:-1] - stamps[:-1]) / NS_PER_MS
    high = (times[1:] - stamps[:-1]) / NS_PER_MS
    nonempty = high > low  # of two results in the same nanosecond the first lasts no time
    return low[nonempty], high[nonempty]


def _mixture_quantile(
    low: Float64[np.ndarray, "n"], high: Float64[np.ndarray, "n"], level: float
) -> float:
    """Quantile of a mixture of uniform distributions, each weighted by its length."""
    # Between two neighbouring edges the share of time below an age grows linearly.
    edges = np.unique(np.concatenate([low, high]))
    below = np.array([np.clip(edge - low, 0, high - low).sum() for edge in edges])
    return float(np.interp(level * (high - low).sum(), below, edges))


def losses_by_cause(
    sent: int, results: int, before: Mapping[str, int], after: Mapping[str, int]
) -> dict[str, int]:
    """Frames without a result, by cause.

    Args:
        sent: frames sent between the two readings of the counters, warm-up included.
        results: number of those frames whose result arrived.
        before: the node's own drop counters by cause, before the first frame.
        after: the same counters after the last frame.

    Returns:
        Cause: number, without zeros. What the node did not count was lost in transport.
    """
    losses = {cause: after[cause] - before.get(cause, 0) for cause in sorted(after)}
    losses[LOST_IN_TRANSPORT] = sent - results - sum(losses.values())
    return {cause: count for cause, count in losses.items() if count}


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN where the denominator is zero."""
    return numerator / denominator if denominator else float("nan")
