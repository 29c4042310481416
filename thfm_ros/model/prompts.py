"""The sentences that choose a dense task, as THFM is asked: one network, told what to paint."""

from thfm_ros.contract import Task

PROMPTS: dict[Task, str] = {
    Task.SEGMENTATION: "Input: RGB. Output: Foreground Segmentation.",
    Task.PARTS: "Input: RGB. Output: Body Part Segmentation.",
    Task.DEPTH: "Input: RGB. Output: Depth.",
    Task.NORMALS: "Input: RGB. Output: Surface Normal.",
    Task.DENSE_POSE: "Input: RGB. Output: Dense Pose.",
    Task.INSTANCES: "Input: RGB. Output: Instances.",
}
"""The first is answered by channel 0 of the read-out, and so on: see READOUT_CHANNELS.
The wording of depth and normals is that of the public successor; the others follow its form."""

READOUT_CHANNELS: dict[Task, int] = {
    Task.SEGMENTATION: 1,
    Task.PARTS: 17,
    Task.DEPTH: 1,
    Task.NORMALS: 3,
    Task.DENSE_POSE: 3,
    Task.INSTANCES: 2,
}
"""Channels per task, in the order in which the read-out stacks them."""


def readout_slices() -> dict[Task, slice]:
    """The channels of each task in the dense read-out."""
    slices: dict[Task, slice] = {}
    first = 0
    for task, count in READOUT_CHANNELS.items():
        slices[task] = slice(first, first + count)
        first += count
    return slices


def task_of(text: str) -> Task | None:
    """The task meant by a task name or by a prompt sentence; None when it is neither."""
    for task in Task:
        if text == task.value or text == PROMPTS.get(task):
            return task
    return None
