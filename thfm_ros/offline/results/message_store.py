# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Messages without ROS: definitions of msg/, read at run time, and the usual ones of rosbags."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

import thfm_ros
from thfm_ros.contract import PerceptionError

_DEFAULTS: dict[str, dict[str, Any]] = {"geometry_msgs/msg/Quaternion": {"w": 1.0}}
"""Defaults in the definitions that are not zero, which rosbags does not keep."""
_BASE, _NAME, _ARRAY = 1, 2, 3  # kinds of fields of rosbags; all others are sequences


def message_folder() -> Path:
    """The folder with the definitions of this package: of the sources, or of the installation.

    Raises:
        PerceptionError: it is missing.
    """
    package = Path(thfm_ros.__file__).resolve().parent
    candidates = [package.parent / "msg"]
    candidates += [parent / "share" / "thfm_ros" / "msg" for parent in package.parents]
    for folder in candidates:
        if (folder / "BodyArray.msg").is_file():
            return folder
    raise PerceptionError(
        f"share/thfm_ros/msg is not beside {package}: install the package again (pip install .)."
    )


@functools.cache
def message_store() -> Any:
    """The type store of rosbags, with the messages of this package.

    Raises:
        PerceptionError: rosbags is not installed, or the definitions are missing.
    """
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise PerceptionError(
            "--format mcap needs rosbags: pip install 'thfm_ros[archive]'"
        ) from error
    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for path in sorted(message_folder().glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        types.update(get_types_from_msg(text, f"thfm_ros/msg/{path.stem}"))
    store.register(types)
    return store


def stored_message(kind: str, /, **fields: Any) -> Any:
    """A new message: the `result_messages.kinds.MessageKinds` of files.

    Raises:
        TypeError: there is no such field.
    """
    store = message_store()
    values = {}
    for name, description in store.fielddefs[kind][1]:
        if name in fields:
            values[name] = _converted(description, fields.pop(name))
        elif name in _DEFAULTS.get(kind, {}):
            values[name] = _DEFAULTS[kind][name]
        else:
            values[name] = _default(description)
    if fields:
        raise TypeError(f"{kind} has no field {', '.join(fields)}")
    return store.types[kind](**values)


def serialized(message: Any) -> bytes:
    """A message in CDR."""
    return bytes(message_store().serialize_cdr(message, message.__msgtype__))


def _default(description: Any) -> Any:
    kind, content = description
    if kind == _BASE:
        return {"string": "", "bool": False}.get(content[0], _zero(content[0]))
    if kind == _NAME:
        return stored_message(content)
    element, length = content
    count = length if kind == _ARRAY else 0
    if _is_number(element):
        return np.zeros(count, element[1][0])
    return [_default(element) for _ in range(count)]


def _converted(description: Any, value: Any) -> Any:
    """Lists of numbers as arrays, which is what rosbags serializes."""
    kind, content = description
    if kind in (_BASE, _NAME) or not _is_number(content[0]):
        return value
    return np.asarray(value, content[0][1][0])


def _is_number(element: Any) -> bool:
    kind, content = element
    return bool(kind == _BASE and content[0] != "string")


def _zero(name: str) -> float | int:
    return 0.0 if name.startswith("float") else 0
