# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Classes of messages by their names, whichever library they come from."""

from typing import Any, Protocol


class MessageKinds(Protocol):
    """Makes messages; fields that are not given have the defaults of ROS: zeros, empty."""

    def __call__(self, kind: str, /, **fields: Any) -> Any:
        """A new message of a type such as "geometry_msgs/msg/Point"."""
