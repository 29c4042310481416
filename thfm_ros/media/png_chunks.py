# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The chunks of a PNG: OpenCV takes as much memory as one claims, up to 4 GB, before reading it."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 100_000  # writers make one per 8 kB or more


def claims_missing_bytes(data: bytes | memoryview) -> bool:
    """Whether the data begin as a PNG, and a chunk is longer than what follows.

    Args:
        data: a whole file; of other formats nothing is looked at.
    """
    if bytes(data[:8]) != SIGNATURE:
        return False
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return False
        length = int.from_bytes(data[position : position + 4], "big")
        if length > len(data) - position - 8:
            return True
        if bytes(data[position + 4 : position + 8]) == b"IEND":
            return False
        position += 12 + length
    return True
