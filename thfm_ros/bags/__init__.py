# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reading of rosbags without ROS: topics, images with their calibration, raw messages."""
