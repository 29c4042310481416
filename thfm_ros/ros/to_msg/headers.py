# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Headers of the results of a frame."""

from std_msgs.msg import Header

from thfm_ros.contract import Frame


def header_of(frame: Frame) -> Header:
    """The header of the frame's image: its stamp and its frame_id."""
    header = Header(frame_id=frame.frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    return header
