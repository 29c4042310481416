# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The message classes of rclpy, by their names."""

import functools
from importlib import import_module
from typing import Any


@functools.cache
def _class(kind: str) -> Any:
    package, _, name = kind.split("/")
    return getattr(import_module(f"{package}.msg"), name)


def ros_message(kind: str, /, **fields: Any) -> Any:
    """A new message: the `result_messages.kinds.MessageKinds` of the node."""
    return _class(kind)(**fields)
