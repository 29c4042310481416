# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""From the newest frames of a stream to detections, crops, keypoints, maps and tracks."""
