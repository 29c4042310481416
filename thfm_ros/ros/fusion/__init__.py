# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The ROS side of the fusion node: parameters, inputs and poses of cameras."""
