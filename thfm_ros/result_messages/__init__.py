# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Filling of result messages, the same for the node and for files.

The classes of the messages are handed in: the node has those of rclpy, files those of rosbags.
"""
