# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tasks of a checkpoint by their names or prompts, as in the service ~/set_tasks."""

from collections.abc import Sequence

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.model.card import ModelCard


def parse_tasks(names: Sequence[str], card: ModelCard) -> frozenset[Task]:
    """The tasks with these names or prompts; upper and lower case are equal.

    Raises:
        PerceptionError: ``names`` is empty, or the checkpoint lacks one of them.
    """
    by_name = {task.value: task for task in card.tasks}
    by_name |= {
        card.prompts[name].lower(): by_name[name] for name in by_name if name in card.prompts
    }
    available = ", ".join(sorted(task.value for task in card.tasks))
    if not names:
        raise PerceptionError(
            f"No task was given. {card.name} has: {available}. To pause, use ~/enable."
        )
    unknown = [name for name in names if name.strip().lower() not in by_name]
    if unknown:
        raise PerceptionError(
            f"{card.name} has no task {unknown[0]!r}; it has: {available} (or their prompts). "
            "Nothing was changed."
        )
    return frozenset(by_name[name.strip().lower()] for name in names)
