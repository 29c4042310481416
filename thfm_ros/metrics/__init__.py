# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Metrics as the field defines them, on numpy arrays: no network, no file, no state."""
