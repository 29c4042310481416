"""What the numbers in label images mean, and what the joints of a body are: latched messages."""

from typing import Any

from std_msgs.msg import Header

from thfm_ros.contract import Task
from thfm_ros.model.card import ModelCard
from thfm_ros.msg import LabelMap, SkeletonInfo
from thfm_ros.ros.to_msg.images import UNLABELLED
from thfm_ros.skeleton import BONES, FLIP_PAIRS, JOINT_NAMES

PERSON_NAMES = ("background", "person")


def names_of(task: Task, card: ModelCard) -> tuple[str, ...]:
    """Names of a label image's values 0, 1, ..."""
    return card.part_names if task is Task.PARTS else PERSON_NAMES


def label_map(task: Task, card: ModelCard, threshold: float, header: Header) -> LabelMap:
    """The message beside a label image."""
    names = names_of(task, card)
    return LabelMap(
        header=header,
        task=task.value,
        ids=list(range(len(names))),
        names=list(names),
        unlabelled=UNLABELLED,
        threshold=threshold,
    )


def label_info(task: Task, card: ModelCard, threshold: float, header: Header, msgs: Any) -> Any:
    """The same as vision_msgs/LabelInfo; ``msgs`` is the module vision_msgs.msg."""
    info = msgs.LabelInfo(header=header, threshold=threshold)
    info.class_map = [
        msgs.VisionClass(class_id=number, class_name=name)
        for number, name in enumerate(names_of(task, card))
    ]
    return info


def skeleton_info(card: ModelCard, header: Header) -> SkeletonInfo:
    """Names, bones and twins of the joints in every Body.

    A checkpoint with other joints than this package's says their names; its bones are not known.
    """
    info = SkeletonInfo(header=header, model=card.name, joint_names=list(card.joint_names))
    if card.joint_names == JOINT_NAMES:
        info.bone_parents = [int(parent) for parent, _ in BONES]
        info.bone_children = [int(child) for _, child in BONES]
        info.flip_pairs = [int(joint) for joint in FLIP_PAIRS]
    return info
