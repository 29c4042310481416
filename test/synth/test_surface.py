# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.people.surface import part_of_bone


def test_bones_belong_to_the_part_of_their_name() -> None:
    expected = {
        "head": "head", "eye.L": "head", "neck02": "neck", "spine03": "torso", "root": "torso",
        "clavicle.R": "torso", "upperarm02.R": "right_upper_arm", "finger3-2.L": "left_hand",
        "metacarpal1.R": "right_hand", "toe2-1.L": "left_foot", "lowerleg01.R": "right_lower_leg",
    }  # fmt: skip
    assert {bone: part_of_bone(bone) for bone in expected} == expected


def test_u_is_zero_at_the_front_and_half_at_the_back(pack: AssetPack) -> None:
    body = pack.body
    torso = body.parts == PART_NAMES.index("torso")
    cosine = body.dense_pose_uv[torso, 0]
    y = body.rest[torso, 1]
    assert cosine[y < -0.1].min() > 0.5 and cosine[y > 0.1].max() < -0.5


def test_v_increases_from_the_proximal_to_the_distal_end(pack: AssetPack) -> None:
    body = pack.body
    for part in ("left_upper_arm", "right_lower_arm", "left_lower_leg", "right_hand"):
        members = body.parts == PART_NAMES.index(part)
        distance = np.linalg.norm(body.rest[members] - [0, 0, 1.2], axis=1)
        v = body.dense_pose_uv[members, 2]
        assert v.min() == 0 and v.max() == 1
        assert np.corrcoef(distance, v)[0, 1] > 0.9, part


def test_left_is_the_persons_left(pack: AssetPack) -> None:
    # The person faces -y with z up, so the left side is at +x.
    for name, sign in (("left_hand", 1), ("right_foot", -1)):
        assert (sign * pack.body.rest[pack.body.parts == PART_NAMES.index(name), 0] > 0).all()
