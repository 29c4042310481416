"""The figures that were promised, beside what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thfm_ros.ros.benchmark.measurement import PEER, THFM, Measured
from thfm_ros.ros.benchmark.stage_timings import Stages
from thfm_ros.ros.benchmark.statistics import ratio

CPU_MS = 26.0
"""What MediaPipe's pose node cost per frame when the goals were set."""


@dataclass(frozen=True)
class _Goal:
    what: str
    goal: float
    passed: float
    value: Callable[[Measured], float]
    topics: str = "estimates"
    more_is_better: bool = False


# At 30 Hz, one person, 640x480.
_GOALS = (
    _Goal("results/s", 29.5, 20, lambda m: m.skeleton.results_per_s, more_is_better=True),
    _Goal("skeleton, p50 ms", 34, 60, lambda m: m.skeleton.p50_ms),
    _Goal("skeleton, p99 ms", 50, 120, lambda m: m.skeleton.p99_ms),
    _Goal("all estimates, p50 ms", 34, 60, lambda m: m.complete.p50_ms),
    _Goal("all estimates, p99 ms", 50, 120, lambda m: m.complete.p99_ms),
    _Goal("CPU ms per result", CPU_MS, CPU_MS, lambda m: m.cpu_ms),
    _Goal("CPU ms, only bodies", CPU_MS / 2, CPU_MS / 2, lambda m: m.cpu_ms, topics="bodies"),
)
OWN_CPU_MS = 5.0


def goals(measured: Sequence[Measured], stages: Sequence[Stages]) -> list[tuple[str, ...]]:
    """Rows: what, goal, to be passed, measured, reached, ratio to the peer."""
    rows: list[tuple[str, ...]] = []
    peer = _at_30_hz(measured, PEER, "")
    for goal in _GOALS:
        found = _at_30_hz(measured, THFM, goal.topics)
        if found is None:
            continue
        value = goal.value(found)
        rows.append(
            (
                goal.what,
                f"{goal.goal:g}",
                f"{goal.passed:g}",
                f"{value:.1f}",
                _verdict(value, goal),
                f"{ratio(value, goal.value(peer)):.2f}" if peer else "",
            )
        )
    return rows + _own_cost(measured, stages) + _overload(measured)


def causes(measured: Sequence[Measured], stages: Sequence[Stages]) -> list[str]:
    """Where the node's processor time goes, a sentence for each choice of topics."""
    said = []
    for alone in stages:
        node = _at_30_hz(measured, THFM, alone.tasks)
        if node is None:
            continue
        network, rest = alone.network_cpu_ms, alone.cpu_ms - alone.network_cpu_ms
        said.append(
            f"Of {node.cpu_ms:.1f} CPU ms per result ({alone.tasks}) the network takes "
            f"{network:.1f}, the rest of the step {rest:.1f}, receiving and publishing "
            f"{node.cpu_ms - network - rest:.1f}."
        )
    return said


def _verdict(value: float, goal: _Goal) -> str:
    def better(limit: float) -> bool:
        return value >= limit if goal.more_is_better else value <= limit

    return "goal" if better(goal.goal) else "passed" if better(goal.passed) else "missed"


def _own_cost(measured: Sequence[Measured], stages: Sequence[Stages]) -> list[tuple[str, ...]]:
    """Everything but the network: the node's CPU time less the network's."""
    node = _at_30_hz(measured, THFM, "estimates")
    alone = next((each for each in stages if each.tasks == "estimates"), None)
    if node is None or alone is None:
        return []
    own = node.cpu_ms - alone.network_cpu_ms
    reached = "goal" if own <= OWN_CPU_MS else "missed"
    what = "CPU ms per result, all but the network"
    return [(what, f"{OWN_CPU_MS:g}", f"{OWN_CPU_MS:g}", f"{own:.1f}", reached, "")]


def _overload(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A result may be two steps and one frame old, whatever the camera sends."""
    rows: list[tuple[str, ...]] = []
    for each in measured:
        if each.phase.sweep != "overload":
            continue
        step_ms = 1e3 * ratio(1.0, each.skeleton.results_per_s)
        limit = 2 * step_ms + 1e3 / each.sent_rate_hz
        p99 = each.skeleton.p99_ms
        what = f"skeleton, p99 ms, camera at {each.sent_rate_hz:.0f} Hz"
        reached = "goal" if p99 <= limit else "missed"
        rows.append((what, f"{limit:.0f}", f"{limit:.0f}", f"{p99:.0f}", reached, ""))
    return rows


def _at_30_hz(measured: Sequence[Measured], subject: str, topics: str) -> Measured | None:
    for each in measured:
        it = each.phase
        if (it.subject, it.rate_hz, it.sweep) == (subject, 30.0, "rates") and (
            subject == PEER or it.topics == topics
        ):
            return each
    return None
