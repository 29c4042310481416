# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Key-value pairs of the component "engine" in the diagnostics."""

import sys
from typing import Any

from thfm_ros.loading import Pipeline


def engine_values(pipeline: Pipeline) -> dict[str, str]:
    """What runs, on what, how long the stages of the last step took, and how much memory it has."""
    engine = pipeline.engine
    timings = dict(pipeline.last_timings_ms)
    return {
        "runs on": engine.description,
        "checkpoint": engine.card.name,
        "tasks": ", ".join(sorted(task.value for task in frozenset(engine.card.tasks))),
        **{f"last {stage} (ms)": f"{ms:.1f}" for stage, ms in timings.items()},
        **_gpu_memory(),
    }


def _gpu_memory() -> dict[str, str]:
    """GPU memory that PyTorch has allocated; empty if it is not loaded or has no GPU."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"GPU memory (MiB)": f"{torch.cuda.memory_allocated() / 2**20:.0f}"}
