# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Conversion of a camera's messages to RGB arrays and intrinsics, for the node and for bags.

Does not import ROS. cv_bridge is not used: its Python part copies every image and fails if NumPy's
major version is not the one it was built with, and it is on no Python index, while this package
also runs on ROS 2 from Python wheels. All that is needed of it are the encodings in `raw_image`,
and of compressed_image_transport the formats in `compressed_image`.
"""

from thfm_ros.camera.bad_input import BadInputError
from thfm_ros.camera.compressed_image import rgb_from_compressed
from thfm_ros.camera.raw_image import ACCEPTED, rgb_from_image, stamp_ns

__all__ = ["ACCEPTED", "BadInputError", "rgb_from_compressed", "rgb_from_image", "stamp_ns"]
