# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The tasks' prompts, as in THFM, and the channel layout of the dense read-out."""

import itertools

from thfm_ros.contract import Task

PROMPTS: dict[Task, str] = {
    Task.SEGMENTATION: "Input: RGB. Output: Foreground Segmentation.",
    Task.PARTS: "Input: RGB. Output: Body Part Segmentation.",
    Task.DEPTH: "Input: RGB. Output: Depth.",
    Task.NORMALS: "Input: RGB. Output: Surface Normal.",
    Task.DENSE_POSE: "Input: RGB. Output: Dense Pose.",
    Task.INSTANCES: "Input: RGB. Output: Instances.",
}
"""Prompt of each dense task. Depth and normals are worded as in the public successor of THFM, the
others after its pattern."""

READOUT_CHANNELS: dict[Task, int] = {
    Task.SEGMENTATION: 1,
    Task.PARTS: 17,
    Task.DEPTH: 1,
    Task.NORMALS: 3,
    Task.DENSE_POSE: 3,
    Task.INSTANCES: 2,
}
"""Channels of each task in the dense read-out, in their order there; see `readout_slices`."""

TARGET_MASK_CHANNEL = sum(READOUT_CHANNELS.values())
"""Channel of the target person's mask, after those of all tasks."""


def readout_slices() -> dict[Task, slice]:
    """Channels of each task in the dense read-out."""
    ends = itertools.accumulate(READOUT_CHANNELS.values())
    return {
        task: slice(end - count, end)
        for (task, count), end in zip(READOUT_CHANNELS.items(), ends, strict=True)
    }


def task_of(text: str) -> Task | None:
    """The task with this name or prompt; None if there is none."""
    for task in Task:
        if text == task.value or text == PROMPTS.get(task):
            return task
    return None
