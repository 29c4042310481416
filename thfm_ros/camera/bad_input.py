# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The error of every conversion of an image message."""

from thfm_ros.contract import PerceptionError


class BadInputError(PerceptionError):
    """An image that cannot be used. ``cause`` is one word: encoding, size, step or data."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause
