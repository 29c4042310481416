# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One set of people from several cameras: association, ids, covariance intersection. No ROS."""
