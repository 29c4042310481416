# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The ROS 2 side of the package; no other folder imports rclpy or messages."""
