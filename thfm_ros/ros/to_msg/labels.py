# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Latched messages that describe the labels in images and the skeleton of a body."""

from typing import Any

from std_msgs.msg import Header

from thfm_ros.contract import Task
from thfm_ros.model.card import ModelCard
from thfm_ros.msg import LabelMap, SkeletonInfo
from thfm_ros.ros.to_msg.images import UNLABELLED
from thfm_ros.skeleton import BONES, FLIP_PAIRS, JOINT_NAMES

PERSON_LABELS = ("background", "person")


def label_names(task: Task, card: ModelCard) -> tuple[str, ...]:
    """Names of the labels 0, 1, ... in the task's label image."""
    return card.part_names if task is Task.PARTS else PERSON_LABELS


def label_map(task: Task, card: ModelCard, threshold: float, header: Header) -> LabelMap:
    """The description of a label image."""
    names = label_names(task, card)
    return LabelMap(
        header=header,
        task=task.value,
        ids=list(range(len(names))),
        names=list(names),
        unlabelled=UNLABELLED,
        threshold=threshold,
    )


def label_info(task: Task, card: ModelCard, threshold: float, header: Header, msgs: Any) -> Any:
    """The description as vision_msgs/LabelInfo; ``msgs`` is the module vision_msgs.msg."""
    info = msgs.LabelInfo(header=header, threshold=threshold)
    info.class_map = [
        msgs.VisionClass(class_id=label, class_name=name)
        for label, name in enumerate(label_names(task, card))
    ]
    return info


def skeleton_info(card: ModelCard, header: Header) -> SkeletonInfo:
    """Names, bones and flip pairs of the joints in every Body.

    For a checkpoint with other joints than `skeleton.Joint`, bones and flip pairs are left empty.
    """
    info = SkeletonInfo(header=header, model=card.name, joint_names=list(card.joint_names))
    if card.joint_names == JOINT_NAMES:
        info.bone_parents = [int(parent) for parent, _ in BONES]
        info.bone_children = [int(child) for _, child in BONES]
        info.flip_pairs = [int(joint) for joint in FLIP_PAIRS]
    return info
