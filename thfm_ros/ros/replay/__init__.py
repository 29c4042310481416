# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The replay node: publishes a video, images or a camera as a ROS camera with a calibration."""
