# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Publishes messages with a large field ``data`` without copying it into rclpy's own message.

rclpy clears a buffer of the size of ``data`` and copies the bytes into it before the middleware
serialises them. Six maps of a 640x480 image are 9.8 MB, of which that is two of four passes. Here
the C message that the middleware serialises refers to the memory of the array instead.

Only functions that rclpy itself uses are called: those of the message's type support, and
rcl_publish. Where one of them is not found, or the message does not look as expected, rclpy's way
is taken; a test compares the bytes of both.
"""

import ctypes
import functools
import logging
import os
import sys
from array import array
from typing import Any

import numpy as np

_LOG = logging.getLogger(__name__)
_MARKER = bytes(range(200, 241))  # 41 bytes: no other field of a message has that length
_WORDS = 64  # of a C message that are searched for the field
_RCL_OK = 0


class _Sequence(ctypes.Structure):
    """rosidl_runtime_c's sequence of bytes, as it begins in all distributions."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
    ]


class SharedData:
    """Publishes messages of one type.

    Raises:
        OSError: rcl's library is not loaded under its usual name, or this is not glibc.
        AttributeError: the type support is another than expected.
        LookupError: the field ``data`` was not found in the C message.
    """

    def __init__(self, kind: Any) -> None:
        support = kind.__class__
        support.__import_type_support__()
        self._create = ctypes.PYFUNCTYPE(ctypes.c_void_p)(_address(support._CREATE_ROS_MESSAGE))
        self._destroy = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(
            _address(support._DESTROY_ROS_MESSAGE)
        )
        self._convert = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.py_object, ctypes.c_void_p)(
            _address(support._CONVERT_FROM_PY)
        )
        self._publish = ctypes.CDLL("librcl.so", mode=os.RTLD_NOLOAD | os.RTLD_NOW).rcl_publish
        self._publish.argtypes = [ctypes.c_void_p] * 3
        self._offset = self._offset_of_data(kind)

    def publish(self, publisher: Any, message: Any) -> bool:
        """Publish a message whose ``data`` shares the memory of an array; False if that failed."""
        values, message._data = message._data, array("B")
        address = np.frombuffer(values, np.uint8).ctypes.data if len(values) else None
        c_message = self._create()
        try:
            if not self._convert(message, c_message):
                return False
            data = _Sequence.from_address(c_message + self._offset)
            data.data, data.size, data.capacity = address, len(values), len(values)
            try:
                with publisher.handle:
                    pointer = publisher.handle.pointer
                    return bool(self._publish(pointer, c_message, None) == _RCL_OK)
            finally:
                data.data, data.size, data.capacity = None, 0, 0  # it is not the message's own
        finally:
            self._destroy(c_message)
            message._data = values

    def _offset_of_data(self, kind: Any) -> int:
        """Where the C message has the sequence ``data``, found by what it contains."""
        usable = ctypes.CDLL(None).malloc_usable_size
        usable.argtypes, usable.restype = [ctypes.c_void_p], ctypes.c_size_t
        c_message = self._create()
        try:
            if self._convert(kind(data=array("B", _MARKER)), c_message):
                end = min(usable(c_message), 8 * _WORDS) - ctypes.sizeof(_Sequence)
                for offset in range(0, end + 1, 8):
                    field = _Sequence.from_address(c_message + offset)
                    if (
                        field.size == field.capacity == len(_MARKER)
                        and ctypes.string_at(field.data, len(_MARKER)) == _MARKER
                    ):
                        return offset
        finally:
            self._destroy(c_message)
        raise LookupError("its field data was not found")


def publish(publisher: Any, message: Any) -> None:
    """Publish a message, without a copy of its ``data`` where that is a view of an array."""
    if isinstance(getattr(message, "_data", None), memoryview):
        kind: Any = type(message)
        shared = _shared_data(kind)
        if shared is not None and shared.publish(publisher, message):
            return
    publisher.publish(message)


@functools.cache
def _shared_data(kind: Any) -> SharedData | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return SharedData(kind)
    except (OSError, AttributeError, LookupError, ValueError) as error:
        _LOG.debug("%s is published with a copy: %s", kind.__name__, error)
        return None


def _address(capsule: object) -> int:
    """The function pointer in a PyCapsule of rosidl_generator_py, which has no name."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get_pointer(capsule, None)
    assert address is not None
    return int(address)
