# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One RGB camera as a human-geometry sensor, for ROS 2. See README.md."""

__version__ = "0.2.0"
