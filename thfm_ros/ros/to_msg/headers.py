# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Headers of results."""

from std_msgs.msg import Header

from thfm_ros.contract import Frame


def header_of(frame: Frame) -> Header:
    """The header of the frame's image: its stamp and its frame_id."""
    return header_at(frame.stamp_ns, frame.frame_id)


def header_at(stamp_ns: int, frame_id: str) -> Header:
    """The header of what is true at a time, in nanoseconds."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return header
