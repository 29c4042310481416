# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Scenarios: a film, who is in it, and conditions that the results must meet."""
