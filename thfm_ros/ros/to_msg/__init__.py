# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Conversion of a `Perception` to messages. Each carries the header of the image it describes."""
