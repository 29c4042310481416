# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Teaching nano on rendered humans. Never imported by the node."""
