# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A person as a perfect network's crop shows them."""

import numpy as np
from fake_engine import Person, box_of, camera, perfect_outputs

from thfm_ros.config import DecodeConfig, RegionConfig
from thfm_ros.perception.crop_region import region_around
from thfm_ros.perception.decoding import Detection, ExpectedPerson, decode_person

K = camera()


def a_detection(x: float = 0.0, z: float = 3.0, *, dense: bool = True) -> Detection:
    """The detection of a person at (x, 0, z) in metres before the camera ``K``."""
    person = Person(x, 0, z)
    box = box_of(person, K)
    region = region_around(box.astype(np.float32), (128, 128), RegionConfig())
    raw = perfect_outputs(region, K, [person], dense)
    size = K.width, K.height
    found = decode_person(raw, region, size, K, ExpectedPerson(box), DecodeConfig())
    assert found is not None
    return found
