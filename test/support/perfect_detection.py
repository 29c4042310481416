# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Detections of a perfect network, for tests of decoding and of dense maps."""

import numpy as np
from fake_engine import Person, box_of, camera, perfect_outputs

from thfm_ros.config import DecodeConfig, RegionConfig
from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.perception.crop_region import region_around
from thfm_ros.perception.decoding import Detection, ExpectedPerson, decode_person

K = camera()
SIZE = (K.width, K.height)
CONFIG = DecodeConfig()


def crop_of(person: Person, k: Intrinsics = K) -> PixelMap:
    return region_around(box_of(person, k).astype(np.float32), (128, 128), RegionConfig())


def perfect_detection(
    person: Person, *others: Person, calibrated: bool = True, dense: bool = True
) -> Detection:
    region = crop_of(person)
    raw = perfect_outputs(region, K, [person, *others], dense)
    detection = decode_person(
        raw, region, SIZE, K if calibrated else None, ExpectedPerson(box_of(person, K)), CONFIG
    )
    assert detection is not None
    return detection
